"""Cursors that are read in one visit to their connection's thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from genie_connect.store.sqlite_driver import AHEAD, Connection, connect

NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) SELECT x FROM n"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Connection]:
    """A connection to a new file."""
    connection = await connect(folder / "x.db", isolation_level=None)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("count", [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 3 * AHEAD])
async def test_all_rows_are_read_however_many(tmp_path: Path, count: int) -> None:
    """What goes beyond the rows that are read with the statement is read on."""
    statement = f"SELECT x FROM ({NUMBERS}) WHERE x <= {count}"
    async with opened(tmp_path) as connection, connection.cursor() as cursor:
        await cursor.execute(statement, (count,))
        assert [x for (x,) in await cursor.fetchall()] == list(range(1, count + 1))


async def test_rows_are_read_one_by_one_and_some_at_a_time(tmp_path: Path) -> None:
    """All ways of reading go on where the last one ended, and end where the rows do."""
    async with opened(tmp_path) as connection, connection.cursor() as cursor:
        await cursor.execute(NUMBERS, (AHEAD + 3,))
        assert await cursor.fetchone() == (1,)
        assert len(await cursor.fetchmany(AHEAD)) == AHEAD
        assert await cursor.fetchmany(10) == [(AHEAD + 2,), (AHEAD + 3,)]
        assert await cursor.fetchone() is None


async def test_changes_are_counted(tmp_path: Path) -> None:
    """A cursor says how many rows it changed, also where the changed ones are returned."""
    async with opened(tmp_path) as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, y)")
        await cursor.executemany("INSERT INTO t (y) VALUES (?)", [(1,), (2,), (3,)])
        assert cursor.rowcount == 3
        assert cursor.description is None
        await cursor.execute("UPDATE t SET y = 0 WHERE x > 1 RETURNING x")
        assert await cursor.fetchall() == [(2,), (3,)]
        assert cursor.rowcount == 2


async def test_a_cursor_left_unread_holds_nobody_up(tmp_path: Path) -> None:
    """Once closed it is no statement under way any more: the transaction can end and the table go."""
    async with opened(tmp_path) as connection:
        async with connection.cursor() as cursor:
            await cursor.execute("CREATE TABLE t AS SELECT x FROM (" + NUMBERS + ")", (2 * AHEAD,))
            await cursor.execute("SELECT x FROM t")
        async with connection.cursor() as other:
            await other.execute("DROP TABLE t")


async def test_an_error_is_that_of_sqlite(tmp_path: Path) -> None:
    """What SQLite refuses reaches the caller as it is."""
    async with opened(tmp_path) as connection, connection.cursor() as cursor:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await cursor.execute("SELECT * FROM absent")


async def test_work_of_one_visit_is_done_whole(tmp_path: Path) -> None:
    """Its statements run one after another in the connection's thread, and its result, or error, is the caller's."""
    async with opened(tmp_path) as connection:

        async def counted() -> int:
            async with connection.cursor() as cursor:
                await cursor.execute("CREATE TABLE t (x)")
                await cursor.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
                await cursor.execute("SELECT count(*) FROM t")
                row = await cursor.fetchone()
            return int(row[0])

        assert await connection.at_once(counted()) == 2
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            await connection.at_once(counted())


async def test_work_of_one_visit_waits_for_its_connection_alone(tmp_path: Path) -> None:
    """What waits for the loop would wait for ever there: it is told so."""
    async with opened(tmp_path) as connection:
        with pytest.raises(RuntimeError, match="something else"):
            await connection.at_once(asyncio.sleep(0))
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT 1")
            assert await cursor.fetchone() == (1,)


async def test_work_of_one_visit_ends_before_its_cancelled_caller_is_told(tmp_path: Path) -> None:
    """Nobody takes the connection while statements go on in its thread."""
    begun, may_end = threading.Event(), threading.Event()
    ended: list[str] = []
    async with opened(tmp_path) as connection:

        async def slow() -> None:
            begun.set()
            may_end.wait(30)
            ended.append("work")

        async def caller() -> None:
            try:
                await connection.at_once(slow())
            finally:
                ended.append("caller")

        task = asyncio.create_task(caller())
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended == ["work", "caller"]
