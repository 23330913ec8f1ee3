"""How far a connector has come is computed, and from nothing but the checks."""

from __future__ import annotations

import pytest

from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.levels import Level, conformance

ALL = {check.id: "passed" for check in catalogue()}


@pytest.mark.parametrize(
    ("check", "level"),
    [
        ("GC-SEND-001", Level.NONE),
        ("GC-FAIL-001", Level.BRONZE),
        ("GC-SAFE-001", Level.SILVER),
        ("GC-DISC-012", Level.GOLD),
    ],
)
def test_one_check_that_failed_is_one_level_less(check: str, level: Level) -> None:
    """A failure stands in the way of the level that the check belongs to, and of those above."""
    found = conformance("acme", {**ALL, check: "failed"}, {})
    assert found.level is level
    assert found.missing == (check,)


def test_everything_is_platinum() -> None:
    """What does not apply to a connector is not held against it."""
    assert conformance("acme", {**ALL, "GC-HOOK-001": "not applicable"}, {}).level is Level.PLATINUM


def test_a_waiver_is_good_for_gold_at_most() -> None:
    """It says why a rule is not kept, and the rule is not kept."""
    found = conformance("acme", {**ALL, "GC-SEND-001": "failed"}, {"GC-SEND-001": "its sandbox is closed"})
    assert found.level is Level.GOLD
    assert found.data()["waivers"] == {"GC-SEND-001": "its sandbox is closed"}


def test_what_was_not_run_is_not_kept() -> None:
    """Leaving checks out makes no connector better."""
    assert conformance("acme", {}, {}).level is Level.NONE
