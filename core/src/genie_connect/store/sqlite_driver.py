"""SQLite for the event loop, with one visit to its thread for each statement.

aiosqlite goes to the thread of its connection to make a cursor, to execute, to fetch, and to close; each visit costs
two changes of thread, more than most of our statements. Here a cursor is made, executed and read in one visit, as far
as ``AHEAD`` rows go. What returns less has been read to its end, and leaves nothing open that had to be closed.

A transaction of many statements is one visit too, where it is a coroutine that waits for this connection alone
(``Connection.at_once``): it runs in the thread, and there each statement is a plain call.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiosqlite

AHEAD: Final = 1_000
"""Rows that are read with the statement; whatever is larger is read on in such parts, and never held whole."""
_NO_PARAMETERS: Final[tuple[Any, ...]] = ()
T = TypeVar("T")


class Connection(aiosqlite.Connection):
    """An aiosqlite connection whose cursors are ours."""

    _visited_by: int | None = None
    """The thread that carries out a whole coroutine just now."""

    async def at_once(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry a coroutine out in the connection's thread, in one visit. It may wait for this connection alone.

        Once begun it goes on to its end, also when its caller is cancelled: the caller is told after it, so that nobody
        takes the connection meanwhile.
        """
        ended: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((ended, partial(self._carry_out, work)))
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.wait((ended,))
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            ended.exception()
            raise cancelled
        return ended.result()

    def _carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        self._visited_by = get_ident()
        try:
            work.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            self._visited_by = None
        work.close()
        raise RuntimeError("work of one visit has waited for something else than its connection")

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._visited_by == get_ident():
            return fn(*args, **kwargs)
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]

    async def rollback(self) -> None:
        """End a transaction without keeping it. Each user of a pool ends with that, and nearly always there is none."""
        if self.in_transaction:
            await super().rollback()

    def cursor(self) -> Cursor:  # type: ignore[override]  # all that SQLAlchemy asks of it is to be entered
        """A cursor, to be entered with ``async with``."""
        return Cursor(self)


class Cursor:
    """The part of an asynchronous cursor that SQLAlchemy uses."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: sqlite3.Cursor | None = None
        self._rows: deque[Any] = deque()
        self._more = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def description(self) -> Any:
        """The columns of what was read; ``None`` where there are none."""
        return None if self._cursor is None else self._cursor.description

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        return -1 if self._cursor is None else self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """The number of the row that was inserted."""
        return None if self._cursor is None else self._cursor.lastrowid

    async def execute(self, sql: str, parameters: Any = _NO_PARAMETERS) -> Self:
        """Execute a statement, and read the first rows of what it returns."""
        await self._visit(lambda cursor: cursor.execute(sql, parameters))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> Self:
        """Execute a statement for each of many parameters."""
        await self._visit(lambda cursor: cursor.executemany(sql, parameters))
        return self

    async def fetchone(self) -> Any:
        """The next row, or ``None``."""
        if not self._rows and self._more:
            await self._visit(None)
        return self._rows.popleft() if self._rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows, ``size`` of them at most."""
        size = size or self.arraysize
        while len(self._rows) < size and self._more:
            await self._visit(None)
        return [self._rows.popleft() for _ in range(min(size, len(self._rows)))]

    async def fetchall(self) -> list[Any]:
        """All rows that are left."""
        while self._more:
            await self._visit(None)
        found = list(self._rows)
        self._rows.clear()
        return found

    async def close(self) -> None:
        """Leave the rest unread."""
        self._rows.clear()
        if self._more and self._cursor is not None:
            self._more = False
            await self._connection._execute(self._cursor.close)  # noqa: SLF001

    async def _visit(self, begin: Callable[[sqlite3.Cursor], object] | None) -> None:
        await self._connection._execute(self._work, begin)  # noqa: SLF001

    def _work(self, begin: Callable[[sqlite3.Cursor], object] | None) -> None:
        """In the connection's thread."""
        if self._cursor is None:
            self._cursor = self._connection._conn.cursor()  # noqa: SLF001
        if begin is not None:
            begin(self._cursor)
        if self._cursor.description is None:
            return
        rows = self._cursor.fetchmany(AHEAD)
        self._more = len(rows) == AHEAD
        self._rows.extend(rows)


async def connect(*arguments: Any, **keywords: Any) -> Connection:
    """Connect, as ``sqlite3.connect``; by a thread that does not hold up the end of the process."""
    connection = Connection(partial(sqlite3.connect, *arguments, **keywords), iter_chunk_size=AHEAD)
    thread = connection._thread  # noqa: SLF001  # SQLAlchemy does the same, for the same reason
    thread.daemon = True
    try:
        await connection
    except BaseException:
        # The thread says to the loop that it ends, and nobody waits for that; the loop may be closed by then.
        thread.join(timeout=1)
        raise
    return connection
