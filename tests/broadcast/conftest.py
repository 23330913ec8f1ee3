"""Hosts with a store, as the tests of durable work make them."""

from __future__ import annotations

from tests.durable.conftest import hosted, hosted_in_a_file
from tests.store.conftest import (
    database_url,
    emptied_databases,
    postgresql,
    postgresql_template,
    postgresql_url,
    pytest_collection_modifyitems,
    sqlite_url,
)

__all__ = [
    "database_url",
    "emptied_databases",
    "hosted",
    "hosted_in_a_file",
    "postgresql",
    "postgresql_template",
    "postgresql_url",
    "pytest_collection_modifyitems",
    "sqlite_url",
]
