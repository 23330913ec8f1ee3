"""Who is sent to. Each counts what it took, so that a run that lost or doubled a message is noticed."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.bench.smtp.native import compiled
from tests.bench.smtp.network import Network
from tests.bench.smtp.processes import SERVER_CORE, Child, child, on_core
from tests.bench.smtp.python_sink import COUNTERS
from tests.integration.servers import Haraka, Postfix, RealServer, servers_folder

_START_TIMEOUT_S = 15.0
_NUMBERS = itertools.count()
_NOBODY = 65534


class CannotRun(Exception):
    """A sink or a peer that is not to be had here; the text says why."""


@attrs.frozen(kw_only=True)
class Sink(ABC):
    """A running sink and where it listens."""

    label: str
    host: str
    port: int

    @abstractmethod
    def messages(self) -> int:
        """Messages taken so far."""

    def content_bytes(self) -> int | None:
        """Bytes of content taken so far, dots unstuffed; ``None`` where the sink does not say."""
        return None

    def settled_messages(self, expected: int, timeout_s: float = 30.0) -> int:
        """Messages taken, once there are as many as expected or the time is over."""
        deadline = time.monotonic() + timeout_s
        while (count := self.messages()) < expected and time.monotonic() < deadline:
            time.sleep(0.01)
        return count


@attrs.frozen(kw_only=True)
class CountedSink(Sink):
    """Ours, in C or in Python: its counters are in a file that both sides have mapped."""

    counters: Path

    def messages(self) -> int:
        return self._read()[1]

    def content_bytes(self) -> int | None:
        return self._read()[2]

    def connections(self) -> int:
        """Connections that are open."""
        return self._read()[3]

    def errors(self) -> int:
        """Commands that were refused."""
        return self._read()[5]

    def recipients(self) -> int:
        """The sum of the hashes of all recipients, modulo 2**64 (``python_sink.hash_of``)."""
        return self._read()[6]

    def _read(self) -> tuple[int, ...]:
        return COUNTERS.unpack(self.counters.read_bytes())


@attrs.frozen(kw_only=True)
class PostfixSmtpSink(Sink):
    """Postfix's own test sink; it prints a running count."""

    output: Path

    def messages(self) -> int:
        with self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - 200))
            found = re.findall(rb"mesg=\s*(\d+)", file.read())
        return int(found[-1]) if found else 0


@attrs.frozen(kw_only=True)
class ServerSink(Sink):
    """A real server that throws away what it has taken."""

    server: RealServer

    def messages(self) -> int:
        assert isinstance(self.server, PostfixDiscards | HarakaDiscards)
        return self.server.taken()


class PostfixDiscards(Postfix):
    """Postfix with its queue, and the discard transport behind it."""

    def configure(self) -> list[str]:
        command = super().configure()
        with (self.folder / "root/etc/postfix/main.cf").open("a") as settings:
            settings.write(_DISCARD)
        return command

    def taken(self) -> int:
        log = self.folder / "root/var/log/postfix.log"
        return log.read_bytes().count(b"status=sent") if log.exists() else 0


_DISCARD = "default_transport = discard:\nrelay_transport = discard:\nlocal_transport = discard:\n"


class HarakaDiscards(Haraka):
    """Haraka whose queue is a plug-in that counts, one byte in a file for each message."""

    def configure(self) -> list[str]:
        command = super().configure()
        (self.folder / "config/plugins").write_text("policy\ncount\n")
        (self.folder / "plugins/count.js").write_text(_COUNT % str(self.folder / "taken"))
        return command

    def taken(self) -> int:
        file = self.folder / "taken"
        return file.stat().st_size if file.exists() else 0


_COUNT = """
'use strict'
const file = require('fs').openSync('%s', 'a')
exports.hook_queue = (next) => { require('fs').writeSync(file, '.'); next(OK) }
"""


