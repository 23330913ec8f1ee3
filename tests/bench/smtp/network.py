"""What lies between client and sink: nothing, a slow wire, or a proxy that waits."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import attrs

from tests.bench.smtp.native import compiled
from tests.bench.smtp.processes import CLIENT_CORE, SERVER_CORE, Child, ChildFailed, child

_TIMEOUT_S = 30.0


@attrs.frozen(kw_only=True)
class Network:
    """How processes get to their end of it, and where servers listen."""

    how: str
    delay_ms: int = 0
    server_address: str = "127.0.0.1"
    client_prefix: tuple[str, ...] = ()
    server_prefix: tuple[str, ...] = ()
    proxied: bool = False

    @contextlib.contextmanager
    def reach(self, host: str, port: int) -> Iterator[tuple[str, int]]:
        """Where a client connects to in order to reach a server that listens there."""
        if not self.proxied:
            yield host, port
            return
        arguments = [host, str(port), str(self.delay_ms / 2)]
        with child([sys.executable, "-m", "tests.bench.smtp.proxy", *arguments], core=SERVER_CORE) as proxy:
            yield "127.0.0.1", int(proxy.line(_TIMEOUT_S))

    def round_trip_ms(self, host: str, port: int) -> float:
        """Median of NOOP and its reply, measured from where clients are."""
        command = [*self.client_prefix, sys.executable, "-m", "tests.bench.smtp.round_trip", host, str(port)]
        with child(command, core=CLIENT_CORE) as probe:
            return median(float(sample) for sample in probe.line(_TIMEOUT_S).split())


@contextlib.contextmanager
def network(delay_ms: int, folder: Path) -> Iterator[Network]:
    """A network with that round trip: namespaces where they are allowed, else a proxy."""
    if delay_ms == 0:
        yield Network(how="loopback")
        return
    with contextlib.ExitStack() as stack:
        yield _wire(delay_ms, folder, stack) or Network(
            how=f"a delaying proxy on loopback, nominally {delay_ms} ms (connecting is not delayed)",
            delay_ms=delay_ms,
            proxied=True,
        )


def why_no_wire(folder: Path) -> str | None:
    """Why there are no namespaces here, or ``None``."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "not root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun"
    if compiled("link", folder) is None:
        return "no C compiler"
    return None


def _wire(delay_ms: int, folder: Path, stack: contextlib.ExitStack) -> Network | None:
    program = compiled("link", folder)
    if why_no_wire(folder) is not None or program is None:
        return None
    carrier: Child = stack.enter_context(child([str(program), "wire", str(delay_ms * 500)], core=SERVER_CORE))
    try:
        pid, client, server = carrier.line(_TIMEOUT_S).split()
    except ChildFailed:
        return None
    prefix: Sequence[str] = (str(program), "enter")
    return Network(
        how=f"two network namespaces, a TUN pair with a delay in user space, nominally {delay_ms} ms",
        delay_ms=delay_ms,
        server_address="198.18.0.2",
        client_prefix=(*prefix, f"/proc/{pid}/fd/{client}"),
        server_prefix=(*prefix, f"/proc/{pid}/fd/{server}"),
    )
