"""What is said, and what is left behind, where the store cannot be used."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from genie_connect.errors import ConfigurationError, StoreUnavailable
from genie_connect.store.database import Database
from genie_connect.store.schema import meta


async def refusal(url: str) -> StoreUnavailable:
    """What opening it raises."""
    with pytest.raises(StoreUnavailable) as refused:
        async with Database(url):
            pass
    return refused.value


async def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path) -> None:
    """A file that is no database is named, with what to do, and not written to."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"no database at all\n" * 100)
    error = await refusal(f"sqlite:///{path}")
    assert error.message == f"the store sqlite:///{path} cannot be used: the file is no SQLite database"
    assert error.hint == "name another file, or move this one away"
    assert path.read_bytes() == b"no database at all\n" * 100
    assert os.listdir(tmp_path) == ["notes.txt"]


async def test_a_damaged_file_is_left_as_it_is(sqlite_url: str, tmp_path: Path) -> None:
    """A store whose pages are overwritten says that it is damaged."""
    async with Database(sqlite_url):
        pass
    path = tmp_path / "store.db"
    damaged = path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096)
    path.write_bytes(damaged)
    error = await refusal(sqlite_url)
    assert "the file is damaged" in error.message
    assert path.read_bytes() == damaged


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    """A path to a folder cannot be opened."""
    error = await refusal(f"sqlite:///{tmp_path}")
    assert (error.message.rpartition(": ")[2], error.hint) == (
        "the file cannot be opened",
        "look at the path and its permissions",
    )


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A mistyped path makes no store in a place that nobody looks at."""
    with pytest.raises(ConfigurationError, match="there is no folder"):
        async with Database(f"sqlite:///{tmp_path / 'missing' / 'store.db'}"):
            pass
    assert os.listdir(tmp_path) == []


async def test_a_full_file_keeps_all_that_was_committed(sqlite_url: str) -> None:
    """A transaction that finds no room leaves nothing of itself, and the store can still be read."""
    async with Database(sqlite_url) as database:
        async with database.begin() as connection:
            await connection.execute(sa.insert(meta), {"name": "kept", "value": "x"})
            pages = await connection.scalar(sa.text("PRAGMA page_count"))
            await connection.execute(sa.text(f"PRAGMA max_page_count = {pages + 2}"))

        async def too_much() -> None:
            async with database.begin() as connection:
                await connection.execute(sa.insert(meta), {"name": "half", "value": "x"})
                await connection.execute(sa.insert(meta), {"name": "too much", "value": "x" * 100_000})

        with pytest.raises(StoreUnavailable, match="the disk is full") as refused:
            await too_much()
        assert refused.value.hint == "make room; nothing was written in part"
        async with database.read() as connection:
            assert list(await connection.scalars(sa.select(meta.c.name))) == ["kept"]


FILL = """
import asyncio, sys
import sqlalchemy as sa
from genie_connect.errors import StoreUnavailable
from genie_connect.store.database import Database
from genie_connect.store.schema import meta

async def main(url):
    committed = 0
    try:
        async with Database(url) as database:
            while True:
                async with database.begin() as connection:
                    rows = [{"name": f"{committed} {n}", "value": "x" * 4000} for n in range(5)]
                    await connection.execute(sa.insert(meta), rows)
                committed += 1
    except StoreUnavailable as error:
        print(error.message.rpartition(": ")[2])
    async with Database(url) as database, database.read() as connection:
        print(await connection.scalar(sa.select(sa.func.count()).select_from(meta)) - 5 * committed)

asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_keeps_all_that_was_committed(tmp_path: Path) -> None:
    """On a real file system without room: one sentence, and all transactions there in whole or not at all."""
    unshare = shutil.which("unshare")
    mount = f"mount -t tmpfs -o size=2m none {tmp_path}"
    if unshare is None or subprocess.run([unshare, "--mount", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here: that needs root")
    script = f'{mount} && exec "$0" -W error -c "$1" "$2"'
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", script, sys.executable, FILL, f"sqlite:///{tmp_path}/store.db"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["the disk is full", "0"], "")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
import asyncio
from genie_connect.errors import StoreUnavailable
from genie_connect.store.database import Database

async def main(url):
    try:
        async with Database(url):
            pass
    except StoreUnavailable as error:
        print(error.message.rpartition(": ")[2])

asyncio.run(main(sys.argv[1]))
"""


async def test_a_store_that_could_not_be_made_can_be_made_later(sqlite_url: str) -> None:
    """Where there is no room for the tables none is left, and the next one who opens the file makes them all."""
    done = subprocess.run(  # noqa: ASYNC221  # nothing else runs here
        [sys.executable, "-W", "error", "-c", LIMITED, sqlite_url], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.splitlines(), done.stderr) == (["the disk cannot be read or written"], "")
    async with Database(sqlite_url) as database, database.begin() as connection:
        await connection.execute(sa.insert(meta), {"name": "made", "value": "x"})


async def test_a_database_that_is_not_there_is_named(postgresql_url: str) -> None:
    """A server without that database says so, with the way to make it."""
    error = await refusal(postgresql_url.replace("/test_", "/no_such_"))
    assert "the database, user or table does not exist" in error.message
    assert "postgresql://postgres@/no_such_" in error.message


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """Where nobody listens it does not answer, and the text holds no password."""
    error = await refusal(f"postgresql://user:hunter2@/store?host={tmp_path}")
    assert "it does not answer" in error.message
    assert "hunter2" not in f"{error.message} {error.hint}"


async def test_a_server_that_goes_away_is_unavailable(postgresql_url: str) -> None:
    """A connection that is cut in a transaction is an error that says so, and the next one connects again."""
    async with Database(postgresql_url) as database:

        async def cut() -> None:
            async with database.begin() as connection:
                me = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
                async with database.read() as other:
                    await other.execute(sa.text(f"SELECT pg_terminate_backend({me})"))
                await connection.execute(sa.insert(meta), {"name": "lost", "value": "x"})

        with pytest.raises(StoreUnavailable, match="it does not answer"):
            await cut()
        async with database.read() as connection:
            assert list(await connection.scalars(sa.select(meta.c.name))) == []


async def test_writers_that_wait_for_each_other_are_told_to_do_it_again(postgresql_url: str) -> None:
    """PostgreSQL ends one of the two, with nothing of it written; the other goes on."""
    changed = sa.update(meta).values(value="1")
    async with Database(postgresql_url) as database:
        async with database.begin() as connection:
            await connection.execute(sa.insert(meta), [{"name": "one", "value": "0"}, {"name": "two", "value": "0"}])
        both = asyncio.Barrier(2)

        async def write(*keys: str) -> None:
            async with database.begin() as connection:
                await connection.execute(changed.where(meta.c.name == keys[0]))
                await both.wait()
                await connection.execute(changed.where(meta.c.name == keys[1]))

        results = await asyncio.gather(write("one", "two"), write("two", "one"), return_exceptions=True)
    (error,) = [each for each in results if each is not None]
    assert isinstance(error, StoreUnavailable)
    assert "two of its writers waited for each other" in error.message
    assert "do it again" in error.hint


async def test_an_error_that_nobody_foresaw_holds_no_values(sqlite_url: str) -> None:
    """Whatever is written may be a secret or an address, and an error is for logs."""
    async with Database(sqlite_url) as database:
        row = {"name": "once", "value": "ada@example.com"}
        async with database.begin() as connection:
            with pytest.raises(sa.exc.IntegrityError) as raised:
                await connection.execute(sa.insert(meta), [row, row])
    assert "ada@example.com" not in str(raised.value)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("40P01", "two of its writers waited for each other"),
        ("42P01", "its tables are missing"),
        ("53100", "the server's disk is full"),
        ("53300", "the server takes no more connections"),
        ("25006", "it is read-only"),
    ],
)
async def test_a_server_of_another_language_is_understood(postgresql_url: str, code: str, cause: str) -> None:
    """By the code of its error, whatever its text."""
    async with Database(postgresql_url) as database:
        with pytest.raises(StoreUnavailable, match=cause):
            async with database.read() as connection:
                await connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'Nein' USING ERRCODE = '{code}'; END $$")