@contextlib.contextmanager
def own_sink(network: Network, folder: Path, *flags: str, tls: Path | None = None) -> Iterator[CountedSink]:
    """Our sink; in Python where it has to speak TLS, or where there is no C compiler."""
    counters = folder / f"counters-{next(_NUMBERS)}"
    program = compiled("sink", folder) if tls is None else None
    arguments = [*flags, network.server_address, str(counters)]
    if program is not None:
        command = [str(program), *arguments]
    else:
        command = [sys.executable, "-m", "tests.bench.smtp.python_sink", *arguments]
        command += ["--tls", str(tls)] if tls is not None else []
    with child([*network.server_prefix, *command], core=SERVER_CORE) as process:
        label = "own sink in C" if program is not None else "own sink in Python"
        port = _port_in(counters, process)
        yield CountedSink(label=label, host=network.server_address, port=port, counters=counters)


def _port_in(counters: Path, process: Child) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.process.poll() is None:
        if counters.exists() and counters.stat().st_size == COUNTERS.size:
            port: int = COUNTERS.unpack(counters.read_bytes())[0]
            if port:
                return port
        time.sleep(0.01)
    raise CannotRun("the sink did not start")


def postfix_tool(name: str) -> tuple[str, dict[str, str]]:
    """A program of the unpacked Postfix, and the environment it needs. Raises ``CannotRun``."""
    tree = servers_folder() / "postfix"
    program = tree / "usr/sbin" / name
    if not program.exists():
        raise CannotRun(f"no {name}: run tests/integration/install-servers postfix")
    libraries = sorted({str(file.parent) for folder in ("usr/lib", "lib") for file in (tree / folder).rglob("*.so*")})
    return str(program), {"LD_LIBRARY_PATH": ":".join(libraries)}


@contextlib.contextmanager
def smtp_sink(network: Network, folder: Path) -> Iterator[Sink]:
    """Postfix smtp-sink."""
    program, environment = postfix_tool("smtp-sink")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    output = folder / f"smtp-sink-{next(_NUMBERS)}"
    place = f"inet:{network.server_address}:{port}"
    user = ["-u", pwd.getpwuid(_NOBODY).pw_name] if os.geteuid() == 0 else []
    # A process that changes its user is no longer told of its parent's death; the shell is, by its input ending.
    guard = ["/bin/sh", "-c", '"$@" & child=$!; read -r _; kill -s KILL "$child"; wait', "guard"]
    with (
        output.open("wb") as file,
        child(
            [*network.server_prefix, *guard, program, *user, "-c", place, "1024"],
            core=SERVER_CORE,
            env=environment,
            stdout=file,
            ends_with_input=True,
        ) as process,
    ):
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _listens(port):
            if time.monotonic() > deadline or process.process.poll() is not None:
                raise CannotRun("smtp-sink did not start")
            time.sleep(0.02)
        yield PostfixSmtpSink(label="Postfix smtp-sink", host=network.server_address, port=port, output=output)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        return connection.recv(512).startswith(b"220")
    return False


@contextlib.contextmanager
def real_server(kind: type[RealServer], label: str, folder: Path) -> Iterator[Sink]:
    """Postfix or Haraka, with its queue in memory where there is such a place."""
    reason = kind.why_not()
    if reason:
        raise CannotRun(reason)
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_core(SERVER_CORE))
        server = stack.enter_context(kind(folder / f"{kind.name}-{next(_NUMBERS)}"))
        yield ServerSink(label=label, host=server.host, port=server.port, server=server)


@contextlib.contextmanager
def sink(name: str, network: Network, folder: Path) -> Iterator[Sink]:
    """The sink of that name. Raises ``CannotRun``."""
    makers = {
        "own": lambda: own_sink(network, folder),
        "sign-in": lambda: own_sink(network, folder, "-A"),
        "no-pipelining": lambda: own_sink(network, folder, "-P", "-C"),
        "smtp-sink": lambda: smtp_sink(network, folder),
        "postfix": lambda: real_server(PostfixDiscards, "Postfix smtpd, discard transport", folder),
        "haraka": lambda: real_server(HarakaDiscards, "stock Haraka", folder),
    }
    with makers[name]() as running:
        yield running
