"""SQL that differs between SQLite and PostgreSQL, and what both need for many rows at once."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store.database import Database, driver_of

TOGETHER: Final = 16
"""So many rows go into SQLite by one statement: to begin and end one takes as long as a row. More gain nothing."""
_ROW: Final = re.compile(r" VALUES (\(\?(?:, \?)*\))")
R = TypeVar("R")
AnyRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"
"""A row of whatever columns."""


@attrs.frozen
class _Form:
    """What tells a statement from others: its structure, the values in it, and what it is compiled for."""

    dialect: type[sa.Dialect]
    columns: tuple[str, ...]
    structure: Hashable
    constants: tuple[Any, ...]
    statement: sa.Executable = attrs.field(eq=False)

    @classmethod
    def of(cls, statement: sa.Executable, dialect: type[sa.Dialect], columns: tuple[str, ...]) -> _Form:
        key = statement._generate_cache_key()  # type: ignore[attr-defined]  # noqa: SLF001
        if key is None:
            raise AssertionError(f"SQLAlchemy cannot tell this statement from others: {statement}")
        return cls(dialect, columns, key.key, tuple(each.value for each in key.bindparams), statement)


@lru_cache(maxsize=512)
def _compiled(form: _Form) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """Its SQL, the names of its parameters in order, and the values of those that are constant.

    Kept, as every host that opens a store has the same statements, and to compile them takes longer than all else.
    """
    compiled: Any = form.statement.compile(dialect=form.dialect(), column_keys=list(form.columns) or None)  # type: ignore[attr-defined]
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return str(compiled), tuple(compiled.positiontup), MappingProxyType(constants)


class _Compiled:
    """A statement compiled beforehand.

    For each row SQLAlchemy works as long as the database, and for each statement on SQLite it goes three times to the
    driver's thread and back. Where much is written that is most of the time. Every value is bound by the caller, and is
    of a type that both drivers take as it is.
    """

    def __init__(self, database: Database, statement: sa.Executable, columns: Sequence[str] = ()) -> None:
        form = _Form.of(statement, database.url.get_dialect(), tuple(columns))
        self._sql, self._names, self._constants = _compiled(form)
        self._is_sqlite = database.is_sqlite
        self._pick = itemgetter(*self._names) if len(self._names) > 1 else None

    def _bound(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        if self._pick is not None and not self._constants:
            picked: tuple[Any, ...] = self._pick(values)
            return picked
        return tuple(values[name] if name in values else self._constants[name] for name in self._names)


class Many(_Compiled):
    """One that is done for many rows at once. ``columns`` are those of an insert."""

    def __init__(self, database: Database, statement: sa.Insert | sa.Update | sa.Delete, *columns: str) -> None:
        super().__init__(database, statement, columns)
        self._together = _together(self._sql, len(self._names)) if self._is_sqlite else None

    async def run(self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Do it for each row; for none, nothing."""
        if not rows:
            return
        values = [self._bound(row) for row in rows]
        if not self._is_sqlite:
            await connection.exec_driver_sql(self._sql, values)
            return
        whole = 0 if self._together is None else len(values) - len(values) % TOGETHER
        if whole:
            parts = [list(chain(*values[start : start + TOGETHER])) for start in range(0, whole, TOGETHER)]
            await driver_of(connection).executemany(self._together, parts)
        if values[whole:]:
            await driver_of(connection).executemany(self._sql, values[whole:])


def _together(sql: str, parameters: int) -> str | None:
    """The insert of ``TOGETHER`` rows at once; ``None`` where it is no insert, or has parameters beside the row's."""
    row = _ROW.search(sql)
    if row is None or row[1].count("?") != parameters:
        return None
    return f"{sql[: row.start(1)]}{', '.join([row[1]] * TOGETHER)}{sql[row.end(1) :]}"


class Found(_Compiled):
    """One that reads: the rows are tuples in the order of its columns."""

    async def rows(self, connection: AsyncConnection, bound: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
        """What there is."""
        if self._is_sqlite:
            found: Iterable[tuple[Any, ...]] = await driver_of(connection).execute_fetchall(
                self._sql, self._bound(bound)
            )
            return found
        return [tuple(row) for row in await connection.exec_driver_sql(self._sql, self._bound(bound))]


async def of_each_name(
    ask: Callable[[Sequence[str]], Awaitable[list[R]]], names: Sequence[str], *, most: int
) -> list[R]:
    """The rows of all names, and of each at least its first ``most``. ``ask`` gives ``most + 1`` rows and no more.

    They are asked for at once, and by halves where that is not all: a name of very many rows must not hide the others'.
    """
    rows = await ask(names)
    if len(rows) <= most or len(names) == 1:
        return rows[:most]
    half = len(names) // 2
    return [row for part in (names[:half], names[half:]) for row in await of_each_name(ask, part, most=most)]


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
            said = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?"
            ((last,),) = await driver_of(connection).execute_fetchall(said, (table.name,))
            return list(range(last + 1, last + 1 + count))
        rows = await connection.scalars(
            sa.text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)"),
            {"name": table.name, "count": count},
        )
        return list(rows)
