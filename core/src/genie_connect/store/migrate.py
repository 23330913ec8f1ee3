"""Bringing a store's schema to the version that this package works with.

A version is a number, ``0001`` and up; the store keeps its own in a table. The steps are alembic's, which is imported
only where there are steps to take. All of them are done in one transaction, on SQLite too, so that a step that fails
leaves the store as it was. That transaction is also the lock: of several processes that open a new store at once one
makes the tables, and the others find them made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.errors import StoreUnavailable, StoreVersion
from genie_connect.store.schema import metadata

if TYPE_CHECKING:
    from alembic.config import Config

    from genie_connect.store.database import Database

VERSION: Final = "0001"
"""The version that this package works with."""
VERSION_TABLE: Final = "genie_connect_version"
"""Not alembic's own name for it: a host may keep its tables, and their version, in the same database."""
UPGRADE: Final = "genie-connect db upgrade"
_LOCK: Final = 0x67656E6965
"""The advisory lock of an upgrade on PostgreSQL; any number that nobody else takes."""


async def prepare(database: Database) -> None:
    """Make or upgrade the schema of a SQLite file; check that of a server. Raises ``StoreVersion``."""
    found = await version(database)
    if found == VERSION:
        return
    if not database.is_sqlite or (found or "") > VERSION:
        raise _wrong(database, found)
    await upgrade(database)


async def version(database: Database) -> str | None:
    """The version of a store's schema; ``None`` where there is none yet."""
    async with database.read() as connection:
        return await connection.run_sync(_version)


async def check(database: Database) -> None:
    """Raises ``StoreVersion`` where the schema is older or newer than this package needs."""
    found = await version(database)
    if found != VERSION:
        raise _wrong(database, found)


async def upgrade(database: Database, to: str = VERSION) -> str | None:
    """Bring the schema up to a version; the one it had, ``None`` for none. Raises ``StoreVersion`` for a newer one."""
    async with _locked(database) as connection:
        found = await connection.run_sync(_version)
        if (found or "") > VERSION:
            raise _wrong(database, found)
        if found is None:
            await _refuse_foreign_tables(database, connection)
        if (found or "") < to:
            await connection.run_sync(_run, to, "upgrade")
    return found


async def downgrade(database: Database, to: str) -> str | None:
    """Take the schema back to an older version, ``base`` for nothing at all; what newer tables hold is lost."""
    async with _locked(database) as connection:
        found = await connection.run_sync(_version)
        if (found or "") > VERSION:
            raise _wrong(database, found)
        if found is not None:
            await connection.run_sync(_run, to, "downgrade")
    return found


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Database]:
    """A store whatever its version is, for what changes or shows that."""
    await database.connect()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _locked(database: Database) -> AsyncIterator[AsyncConnection]:
    # On SQLite every transaction that writes has the file for itself from its beginning.
    async with database.begin() as connection:
        if not database.is_sqlite:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield connection


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
    return None if found is None else str(found)


async def _refuse_foreign_tables(database: Database, connection: AsyncConnection) -> None:
    there = await connection.run_sync(lambda open_: sa.inspect(open_).get_table_names())
    foreign = sorted(set(there) & set(metadata.tables))
    if foreign:
        raise StoreUnavailable(
            f"the store {database.title} cannot be used: it holds a table {foreign[0]!r} of another program",
            hint="name a database of its own",
        )


def _run(connection: sa.Connection, to: str, way: str) -> None:
    # Takes a quarter of a second, and a store is at its version nearly always.
    from alembic import command

    ways: dict[str, Callable[[Config, str], None]] = {"upgrade": command.upgrade, "downgrade": command.downgrade}
    with as_file(files("genie_connect.store") / "migrations") as folder:
        ways[way](configuration(str(folder), connection), to)


def configuration(folder: str, connection: sa.Connection) -> Config:
    """What alembic needs to know."""
    from alembic.config import Config

    made = Config(attributes={"connection": connection})
    made.set_main_option("script_location", folder.replace("%", "%%"))
    made.set_main_option("path_separator", "newline")
    return made


def _wrong(database: Database, found: str | None) -> StoreVersion:
    if (found or "") > VERSION:
        return StoreVersion(
            f"the store {database.title} has schema {found}, made by a newer version of genie-connect; "
            f"this one works with {VERSION}",
            found=found,
            wanted=VERSION,
            hint="update genie-connect here; an older version must not write to a newer store",
        )
    has = f"schema {found}" if found else "no tables"
    return StoreVersion(
        f"the store {database.title} has {has}; this version of genie-connect works with schema {VERSION}",
        found=found,
        wanted=VERSION,
        hint=f"run: {UPGRADE}",
    )
