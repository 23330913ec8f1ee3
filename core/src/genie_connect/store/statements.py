"""SQL that differs between SQLite and PostgreSQL, and what both need for many rows at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store.database import Database

AnyRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"
"""A row of whatever columns."""


class Many:
    """A statement for many rows at once, compiled beforehand.

    What SQLAlchemy does for each row costs as much as the database's work on it. ``columns`` are those of an insert;
    every value is bound by the row, and is of a type that both drivers take as it is.
    """

    def __init__(self, database: Database, statement: sa.Insert | sa.Update | sa.Delete, *columns: str) -> None:
        compiled = statement.compile(dialect=database.url.get_dialect()(), column_keys=columns or None)
        names = getattr(compiled, "positiontup", None)
        if not names:
            raise AssertionError("both drivers bind by position")
        self._sql = str(compiled)
        self._values = itemgetter(*names)

    async def run(self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Do it for each row; for none, nothing."""
        if rows:
            await connection.exec_driver_sql(self._sql, [self._values(row) for row in rows])


class Dialect:
    """The forms that one database needs."""

    def __init__(self, database: Database) -> None:
        self._is_sqlite = database.is_sqlite

    def among(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
        """Whether the column is one of many values, bound as ``name`` with ``values``.

        One value is bound, so the statement is the same, and prepared once, however many there are.
        """
        if self._is_sqlite:
            each = sa.func.json_each(sa.bindparam(name, type_=sa.Text)).table_valued("value")
            return column.in_(sa.select(each.c.value))
        return column == sa.any_(sa.bindparam(name, type_=sa.ARRAY(column.type)))

    def values(self, values: Sequence[int] | Sequence[str]) -> Any:
        """What is bound for ``among``."""
        return json.dumps(values) if self._is_sqlite else list(values)

    def ignore(self, table: sa.Table) -> sa.Insert:
        """An insert that leaves a row alone which is there already."""
        if self._is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()

    def put(
        self,
        table: sa.Table,
        *,
        counting: str | None = None,
        only: Sequence[str] = (),
        unless: sa.ColumnElement[bool] | None = None,
    ) -> sa.Insert:
        """An insert that replaces what is there already, or ``only`` these columns of it, ``unless`` it is so.

        Of ``counting`` the old and the new are added up.
        """
        made = sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)
        keys = {column.name for column in table.primary_key}
        new: dict[str, Any] = {
            column.name: made.excluded[column.name]
            for column in table.columns
            if column.name not in keys and (not only or column.name in only)
        }
        if counting is not None:
            new[counting] = table.c[counting] + made.excluded[counting]
        where = None if unless is None else sa.not_(unless)
        return made.on_conflict_do_update(index_elements=list(table.primary_key), set_=new, where=where)

    async def numbers(self, connection: AsyncConnection, table: sa.Table, count: int) -> list[int]:
        """The numbers of the next rows, to be inserted with them in this transaction."""
        if self._is_sqlite:
            found = await connection.scalar(
                sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name}
            )
            return list(range((found or 0) + 1, (found or 0) + 1 + count))
        rows = await connection.scalars(
            sa.text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)"),
            {"name": table.name, "count": count},
        )
        return list(rows)
