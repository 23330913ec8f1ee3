"""The process that a probe runs in: ``python -m tests.bench.smtp.probe PROBE SPEC``, one JSON line out.

Each probe measures one thing of one peer in a fresh process: memory cannot be measured twice in the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc as garbage
import json
import smtplib
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeAlias

import aiosmtplib

import genie_connect as gc
from genie_connect.contract import Runtime, SendContext
from genie_connect.model.attachment import Attachment
from tests.bench.smtp import message as messages
from tests.bench.smtp.client import FAR_S, Clock, accepted
from tests.bench.smtp.ours import connection_settings

_TICK_S = 0.001
_POOLS = 4


def _memory_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"no {field}")


def _settled_kib() -> int:
    """Resident memory, after what is not used has been given back."""
    garbage.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    return _memory_kib("VmRSS")


def _context() -> SendContext:
    return SendContext(attempt_id="bench", deadline=time.monotonic() + FAR_S, clock=messages.FixedDate())


async def _our_state(spec: dict[str, Any], **settings: Any) -> tuple[Any, Any, Any]:
    handle = gc.Registry.discover()["smtp"]
    plain = connection_settings(handle, spec.get("mode", {}), host=spec["host"], port=spec["port"], **settings)
    checked = handle.settings(plain)
    return handle, await handle.open(checked, Runtime(connection="bench")), handle.capabilities(checked)


async def idle_ours(spec: dict[str, Any]) -> dict[str, Any]:
    """Pools whose connections have all served once and wait."""
    connections = spec["connections"] // _POOLS
    security = {"security": "tls", "ca_file": spec["ca_file"]} if spec["tls"] else {}
    handle = gc.Registry.discover()["smtp"]
    batch = await messages.batch(messages.message("2KB"), messages.recipients(3 * connections))
    one = await messages.batch(messages.message("2KB"), messages.recipients(1))
    pools = []
    for _ in range(_POOLS):
        pools.append(await _our_state(spec, max_connections=connections, **security))
        accepted(await handle.send(pools[-1][1], one, _context(), pools[-1][2]))
    before = _settled_kib()
    for _, state, table in pools:
        accepted(await handle.send(state, batch, _context(), table))
    return {"before_kib": before, "after_kib": _settled_kib(), "more": (connections - 1) * _POOLS}


async def idle_aiosmtplib(spec: dict[str, Any]) -> dict[str, Any]:
    """Clients that are connected and have said EHLO; one TLS context for all, or each its own, as is its default."""
    shared = ssl.create_default_context(cafile=spec["ca_file"]) if spec["tls"] else None

    async def connect() -> aiosmtplib.SMTP:
        security: dict[str, Any] = {"use_tls": True, "tls_context": shared} if spec["tls"] else {"start_tls": False}
        if spec["tls"] and not spec["shared_context"]:
            security = {"use_tls": True, "cert_bundle": spec["ca_file"]}
        client = aiosmtplib.SMTP(
            hostname=spec["host"], port=spec["port"], local_hostname="client.test", timeout=60, **security
        )
        await client.connect()
        await client.ehlo()
        return client

    clients = [await connect() for _ in range(_POOLS)]
    before = _settled_kib()
    clients += [await connect() for _ in range(spec["connections"] - _POOLS)]
    return {"before_kib": before, "after_kib": _settled_kib(), "more": spec["connections"] - _POOLS}


class Ticker:
    """How long the loop was held up: between two turns, on the clock and in CPU time of its thread."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    async def run(self) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(_TICK_S)
            now_wall, now_cpu = time.perf_counter(), time.thread_time()
            self.wall_s, self.cpu_s = max(self.wall_s, now_wall - wall), max(self.cpu_s, now_cpu - cpu)
            wall, cpu = now_wall, now_cpu


@contextlib.contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """From here on the peak counts anew; the function gives how far above the start it was."""
    before = _settled_kib()
    Path("/proc/self/clear_refs").write_text("5")
    yield lambda: _memory_kib("VmHWM") - before


