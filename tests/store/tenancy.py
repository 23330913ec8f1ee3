"""Listens to what the store's tests say to a database, and finds what speaks of a tenant's rows without the tenant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from genie_connect.store.schema import metadata

TENANTED = {table.name for table in metadata.tables.values() if "tenant" in table.columns}
_TABLES = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+\"?([a-z_]+)", re.IGNORECASE)
_CONDITION = re.compile(r"\btenant\b", re.IGNORECASE)


def speaks_without_tenant(statement: str) -> bool:
    """Whether it reads or writes a tenant's table, and has no tenant in its conditions or its columns to be filled.

    A statement that numbers rows, or changes the schema, has no tenant to name.
    """
    words = " ".join(statement.split())
    verb = words.partition(" ")[0].upper()
    if verb not in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
        return False
    if not TENANTED & set(_TABLES.findall(words)):
        return False
    # An insert names its columns; everything else must say it where it says which rows.
    start = 0 if verb == "INSERT" else max(words.upper().find(" WHERE "), 0) or len(words)
    return _CONDITION.search(words, start) is None


@contextmanager
def listened() -> Iterator[list[str]]:
    """Every statement in here, of any database, that speaks without the tenant; each once."""
    found: dict[str, None] = {}

    def hear(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if speaks_without_tenant(statement):
            found[" ".join(statement.split())] = None

    result: list[str] = []
    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield result
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)
        result.extend(found)
