"""The store from the command line: ``db``, ``secrets``, and lists of suppressions from and to files."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator

import pytest

from genie_connect import Secret
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.delivery.connection import ConnectionConfig
from genie_connect.store.connections import load_connections, save_connection
from genie_connect.store.database import Database
from genie_connect.store.secrets import Keys
from tests.cli.conftest import Cli
from tests.servers.postgresql import Postgresql, why_not
from tests.store.test_connections import AcmeSettings

STORE = '[store]\nurl = "sqlite:///store.db"\n'


@pytest.fixture
def stored(cli: Cli) -> Cli:
    """A configuration with a store in a file."""
    cli.configure(STORE)
    return cli


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    """A real PostgreSQL."""
    if reason := why_not():
        pytest.skip(reason)
    with Postgresql() as started:
        yield started


def test_a_server_is_upgraded_by_command(cli: Cli, server: Postgresql) -> None:
    """Until then every command that needs the tables says which one to run."""
    cli.configure(f'[store]\nurl = "{server.make_database()}"\n')
    for command in (["db", "check"], ["db", "purge"], ["suppressions", "list"]):
        refused = cli(*command)
        assert refused.exit_code == ExitCode.STORE
        assert "has no tables" in refused.stderr
        assert "hint:  run: genie-connect db upgrade" in refused.stderr
    assert "is at version 0001 now; it had no tables" in cli("db", "upgrade").stdout
    assert "is at version 0001 already" in cli("db", "upgrade").stdout
    assert cli.json("db", "check")["ok"] is True


def test_a_store_that_cannot_be_used_is_one_error(stored: Cli) -> None:
    """What is wrong, and what to do, on standard error."""
    (stored.folder / "store.db").write_text("no database" * 100)
    result = stored("db", "check")
    assert result.exit_code == ExitCode.STORE
    assert "error: the store sqlite:///store.db cannot be used" in result.stderr
    assert "the file is no SQLite database" in result.stderr
    assert "name another file, or move this one away" in result.stderr


def test_commands_of_the_store_need_one(cli: Cli) -> None:
    """The configuration is to be mended, and how is said."""
    for command in (["db", "upgrade"], ["db", "check"], ["db", "purge"], ["secrets", "rotate"]):
        result = cli(*command)
        assert result.exit_code == ExitCode.CONFIGURATION
        assert "the configuration names no store" in result.stderr


def test_purges_what_the_configuration_no_longer_keeps(stored: Cli) -> None:
    """The counts are told; 0 days keep for ever."""
    stored("db", "upgrade")
    with sqlite3.connect(stored.folder / "store.db") as raw:
        columns = "tenant, id, connection, kind, at, received, data"
        raw.execute(f"INSERT INTO events ({columns}) VALUES ('default', 'e', 'c', 'sent', 1, 1, '')")
    raw.close()
    stored.configure(STORE + "keep_events_days = 0\n")
    assert stored("db", "purge").stdout == "nothing is older than it is to be kept\n"
    stored.configure(STORE)
    assert stored("db", "purge").stdout == "deleted 1 events\n"


def test_changes_the_key_of_the_secrets(stored: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key before the old one, a rotation, and the old one is of no use any more."""
    old, new = (stored("secrets", "new-key").stdout.strip() for _ in range(2))
    url = f"sqlite:///{stored.folder / 'store.db'}"

    async def save(key: str) -> None:
        async with Database(url) as database:
            config = ConnectionConfig(name="primary", connector="acme")
            await save_connection(database, Keys(Secret(key)), config, AcmeSettings(password=Secret("hunter2")))

    async def load(key: str) -> int:
        async with Database(url) as database:
            return len(await load_connections(database, Keys(Secret(key))))

    asyncio.run(save(old))
    stored.configure(STORE + 'key = "env:STORE_KEY"\n')
    monkeypatch.setenv("STORE_KEY", new)
    refused = stored("secrets", "rotate")
    assert refused.exit_code == ExitCode.STORE
    assert "cannot be decrypted with the store's key" in refused.stderr
    monkeypatch.setenv("STORE_KEY", f"{new},{old}")
    done = stored("secrets", "rotate")
    assert done.stdout == "1 of 1 secrets were encrypted anew; all are under the first key\n"
    assert asyncio.run(load(new)) == 1
    for key in (old, new):
        assert key not in refused.output + done.output


