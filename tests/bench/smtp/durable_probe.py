"""The process that durable work is measured in: ``python -m tests.bench.smtp.durable_probe PROBE SPEC``."""

from __future__ import annotations

import asyncio
import mmap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import attrs
import sqlalchemy as sa

import genie_connect as gc
from tests.bench.smtp import message as messages
from tests.bench.smtp import probe
from tests.bench.smtp.client import Clock
from tests.bench.smtp.ours import connection_settings
from tests.bench.smtp.python_sink import COUNTERS

_LOOK_S = 0.001
SENDERS = 64
WATCHED = 1_000
"""So many sends are looked at commit by commit, before those whose time is taken."""
_FAR_S = 86_400.0


def _config(spec: dict[str, Any]) -> dict[str, Any]:
    handle = gc.Registry.discover()["smtp"]
    settings = connection_settings(handle, spec["mode"], host=spec["host"], port=spec["port"])
    return {
        "connections": {"bench": {"connector": "smtp", "settings": settings}},
        "store": {"url": spec["url"]},
        "engine": spec.get("engine", {}),
    }


def _taken(spec: dict[str, Any]) -> Callable[[], int]:
    """A function that says how many messages the sink has, at no cost to it."""
    with Path(spec["counters"]).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), COUNTERS.size, access=mmap.ACCESS_READ)
    return lambda: COUNTERS.unpack(mapped)[1]


async def _first(taken: Callable[[], int], before: int) -> float:
    while taken() == before:  # another process changes it
        await asyncio.sleep(_LOOK_S)
    return time.monotonic()


async def broadcast(spec: dict[str, Any]) -> dict[str, Any]:
    """Load a broadcast, start it, and see it to its end."""
    count, content, taken = spec["count"], messages.message("2KB"), _taken(spec)
    async with gc.Host.open(_config(spec)) as host:
        with probe.peak_memory() as above_start_kib:
            recipients = (messages.recipient(number) for number in range(count))
            with Clock() as loading:
                made = await host.broadcast(content, recipients, start=False)
            loaded_kib = above_start_kib()
            first = asyncio.create_task(_first(taken, taken()))
            started = time.monotonic()
            with Clock() as sending:
                await made.start()
                ended = await made.wait()
            peak = above_start_kib()
    return {
        "load": loading.report(count),
        "send": sending.report(count),
        "first_s": await first - started,
        "loaded_kib": loaded_kib,
        "above_start_kib": peak,
        "counts": counts_of(ended.counts),
    }


async def resume(spec: dict[str, Any]) -> dict[str, Any]:
    """Go on with the broadcast that another process was killed over."""
    taken = _taken(spec)
    before = taken()
    first = asyncio.create_task(_first(taken, before))
    async with gc.Host.open(_config(spec)) as host:
        (made,) = await host.broadcasts()
        ended = await made.wait()
        first_s = await first - spec["begun"]
        return {"first_s": first_s, "counts": counts_of(ended.counts)}


def counts_of(counts: Any) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("accepted", "deferred", "rejected", "unknown", "suppressed")}


class _Commits:
    """Counts commits of a SQLite file that wait for the disk, as the driver carries them out.

    Writes go past SQLAlchemy, whose events know of few. In WAL mode a commit that wrote something is one fsync where
    ``synchronous`` is ``FULL``, as it is until it is set otherwise. Those of check-points come beside them.

    To be watched costs a send some microseconds: the driver writes each statement out with all its values. So it ends
    with the ``with`` block, and what is opened after it is not watched.
    """

    def __init__(self) -> None:
        self.synced = 0

    def __enter__(self) -> Self:
        sa.event.listen(sa.Pool, "connect", self._watch)
        return self

    def __exit__(self, *error: object) -> None:
        sa.event.remove(sa.Pool, "connect", self._watch)

    def _watch(self, connection: Any, record: object) -> None:
        connection.run_async(lambda driver: driver.set_trace_callback(_Watch(self)))


class _Watch:
    """One connection of those that are watched."""

    def __init__(self, commits: _Commits) -> None:
        self._commits = commits
        self._waits, self._writes = True, False

    def __call__(self, statement: str) -> None:
        if statement.startswith("PRAGMA synchronous = "):
            self._waits = statement.endswith("FULL")
        elif statement.startswith("BEGIN"):
            self._writes = False
        elif statement.startswith(("INSERT", "UPDATE", "DELETE")):
            self._writes = True
        elif statement == "COMMIT":
            self._commits.synced += self._waits and self._writes


async def _lone(host: gc.Host, commits: _Commits, recipient: str) -> tuple[int, int]:
    """Commits that wait for the disk: until it is accepted, and until it is settled."""
    before = commits.synced
    receipt = await host.send(attrs.evolve(messages.message("2KB"), to=[recipient]), durable=True)
    accepted = commits.synced
    await host.settled(receipt.id or 0)
    return accepted - before, commits.synced - before


async def sends(spec: dict[str, Any]) -> dict[str, Any]:
    """Durable sends: what a lone one commits, and how many a second are taken in from many senders at once."""
    count = spec["count"]
    plain = messages.message("2KB")
    watched = min(count, WATCHED)

    def letters(many: int) -> Iterator[gc.Message]:
        return iter([attrs.evolve(plain, to=[messages.recipient(number)]) for number in range(many)])

    async def send_all(host: gc.Host, those: Iterator[gc.Message]) -> None:
        async def send() -> None:
            for letter in those:
                await host.send(letter, durable=True)

        await asyncio.gather(*(send() for _ in range(SENDERS)))

    with _Commits() as commits:
        async with gc.Host.open(_config(spec)) as host:
            # The fewest of some: others of the process write beside them, once a second.
            lone = [await _lone(host, commits, f"alone{number}@example.com") for number in range(5)]
        async with gc.Host.open(_config(spec), work=False) as host:
            commits.synced = 0
            await send_all(host, letters(watched))
    async with gc.Host.open(_config(spec), work=False) as host:
        timed = letters(count)
        with Clock() as clock:
            await send_all(host, timed)
    answer = {
        "accept_syncs": min(lone)[0],
        "whole_syncs": min(whole for _, whole in lone),
        "sends_a_sync": watched / max(1, commits.synced),
    }
    return {**clock.report(count), **answer}


PROBES = {"broadcast": broadcast, "resume": resume, "sends": sends}

if __name__ == "__main__":
    probe.main(PROBES)
