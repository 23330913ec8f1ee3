"""Real servers for the engines, each started once for a worker of the test run, and a fresh queue for each test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from genie_connect.engine import Place
from genie_connect.engine.pgqueuer import upgrade_tables
from tests.servers import nats, postgresql, rabbitmq
from tests.servers.nats import Nats
from tests.servers.postgresql import Postgresql
from tests.servers.rabbitmq import RabbitMq

SERVERS = {"postgresql": postgresql, "nats_server": nats, "rabbitmq_server": rabbitmq}
"""The fixture of each server, and the module that can say why it does not run here."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a server that cannot run here; in CI it is tried, and so fails."""
    if os.environ.get("CI") == "true":
        return
    reasons = {name: reason for name, module in SERVERS.items() if (reason := module.why_not()) is not None}
    for item in items:
        for name in sorted(reasons.keys() & set(getattr(item, "fixturenames", ()))):
            item.add_marker(pytest.mark.skip(reason=reasons[name]))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A real PostgreSQL."""
    with Postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def pgqueuer_template(postgresql: Postgresql) -> str:
    """The name of a database that has PgQueuer's tables, to be copied."""
    url = postgresql.make_database()
    asyncio.run(upgrade_tables(Place(store="store", tenant="tests", store_url=url)))
    return postgresql.name_of(url)


@pytest.fixture
def pgqueuer_url(postgresql: Postgresql, pgqueuer_template: str) -> Iterator[str]:
    """The URL of a database with PgQueuer's tables, and nothing in them."""
    url = postgresql.make_database(like=pgqueuer_template)
    yield url
    postgresql.drop_database(url)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """A real NATS with JetStream."""
    with Nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """A real RabbitMQ."""
    with RabbitMq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody else uses."""
    return f"t{uuid4().hex[:12]}"