async def _large(send: Callable[[bool], Awaitable[object]]) -> dict[str, Any]:
    # A small one first: imports and the first connection are no cost of the large one.
    await send(False)
    ticker = Ticker()
    with peak_memory() as above_start_kib, Clock() as clock:
        ticking = asyncio.create_task(ticker.run())
        await asyncio.sleep(0)
        await send(True)
        await asyncio.sleep(0)
        peak = above_start_kib()
        ticking.cancel()
    stalls = {"stall_wall_s": ticker.wall_s, "stall_cpu_s": ticker.cpu_s}
    return {**clock.report(2), "above_start_kib": peak, **stalls}


async def large_ours(spec: dict[str, Any]) -> dict[str, Any]:
    """A file on disk, streamed."""
    handle, state, table = await _our_state(spec)

    async def send(large: bool) -> None:
        files = [Attachment.from_path(spec["attachment"])] if large else []
        message = gc.Message(from_=messages.SENDER, subject="A large file", text="See the file.", attachments=files)
        batch = await messages.batch(message, messages.recipients(1))
        accepted(await handle.send(state, batch, _context(), table))

    return await _large(send)


def _large_email(spec: dict[str, Any], large: bool) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = str(messages.SENDER), messages.recipient(0), "A large file"
    made.set_content("See the file.")
    if large:
        content = Path(spec["attachment"]).read_bytes()
        made.add_attachment(content, maintype="application", subtype="octet-stream", filename="large.bin")
    return made


async def large_aiosmtplib(spec: dict[str, Any]) -> dict[str, Any]:
    """The file in an EmailMessage."""
    client = aiosmtplib.SMTP(hostname=spec["host"], port=spec["port"], start_tls=False, local_hostname="client.test")
    await client.connect()
    return await _large(lambda large: client.send_message(_large_email(spec, large)))


async def large_smtplib(spec: dict[str, Any]) -> dict[str, Any]:
    """The same with the standard library; it has no loop, so whatever it does is one stall."""
    server = smtplib.SMTP(spec["host"], spec["port"], local_hostname="client.test")
    server.send_message(_large_email(spec, False))
    with peak_memory() as above_start_kib, Clock() as clock:
        server.send_message(_large_email(spec, True))
        peak = above_start_kib()
    return {**clock.report(2), "above_start_kib": peak}


async def broadcast_ours(spec: dict[str, Any]) -> dict[str, Any]:
    """Recipients that are generated, through the host; each outcome is counted and forgotten."""
    handle = gc.Registry.discover()["smtp"]
    settings = connection_settings(handle, spec["mode"], host=spec["host"], port=spec["port"])
    config = {"connections": {"bench": {"connector": "smtp", "settings": settings}}}
    count, content = spec["count"], messages.message("2KB")
    every = max(1, count // 20)
    states: Counter[str] = Counter()
    series = []
    async with gc.Host.open(config) as host:
        start_kib = _settled_kib()
        with peak_memory() as above_start_kib, Clock() as clock:
            recipients = (messages.recipient(number) for number in range(count))
            async for outcome in host.send_each(content, recipients, timeout_s=FAR_S):
                states[outcome.state.value] += 1
                if (so_far := states.total()) % every == 0:
                    series.append((so_far, _memory_kib("VmRSS") - start_kib))
            peak = above_start_kib()
    return {**clock.report(count), "above_start_kib": peak, "states": states, "series": series}


Probes: TypeAlias = Mapping[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]
PROBES: Probes = {
    "broadcast-ours": broadcast_ours,
    "idle-ours": idle_ours,
    "idle-aiosmtplib": idle_aiosmtplib,
    "large-ours": large_ours,
    "large-aiosmtplib": large_aiosmtplib,
    "large-smtplib": large_smtplib,
}


def main(probes: Probes = PROBES) -> None:
    """Run the probe that the command line names, and say what it found."""
    name, spec = sys.argv[1], json.loads(sys.argv[2])
    messages.message("2KB")  # kept, since it cannot be made inside the loop
    factory = asyncio.new_event_loop
    if spec.get("uvloop"):
        from uvloop import new_event_loop as factory  # only where it is asked for
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            answer = runner.run(probes[name](spec))
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:500]}
            print(json.dumps(answer), flush=True)
            raise
        print(json.dumps(answer), flush=True)
        # Whoever reads this ends the process, with all its connections.
        sys.stdin.read()


if __name__ == "__main__":
    main()
