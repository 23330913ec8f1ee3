"""One field of servers for each worker of the test run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.crash.grounds import Field
from tests.faults.crash.table import PROPERTY, Line

Report = Callable[[Line], None]


@pytest.fixture(scope="session")
def field() -> Iterator[Field]:
    """The servers that all runs share."""
    with Field() as shared:
        yield shared


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Puts a line into the table at the end."""
    return lambda line: record_property(PROPERTY, line.dumped())
