"""What listens for statements without a tenant hears them. It listens in every other test of this folder."""

from __future__ import annotations

import pytest

from tests.store.tenancy import speaks_without_tenant


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM units WHERE id = ?",
        "SELECT tenant FROM units",
        "SELECT units.id FROM broadcasts JOIN units ON units.tenant = broadcasts.tenant WHERE units.id = ?",
        "UPDATE units SET tenant = ? WHERE id = ?",
        "DELETE FROM events",
        "INSERT INTO events (id) VALUES (?)",
    ],
)
def test_hears_a_statement_without_a_tenant(statement: str) -> None:
    """In its condition: to read the column, or to join by it, says nothing of whose rows they are."""
    assert speaks_without_tenant(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM units WHERE id = ? AND tenant = ?",
        "INSERT INTO events (tenant, id) VALUES (?, ?)",
        "DELETE FROM events WHERE events.tenant = $1::VARCHAR",
        "SELECT value FROM meta WHERE name = ?",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE units (id INTEGER)",
    ],
)
def test_hears_no_more_than_that(statement: str) -> None:
    """With the tenant, or of a table that has none."""
    assert not speaks_without_tenant(statement)