@pytest.mark.parametrize("where", ["store", "file"])
def test_imports_and_exports_the_list(cli: Cli, where: str) -> None:
    """Into the store or the file, whichever is asked before a send; and out again as it went in."""
    if where == "store":
        cli.configure(STORE)
    (cli.folder / "list.csv").write_text("email,reason\nada@example.com,complaint\nbob@example.com,unsubscribe\n")
    first = cli("suppressions", "import", "list.csv")
    assert first.exit_code == 0
    assert first.stdout.startswith("2 rows imported")
    assert cli("suppressions", "check", "ADA@example.com").exit_code == ExitCode.SUPPRESSED
    assert cli("suppressions", "check", "bob@example.com").exit_code == 0
    assert cli("suppressions", "export", "out.jsonl").exit_code == 0
    lines = [json.loads(line) for line in (cli.folder / "out.jsonl").read_text().splitlines()]
    assert {(line["address"], line["reason"], line["scope"], line["source"]) for line in lines} == {
        ("ada@example.com", "complaint", "all", "list.csv"),
        ("bob@example.com", "unsubscribe", "marketing", "list.csv"),
    }
    cli("suppressions", "remove", "ada@example.com", "bob@example.com")
    assert cli("suppressions", "import", "out.jsonl").exit_code == 0
    assert len(cli.json("suppressions", "list")["suppressions"]) == 2
    assert cli("suppressions", "export", "-").stdout.splitlines()[0] == "address,scope,reason,source,added,expires"


def test_importing_again_changes_nothing(stored: Cli) -> None:
    """It says so, and the history stays as it is."""
    (stored.folder / "list.csv").write_text("ada@example.com\nbob@example.com\n")
    assert (
        stored("suppressions", "import", "list.csv").stdout == "2 rows imported (2 new, 0 changed, 0 there already)\n"
    )
    again = stored.json("suppressions", "import", "list.csv")
    assert again["imported"] == {"rows": 2, "added": 0, "replaced": 0, "unchanged": 2}


def test_bad_rows_are_told_and_kept(stored: Cli) -> None:
    """The good ones are imported, the bad ones are in a file to be mended; the exit code says that there were some."""
    (stored.folder / "list.csv").write_text("email,extra\nada@example.com,1\nnobody,2\n")
    result = stored("suppressions", "import", "list.csv")
    assert result.exit_code == ExitCode.ERROR
    assert "line 3: address: 'nobody' is not an email address" in result.stderr
    assert "1 bad rows are in list.rejects.csv" in result.stderr
    assert "columns that say nothing here: extra" in result.stderr
    assert "nobody" in (stored.folder / "list.rejects.csv").read_text()
    assert stored("suppressions", "check", "ada@example.com").exit_code == ExitCode.SUPPRESSED


def test_strict_imports_all_or_nothing(stored: Cli) -> None:
    """One bad row, and nothing is changed; no file is made."""
    (stored.folder / "list.csv").write_text("ada@example.com\nnobody\n")
    result = stored("suppressions", "import", "--strict", "list.csv")
    assert result.exit_code == ExitCode.ERROR
    assert "line 2.address: 'nobody' is not an email address" in result.stderr
    assert not (stored.folder / "list.rejects.csv").exists()
    assert stored.json("suppressions", "list")["suppressions"] == []


def test_an_export_that_fails_leaves_the_old_one(stored: Cli) -> None:
    """Whoever reads the file finds a whole list."""
    (stored.folder / "out.csv").write_text("old")
    (stored.folder / "store.db").write_text("no database" * 100)
    assert stored("suppressions", "export", "out.csv").exit_code == ExitCode.STORE
    assert (stored.folder / "out.csv").read_text() == "old"
    assert sorted(path.name for path in stored.folder.glob("*out*")) == ["out.csv"]
