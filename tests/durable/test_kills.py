"""160 kills at random moments, and one worker that freezes; ``./dev faults crash`` has thousands, and outages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.crash.grounds import GROUNDS, Field, why_not
from tests.faults.crash.run import Run, Shape
from tests.faults.crash.scenes import in_the_middle
from tests.faults.crash.storm import Storm, rage

KILLS = 32


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """The servers that all runs share."""
    with Field() as shared:
        yield shared


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database, engine", GROUNDS)
def test_no_kill_loses_or_repeats(field: Field, database: str, engine: str) -> None:
    """Nobody who was acknowledged is lost, nobody gets two copies, each kill leaves a micro-batch in doubt at most."""
    if reason := why_not(database, engine):
        pytest.skip(reason)
    # What a worker had in its memory when it died is offered to others after a lease: with a short one, nobody waits.
    run = Run(field.ground(database, engine), Shape(chunk=10, micro_batch=5, concurrency=1, lease_s=2.0))
    run.ground.receiver.behave(put_off_of_1000=20, refused_of_1000=10, answer_after_s=0.002)
    run.upgrade()
    run.load(300)
    rage(run, Storm(kills=KILLS, pause_s=0.05, seed=5))
    with run.workers(1):
        run.ended_as_promised(lambda line: None, "", bound=run.kills * run.shape.micro_batch)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_worker_that_freezes_loses_its_work_to_another_within_the_shortest_lease(field: Field) -> None:
    """A process that is there and does nothing is found out by its beat, however short the lease."""
    run = Run(field.ground("sqlite", "embedded"), Shape(chunk=50, micro_batch=10, concurrency=1, lease_s=0.5))
    run.ground.receiver.behave(answer_after_s=0.02)
    run.upgrade()
    run.load(50)
    frozen = run.worker()
    in_the_middle(run)
    run.freeze(frozen)
    with run.workers(1):
        run.ended_as_promised(lambda line: None, "", bound=run.shape.micro_batch)
    frozen.kill()
