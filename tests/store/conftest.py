"""What the tests of the store share: an empty database on SQLite and on a real PostgreSQL, and stores opened on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genie_connect.store.database import Database
from genie_connect.store.migrate import opened, upgrade
from tests.servers.emptied import Emptied
from tests.servers.postgresql import Postgresql, why_not
from tests.store.tenancy import listened

KINDS = ("sqlite", "postgresql")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs PostgreSQL where that cannot run; in CI it is tried, and so fails."""
    reason = why_not()
    if reason is None or os.environ.get("CI") == "true":
        return
    for item in items:
        arguments = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        names = {"postgresql", "postgresql_url", "empty_postgresql_url"} & set(getattr(item, "fixturenames", ()))
        if names or "postgresql" in (arguments.get("database_url"), arguments.get("empty_database_url")):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A real PostgreSQL, once for each worker of the test run."""
    with Postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_template(postgresql: Postgresql) -> str:
    """The name of a PostgreSQL database that has the store's tables, to be copied."""
    url = postgresql.make_database()
    # Where it is a coroutine that asks for this, its loop is running in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make_tables(url)).result()
    return postgresql.name_of(url)


async def make_tables(url: str) -> None:
    """What ``genie-connect db upgrade`` does."""
    async with opened(Database(url)) as database:
        await upgrade(database)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet: the first one to open it makes its tables."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(scope="session")
def emptied_databases(postgresql: Postgresql, postgresql_template: str) -> Emptied:
    """PostgreSQL databases that tests take in turn."""
    return Emptied(postgresql, postgresql_template)


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL database with the store's tables, and nothing in them."""
    databases: Emptied = request.getfixturevalue("emptied_databases")
    with databases.one() as url:
        yield url


@pytest.fixture
def empty_postgresql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL database without any table."""
    server: Postgresql = request.getfixturevalue("postgresql")
    url = server.make_database()
    yield url
    server.drop_database(url)


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store to be opened, on SQLite and on PostgreSQL in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without any table, on SQLite and on PostgreSQL in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgresql_url")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open store with its tables, on SQLite and on PostgreSQL in turn."""
    async with Database(database_url) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _every_statement_names_its_tenant(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test in which the store speaks of a tenant's rows without the tenant."""
    with listened() as heard:
        yield
    if request.node.get_closest_marker("any_tenant") is None:
        assert heard == []
