"""The two statements on suppressions that must be quick, in each database's own words.

``Core`` would compile a list of five hundred for each query, and take thousands of rows apart one by one; here the text
is made once for each size, and a batch travels as one array for each column.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store.database import driver_of

AT_ONCE: Final = 500
"""Digests in one query; SQLite takes 32,766 parameters, older ones 999."""
_COLUMNS: Final = "digest, scope, address, reason, source, added, expires"
_TYPES: Final = ("bytea", "smallint", "text", "text", "text", "float8", "float8")


async def look_up(connection: AsyncConnection, tenant: str, digests: Sequence[bytes]) -> Sequence[Any]:
    """The rows of those digests that have any, as ``digest, scope, address, reason, source, added, expires``."""
    if connection.dialect.name == "sqlite":
        found: Sequence[Any] = await driver_of(connection).execute_fetchall(
            _sqlite_look_up(len(digests)), (tenant, *digests)
        )
        return found
    statement = f"SELECT {_COLUMNS} FROM suppressions WHERE tenant = $1 AND digest = ANY($2::bytea[])"  # noqa: S608  # no value in it
    return (await connection.exec_driver_sql(statement, (tenant, list(digests)))).all()


async def replace_all(
    connection: AsyncConnection, tenant: str, rows: Sequence[Sequence[Any]], *, again: bool
) -> tuple[int, int]:
    """Keep rows, each address and scope once among them; how many were new, and how many took another's place.

    What is replaced goes into the history first. Without ``again`` a row that says the same is left alone.
    """
    run = _replace_sqlite if connection.dialect.name == "sqlite" else _replace_postgresql
    replaced, written = await run(connection, tenant, rows, again)
    return written - replaced, replaced


@cache
def _sqlite_look_up(count: int) -> str:
    marks = ", ".join("?" * count)
    return f"SELECT {_COLUMNS} FROM suppressions WHERE tenant = ? AND digest IN ({marks})"  # noqa: S608  # as above


async def _replace_sqlite(
    connection: AsyncConnection, tenant: str, rows: Sequence[Sequence[Any]], again: bool
) -> tuple[int, int]:
    # In memory, and the connection's own: temp_store says so.
    await connection.exec_driver_sql(f"CREATE TEMP TABLE IF NOT EXISTS incoming ({_COLUMNS})")
    await connection.exec_driver_sql("DELETE FROM temp.incoming")
    await connection.exec_driver_sql(
        "INSERT INTO temp.incoming VALUES (?, ?, ?, ?, ?, ?, ?)", [tuple(row) for row in rows]
    )
    history, upsert = _statements("temp.incoming", "?", "IS NOT", again=again)
    replaced = (await connection.exec_driver_sql(history, (tenant,))).rowcount
    written = (await connection.exec_driver_sql(upsert, (tenant,))).rowcount
    return replaced, written


async def _replace_postgresql(
    connection: AsyncConnection, tenant: str, rows: Sequence[Sequence[Any]], again: bool
) -> tuple[int, int]:
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_TYPES, 2))
    history, upsert = _statements(f"unnest({arrays})", "$1", "IS DISTINCT FROM", again=again)
    values = (tenant, *(list(column) for column in zip(*rows, strict=True)))
    replaced = (await connection.exec_driver_sql(history, values)).rowcount
    written = (await connection.exec_driver_sql(upsert, values)).rowcount
    return replaced, written


@cache
def _statements(source: str, tenant: str, differs: str, *, again: bool) -> tuple[str, str]:
    # Nothing but names and marks is put into these texts.
    compared = ("reason", "source", "expires", *(("added",) if again else ()))
    names = f"AS new ({_COLUMNS})" if source.startswith("unnest") else "AS new"
    # SQLite looks up what is new among what is there, in that order, and not all that is there among what is new.
    join = "CROSS JOIN" if differs == "IS NOT" else "JOIN"
    changed = " OR ".join(f"old.{column} {differs} new.{column}" for column in compared)
    history = f"""
        INSERT INTO suppression_history (tenant, digest, scope, action, reason, source, at)
        SELECT old.tenant, old.digest, old.scope, 'add', old.reason, old.source, old.added
        FROM {source} {names} {join} suppressions AS old ON old.digest = new.digest AND old.scope = new.scope
        WHERE old.tenant = CAST({tenant} AS VARCHAR) AND ({changed})"""  # noqa: S608
    set_ = ", ".join(f"{column} = excluded.{column}" for column in ("address", "reason", "source", "added", "expires"))
    upsert = f"""
        INSERT INTO suppressions AS old (tenant, {_COLUMNS})
        SELECT CAST({tenant} AS VARCHAR), {", ".join(f"new.{column}" for column in _COLUMNS.split(", "))}
        FROM {source} {names} WHERE true
        ON CONFLICT (tenant, digest, scope) DO UPDATE SET {set_}
        WHERE {changed.replace("new.", "excluded.")}"""  # noqa: S608
    return history, upsert
