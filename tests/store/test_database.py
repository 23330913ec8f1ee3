"""Opening the store, on both databases."""

from __future__ import annotations

from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store import schema
from genie_connect.store.database import Database


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
    with pytest.raises(RuntimeError, match="in the middle"):
        await database.ask(fail)
    assert await database.ask(kept) == ["whole"]
