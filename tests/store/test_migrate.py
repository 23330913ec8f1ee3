"""Schema versions: steps up and down, who takes them, and what is said where they do not fit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from genie_connect.errors import StoreUnavailable, StoreVersion
from genie_connect.store import migrate
from genie_connect.store.database import Database
from genie_connect.store.schema import meta, metadata
from tests.store.rows import row

MIGRATIONS = Path(str(files("genie_connect.store") / "migrations"))


def revisions() -> list[str]:
    """Every version there is, oldest first."""
    return sorted(revision.revision for revision in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


async def tables(database: Database) -> set[str]:
    """The tables that are there, without alembic's."""
    async with database.read() as connection:
        names = await connection.run_sync(lambda there: sa.inspect(there).get_table_names())
    return set(names) - {migrate.VERSION_TABLE}


def test_the_newest_step_is_the_version_that_the_package_works_with() -> None:
    """The steps are numbered in one row, and the last is the version that a store is compared with."""
    assert revisions() == [f"{number:04}" for number in range(1, len(revisions()) + 1)]
    assert revisions()[-1] == migrate.VERSION


async def test_the_steps_lead_to_the_tables_of_the_schema(empty_database_url: str) -> None:
    """What alembic finds missing after all steps is nothing."""

    def missing(connection: sa.Connection) -> list[Any]:
        # On SQLite it takes an empty text for no default; the test below compares those.
        defaults = connection.dialect.name != "sqlite"
        options = {"version_table": migrate.VERSION_TABLE, "compare_server_default": defaults, "compare_type": True}
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return found

    async with migrate.opened(Database(empty_database_url)) as database:
        await migrate.upgrade(database)
        async with database.read() as connection:
            assert await connection.run_sync(missing) == []


async def test_the_steps_make_the_same_sqlite_tables_word_for_word(sqlite_url: str, tmp_path: Path) -> None:
    """Row-less tables, partial indexes and numbering, which alembic does not compare, are the same too."""

    def said(connection: sa.Connection) -> set[str]:
        statements = connection.execute(
            sa.text("SELECT sql FROM sqlite_master WHERE name NOT LIKE :ours"), {"ours": "genie%"}
        )
        return {" ".join(statement.split()) for (statement,) in statements if statement}

    async with Database(sqlite_url) as database, database.read() as connection:
        by_steps = await connection.run_sync(said)
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as made:
        assert by_steps == said(made)
    engine.dispose()


async def test_goes_up_and_down_with_data(empty_database_url: str) -> None:
    """Each step can be taken back and taken again with a row in every table; taking back the first leaves nothing."""
    async with migrate.opened(Database(empty_database_url)) as database:
        assert await migrate.upgrade(database) is None
        async with database.begin() as connection:
            for table in metadata.sorted_tables:
                await connection.execute(sa.insert(table), row(table))
        for older in [*reversed(revisions()[:-1]), "base"]:
            await migrate.downgrade(database, older)
            assert await migrate.version(database) == (None if older == "base" else older)
        assert await tables(database) == set()
        for newer in revisions():
            await migrate.upgrade(database, newer)
            assert await migrate.version(database) == newer
        assert await tables(database) == set(metadata.tables)


async def test_an_upgrade_keeps_what_is_there(database_url: str) -> None:
    """Upgrading a store that needs none leaves its rows alone, and says which version it had."""
    async with Database(database_url) as database:
        async with database.begin() as connection:
            await connection.execute(sa.insert(meta), {"name": "kept", "value": "x"})
        assert await migrate.upgrade(database) == migrate.VERSION
        async with database.read() as connection:
            assert await connection.scalar(sa.select(meta.c.value).where(meta.c.name == "kept")) == "x"


async def test_a_server_is_never_upgraded_by_opening_it(empty_postgresql_url: str) -> None:
    """Opening one without tables names the command that makes them, and makes none."""
    with pytest.raises(StoreVersion, match="has no tables") as refused:
        async with Database(empty_postgresql_url):
            pass
    assert (refused.value.hint, refused.value.found) == ("run: genie-connect db upgrade", None)
    async with migrate.opened(Database(empty_postgresql_url)) as database:
        assert await tables(database) == set()


async def test_a_store_from_a_newer_version_is_left_alone(database_url: str) -> None:
    """It is neither opened nor changed, and the error says that the package is to be updated."""
    async with Database(database_url) as database, database.begin() as connection:
        await connection.execute(sa.text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StoreVersion, match="has schema 9999, made by a newer version") as refused:
        async with Database(database_url):
            pass
    assert refused.value.hint.startswith("update genie-connect here")
    async with migrate.opened(Database(database_url)) as database:
        for change in (migrate.upgrade(database), migrate.downgrade(database, "base"), migrate.check(database)):
            with pytest.raises(StoreVersion):
                await change
        assert await migrate.version(database) == "9999"


async def test_another_programs_database_is_left_alone(empty_database_url: str) -> None:
    """Where a table of ours is there that no step of ours made, nothing is added to the database."""
    async with migrate.opened(Database(empty_database_url)) as database:
        async with database.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE events (name TEXT)"))
        with pytest.raises(StoreUnavailable, match="it holds a table 'events' of another program"):
            await migrate.upgrade(database)
        assert await tables(database) == {"events"}


OPEN = """
import asyncio, sys
import sqlalchemy as sa
from genie_connect.store.database import Database
from genie_connect.store.schema import meta

async def main(url, name):
    sys.stdin.readline()
    async with Database(url) as database, database.begin() as connection:
        await connection.execute(sa.insert(meta), {"name": name, "value": "x"})

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.long
def test_four_processes_may_open_a_new_file_at_once(sqlite_url: str) -> None:
    """One makes the tables, the others find them, and all can write."""
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, sqlite_url, f"process {number}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [(process.communicate()[1], process.returncode) for process in started]
    assert said == [("", 0)] * 4
    engine = sa.create_engine(sqlite_url)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(meta)) == 4
    engine.dispose()


async def test_two_upgrades_of_a_server_at_once_do_it_once(empty_postgresql_url: str) -> None:
    """The second one waits for the first and finds nothing to do."""
    async with (
        migrate.opened(Database(empty_postgresql_url)) as one,
        migrate.opened(Database(empty_postgresql_url)) as two,
    ):
        assert sorted(await asyncio.gather(migrate.upgrade(one), migrate.upgrade(two)), key=str) == ["0001", None]
