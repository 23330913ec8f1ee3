"""Bringing a store's schema to the version that this package works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_connect.store.schema import metadata

if TYPE_CHECKING:
    from genie_connect.store.database import Database


async def prepare(database: Database) -> None:
    """Make or upgrade the schema of a SQLite file; check that of a server. Raises ``StoreVersion``."""
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
