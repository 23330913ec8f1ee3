"""2,000 kills at random moments, spread over every database and every engine."""

from __future__ import annotations

import pytest

from tests.faults.crash.conftest import Report
from tests.faults.crash.grounds import GROUNDS, Field, why_not
from tests.faults.crash.run import Run, Shape
from tests.faults.crash.storm import Storm, rage

KILLS = 100
PARTS = 4
"""Of each ground. The later ones have two workers, and so chunks that pass from one to the other."""


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("database, engine", GROUNDS)
def test_no_kill_loses_or_repeats(field: Field, report: Report, database: str, engine: str, part: int) -> None:
    """Nobody who was acknowledged is lost, nobody gets two copies, each kill leaves a micro-batch in doubt at most."""
    if reason := why_not(database, engine):
        pytest.skip(reason)
    # One chunk at a time, in half of the runs, so that the bound is the strictest one.
    run = Run(field.ground(database, engine), Shape(concurrency=1 + part % 2, lease_s=1.5))
    run.ground.receiver.behave(put_off_of_1000=20, refused_of_1000=10, answer_after_s=0.001)
    run.upgrade()
    run.load(KILLS * 40)
    rage(run, Storm(kills=KILLS, pause_s=0.15, seed=part, workers=1 + part // 2))
    with run.workers(2):
        run.ended_as_promised(report, "killed at random moments", bound=run.kills * run.shape.micro_batch)
