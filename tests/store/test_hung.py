"""A process that hangs in the middle of a transaction."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from genie_connect.errors import StoreUnavailable
from genie_connect.store.database import Database
from genie_connect.store.schema import meta


async def test_transaction_that_hangs_on_postgresql_holds_up_nobody_for_long(postgresql_url: str) -> None:
    """The server ends it, its locks are free, and nothing of it was kept; who hung is told when it goes on."""
    async with Database(postgresql_url, hung_after_s=0.2) as hanging, Database(postgresql_url) as other:
        async with other.begin() as connection:
            await connection.execute(sa.insert(meta).values(name="lock", value="free"))
        with pytest.raises(StoreUnavailable):
            await hang_while_another_writes(hanging, other)
        async with other.read() as connection:
            assert await connection.scalar(sa.select(meta.c.value).where(meta.c.name == "lock")) == "other"


async def hang_while_another_writes(hanging: Database, other: Database) -> None:
    """Hold a lock in a transaction that says nothing until another one has got it."""
    lock = sa.update(meta).where(meta.c.name == "lock")
    async with hanging.begin() as connection:
        await connection.execute(lock.values(value="hanging"))
        async with asyncio.timeout(10), other.begin() as second:
            await second.execute(lock.values(value="other"))
        await connection.execute(sa.select(meta))
