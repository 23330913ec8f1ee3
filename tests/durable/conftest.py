"""Hosts with a store, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from genie_connect import Host, Registry
from tests.store.conftest import (
    database_url,
    emptied_databases,
    postgresql,
    postgresql_template,
    postgresql_url,
    pytest_collection_modifyitems,
    sqlite_url,
)
from tests.support.connector import ScriptedConnector

__all__ = [
    "database_url",
    "emptied_databases",
    "postgresql",
    "postgresql_template",
    "postgresql_url",
    "pytest_collection_modifyitems",
    "sqlite_url",
]
MakeHost: TypeAlias = Callable[..., Host]


def durable_host(url: str, *connectors: ScriptedConnector, **options: Any) -> Host:
    """A host on a store, with a connection for each connector. ``engine`` and ``connections`` add to what they say."""
    registry = Registry()
    connections: dict[str, dict[str, Any]] = {}
    for priority, connector in enumerate(connectors, 1):
        registry.register(connector.id, connector)
        connections[connector.id] = {"connector": connector.id, "priority": priority}
    for name, more in options.pop("connections", {}).items():
        connections.setdefault(name, {}).update(more)
    engine = {"first_retry_s": 0.01, "grace_s": 5.0} | options.pop("engine", {})
    config = {"connections": connections, "store": {"url": url} | options.pop("store", {}), "engine": engine}
    return Host.open(config, registry=registry, **options)


@pytest.fixture
def hosted(database_url: str) -> MakeHost:
    """Makes hosts on one store, which is on SQLite and on PostgreSQL in turn."""
    return lambda *connectors, **options: durable_host(database_url, *connectors, **options)


@pytest.fixture
def hosted_in_a_file(tmp_path: Path) -> MakeHost:
    """Makes hosts on one store in a file."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    return lambda *connectors, **options: durable_host(url, *connectors, **options)
