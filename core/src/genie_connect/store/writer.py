"""One writer with group commit: many callers share one transaction, and so one fsync.

A commit of its own for each caller ends at a few hundred a second, whatever the machine (the disk's sync time bounds
it). So whoever wants to write puts an item in the queue and waits. One task takes all that is waiting, applies it in
one transaction, and tells everybody after the commit.

Each kind of write is a function that takes many items at once and gives a result, or an exception, for each. It must
be idempotent: after a lost connection nobody knows whether the commit was done, and it is applied again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import attrs
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.errors import StoreUnavailable
from genie_connect.failpoints import write_point
from genie_connect.store.database import Database

I = TypeVar("I")  # noqa: E741  # item
R = TypeVar("R")
Apply: TypeAlias = Callable[[AsyncConnection, Sequence[I]], Awaitable[Sequence[R | Exception]]]
"""Writes many items; one result or exception for each, in their order."""

MOST_AT_ONCE: Final = 2_000
PATIENCE_S: Final = 60.0
"""How long a server that has gone is asked again before callers are told: a restart takes some seconds."""
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0


@attrs.define(eq=False)
class _Waiting:
    apply: Apply[Any, Any]
    item: Any
    synced: bool
    done: asyncio.Future[Any]


class Writer:
    """The one that writes. To be entered with ``async with``; on leaving, what was handed in is still written."""

    def __init__(self, database: Database, *, patience_s: float = PATIENCE_S) -> None:
        self._database = database
        self._patience_s = patience_s
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="store writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def write(self, apply: Apply[I, R], item: I, *, synced: bool = True) -> R:
        """Write an item, and return its result once it is committed.

        With ``synced`` it survives a loss of power from then on; without, a crash of the process only. The write goes
        on when its caller is cancelled. Raises the item's own exception, or ``StoreUnavailable``.
        """
        if self._closing:
            raise StoreUnavailable("the store is being closed", hint="send before the host is closed")
        waiting = _Waiting(apply, item, synced, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        result: R = await waiting.done
        return result

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue[:MOST_AT_ONCE], self._queue[MOST_AT_ONCE:]
                await self._write(batch)
            if self._closing:
                return

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            results = await self._patiently(batch)
        except Exception as error:  # noqa: BLE001  # each caller gets it
            if len(batch) > 1 and not isinstance(error, StoreUnavailable):
                # One bad item must not take the others with it. Nothing of the batch was kept.
                for waiting in batch:
                    await self._write([waiting])
                return
            results = [(waiting, error) for waiting in batch]
        for waiting, result in results:
            if waiting.done.done():
                continue
            if isinstance(result, Exception):
                waiting.done.set_exception(result)
            else:
                waiting.done.set_result(result)

    async def _patiently(self, batch: list[_Waiting]) -> list[tuple[_Waiting, Any]]:
        """Write, and where the server has gone, again until it is back. A file that cannot be written stays so."""
        deadline = self._database.clock.monotonic() + self._patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return await self._transaction(batch)
            except StoreUnavailable:
                if self._database.is_sqlite or self._database.clock.monotonic() + pause_s > deadline:
                    raise
            await self._database.clock.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _transaction(self, batch: list[_Waiting]) -> list[tuple[_Waiting, Any]]:
        kinds: dict[Apply[Any, Any], list[_Waiting]] = {}
        for waiting in batch:
            kinds.setdefault(waiting.apply, []).append(waiting)

        async def apply_all(connection: AsyncConnection) -> list[tuple[_Waiting, Any]]:
            results: list[tuple[_Waiting, Any]] = []
            for apply, group in kinds.items():
                write_point(apply.__name__, "began")
                found = await apply(connection, [waiting.item for waiting in group])
                results.extend(zip(group, found, strict=True))
                write_point(apply.__name__, "applied")
            return results

        results = await self._database.carry_out(apply_all, synced=any(waiting.synced for waiting in batch))
        for apply in kinds:
            write_point(apply.__name__, "committed")
        return results
