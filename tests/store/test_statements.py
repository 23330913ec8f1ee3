"""Statements that are compiled beforehand, once for all hosts of a process."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from genie_connect.store.database import Database
from genie_connect.store.schema import meta
from genie_connect.store.statements import Found, Many


async def test_statements_that_differ_in_a_value_alone_are_kept_apart(tmp_path: Path) -> None:
    """What is kept of the one is never used for the other, on whatever database it is opened next."""
    found = []
    for name in ("a", "b"):
        async with Database(f"sqlite:///{tmp_path / name}.db") as database:
            for value in ("one", "two"):
                put = Many(database, sa.insert(meta), *meta.c.keys())
                async with database.begin() as connection:
                    await put.run(connection, [{"name": value, "value": f"{name} {value}"}])
            for value in ("one", "two"):
                read = Found(database, sa.select(meta.c.value).where(meta.c.name == value))
                async with database.read() as connection:
                    found += [text for (text,) in await read.rows(connection, {})]
    assert found == ["a one", "a two", "b one", "b two"]
