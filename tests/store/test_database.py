"""Opening the store, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.errors import StoreUnavailable
from genie_connect.store import schema
from genie_connect.store.database import DEADLOCKS, Database, driver_of


async def test_keeps_what_a_transaction_has_written(database: Database) -> None:
    """A row is there for the next reader once its transaction has ended, synced or not."""
    for name, synced in (("one", True), ("two", False), ("three", True)):
        async with database.begin(synced=synced) as connection:
            await connection.execute(sa.insert(schema.meta).values(name=name, value="x"))
    async with database.read() as connection:
        found = await connection.scalars(sa.select(schema.meta.c.name).where(schema.meta.c.value == "x"))
        assert set(found) == {"one", "two", "three"}


async def test_a_store_that_is_opened_again_has_its_rows(database_url: str) -> None:
    """Opening a store that is there changes nothing in it."""
    async with Database(database_url) as database, database.begin() as connection:
        await connection.execute(sa.insert(schema.meta).values(name="kept", value="x"))
    async with Database(database_url) as database, database.read() as connection:
        assert await connection.scalar(sa.select(schema.meta.c.value).where(schema.meta.c.name == "kept")) == "x"


async def test_work_that_fails_leaves_nothing_and_holds_nobody_up(database: Database) -> None:
    """Neither is half of it kept, nor does the next one find a transaction under way."""

    async def put(connection: AsyncConnection, name: str) -> None:
        await connection.execute(sa.insert(schema.meta).values(name=name, value="x"))

    async def fail(connection: AsyncConnection) -> None:
        await put(connection, "half")
        raise RuntimeError("in the middle")

    async def kept(connection: AsyncConnection) -> list[str]:
        return list(await connection.scalars(sa.select(schema.meta.c.name).where(schema.meta.c.value == "x")))

    for _ in range(2):
        with pytest.raises(RuntimeError, match="in the middle"):
            await database.carry_out(fail)
    assert await database.ask(kept) == []
    await database.carry_out(partial(put, name="whole"))
    # A question changes nothing: SQLite takes it back, PostgreSQL refuses it.
    with pytest.raises((RuntimeError, StoreUnavailable), match=r"in the middle|read-only"):
        await database.ask(fail)
    assert await database.ask(kept) == ["whole"]


async def test_a_question_to_a_server_is_one_round_trip(postgresql_url: str) -> None:
    """Neither a transaction around it nor a look whether the connection is still there, as there is to write."""
    said: list[str] = []

    async def heard(connection: AsyncConnection) -> None:
        driver_of(connection).add_query_logger(lambda record: said.append(record.query))

    async with Database(postgresql_url) as database:
        for ways, besides in ((database.carry_out, True), (database.ask, False)):
            await ways(heard)
            said.clear()
            assert await ways(_one) == 1
            assert await ways(_one) == 1
            # The logger of asyncpg hears of what is said besides prepared statements.
            assert bool(said) is besides, said


async def test_connections_that_the_server_has_ended_cost_no_answer(postgresql_url: str) -> None:
    """As where it was started anew between two questions."""
    async with Database(postgresql_url) as database, Database(postgresql_url) as other:
        assert await database.ask(_one) == 1
        await database.carry_out(_one)
        async with other.read() as connection:
            ended = sa.text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert (await connection.execute(ended)).scalar_one() >= 2
        assert await database.ask(_one) == 1
        assert await database.carry_out(_one) == 1


async def test_a_question_that_is_wrong_is_asked_once(postgresql_url: str) -> None:
    """Only the end of a connection is a reason to ask again."""
    asked: list[int] = []

    async def wrong(connection: AsyncConnection) -> None:
        asked.append(1)
        await connection.exec_driver_sql("SELECT 1 / 0")

    async with Database(postgresql_url) as database:
        with pytest.raises(sa.exc.DBAPIError, match="division by zero"):
            await database.ask(wrong)
    assert asked == [1]


async def test_two_who_wait_for_each_other_both_end(postgresql_url: str) -> None:
    """The server ends one of them, which is begun anew once the other has what it waited for."""
    each_has_one, begun = asyncio.Barrier(2), Counter[str]()

    async def mark(connection: AsyncConnection, first: str, second: str) -> None:
        begun[first] += 1
        for name in (first, second):
            marked = sa.update(schema.meta).values(value=schema.meta.c.value + first)
            await connection.execute(marked.where(schema.meta.c.name == name))
            if name == first and begun.total() <= 2:
                await each_has_one.wait()

    async with Database(postgresql_url) as database:
        async with database.begin() as connection:
            await connection.execute(sa.insert(schema.meta), [{"name": name, "value": ""} for name in "ab"])
        await asyncio.gather(*(database.carry_out(partial(mark, first=a, second=b)) for a, b in ("ab", "ba")))
        async with database.read() as connection:
            kept = await connection.scalars(sa.select(schema.meta.c.value).where(schema.meta.c.name.in_(["a", "b"])))
            assert [sorted(value) for value in kept] == [["a", "b"], ["a", "b"]]
    assert begun.total() > 2


async def test_work_that_is_ended_again_and_again_is_told(postgresql_url: str) -> None:
    """Not without end: then somebody has to look."""
    begun: list[int] = []

    async def ended(connection: AsyncConnection) -> None:
        begun.append(1)
        await connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; END $$")

    async with Database(postgresql_url) as database:
        with pytest.raises(StoreUnavailable, match="waited for each other"):
            await database.carry_out(ended)
    assert len(begun) == DEADLOCKS + 1


async def _one(connection: AsyncConnection) -> int:
    return int((await connection.exec_driver_sql("SELECT 1")).scalar_one())
