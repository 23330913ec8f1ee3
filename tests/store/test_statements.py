"""Statements that are compiled beforehand, once for all hosts of a process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from genie_connect.store.database import Database
from genie_connect.store.schema import meta
from genie_connect.store.statements import TOGETHER, Dialect, Found, Many


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


@pytest.mark.parametrize("count", [1, TOGETHER - 1, TOGETHER, 3 * TOGETHER + 1])
async def test_many_rows_are_written_as_each_alone_would_be(database: Database, count: int) -> None:
    """However many go by one statement: what is there stays, or is replaced, or only where it may be."""
    dialect, columns = Dialect(database), meta.c.keys()
    ignore = Many(database, dialect.ignore(meta), *columns)
    put = Many(database, dialect.put(meta), *columns)
    unless = Many(database, dialect.put(meta, unless=meta.c.value == sa.bindparam("b_kept")), *columns)
    names = [f"row {number:03}" for number in range(count)]
    read = Found(database, sa.select(meta.c.name, meta.c.value).where(meta.c.name.like("row %")).order_by(meta.c.name))

    async def written(many: Many, value: str, rows: Sequence[str], **bound: str) -> dict[str, str]:
        async with database.begin() as connection:
            await many.run(connection, [{"name": name, "value": f"{value} {name}", **bound} for name in rows])
            return {row[0]: row[1] for row in await read.rows(connection, {})}

    first = {name: f"first {name}" for name in names[::2]}
    assert await written(ignore, "first", [*names[::2], *names[::2]]) == first
    second = {name: f"second {name}" for name in names} | first
    assert await written(ignore, "second", names) == second
    third = second | {name: f"third {name}" for name in names[:-1]}
    assert await written(put, "third", names[:-1]) == third
    last = {name: f"last {name}" for name in names} | {names[0]: third[names[0]]}
    assert await written(unless, "last", names, b_kept=third[names[0]]) == last
