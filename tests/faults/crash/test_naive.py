"""What the same kills cost without a ledger. Nothing is asserted of that but that the kills hit something."""

from __future__ import annotations

import pytest

from tests.faults.crash.conftest import Report
from tests.faults.crash.grounds import Field, why_not
from tests.faults.crash.naive_storm import naive_storm

KILLS = 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["embedded", "pgqueuer", "nats"])
def test_engine_alone_loses_or_repeats(field: Field, report: Report, engine: str) -> None:
    """The harness sees it, and the table shows it."""
    database = "postgresql" if engine == "pgqueuer" else "none"
    if reason := why_not(database, engine):
        pytest.skip(reason)
    line = naive_storm(field.ground(database, engine), kills=KILLS, total=KILLS * 200, life_s=0.6, seed=4)
    report(line)
    assert line.lost + line.repeated > 0
