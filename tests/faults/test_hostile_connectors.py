"""Every hostile connector under all checks of the parts of the contract that it breaks, the slow ones included."""

from __future__ import annotations

import gc

import pytest

from tests.spec.hostile.proving import failed, of_the_same_parts
from tests.spec.hostile.registry import hostile

ALSO: dict[str, set[str]] = {"LeavesATask": {"GC-LIFE-013"}, "LeavesAThread": {"GC-LIFE-013"}}
"""What else the fault of a connector breaks in these parts."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", sorted(hostile()))
def test_a_hostile_connector_fails_nothing_else(name: str) -> None:
    """Where a fault breaks several rules, they are listed."""
    connector, checks = hostile()[name]
    found = failed(connector(), of_the_same_parts(checks))
    gc.collect()
    assert set(found) == {*checks, *ALSO.get(name, ())}, found
