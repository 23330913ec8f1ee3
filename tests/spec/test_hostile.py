"""The kit finds out every hostile connector, and by the check that is meant for it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from genie_connect_spec.kit import catalogue
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.proving import failed, relevant
from tests.spec.hostile.registry import hostile

# That hostile ones leave something behind is no fault of these tests.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LONGEST_S = 30.0


def test_the_honest_one_keeps_the_whole_contract() -> None:
    """What the hostile ones are made of fails no check, so what they fail is their own doing."""
    assert failed(Honest(), catalogue()) == {}


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    """The threads that were left to connectors which hang end here, with all that they hold."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("kit check"):
            thread.join(LONGEST_S)
    gc.collect()


@pytest.fixture(autouse=True)
def _tidied() -> Iterator[None]:
    """What a connector leaves to the garbage collector is collected here, and not in somebody else's test."""
    yield
    gc.collect()


@pytest.mark.parametrize("name", sorted(hostile()))
def test_a_hostile_connector_fails_its_checks(name: str) -> None:
    """And no others of those that could be meant."""
    connector, checks = hostile()[name]
    found = failed(connector(), relevant(checks))
    assert sorted(found) == sorted(checks), found


def test_there_are_enough_of_them() -> None:
    """The kit is no better than what it was tried on."""
    assert len(hostile()) >= 40
