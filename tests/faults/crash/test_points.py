"""A death at every named point of ``genie_connect.failpoints``, on SQLite and PostgreSQL, with each engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.crash.conftest import Report
from tests.faults.crash.grounds import GROUNDS, Field, why_not
from tests.faults.crash.run import Run, Shape
from tests.faults.crash.scenes import engines_of, points, scene_of

NOBODY_MAKES = frozenset({"drop"})
"""For workers that let go of everything at once; a host that ends says ``leave``, and its units are reaped."""
RECIPIENTS = 60


def cases() -> Iterator[tuple[str, str, str]]:
    """Every point on each database with each engine where it can be come to."""
    for point in points(NOBODY_MAKES):
        for database in ("sqlite", "postgresql"):
            for engine in engines_of(point, database):
                yield database, engine, point


def test_there_are_sixty_points_on_each_ground() -> None:
    """However many are come to with one engine only."""
    found = Counter((database, engine) for database, engine, _ in cases())
    assert set(found) == set(GROUNDS)
    assert min(found.values()) >= 60


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("database, engine, point", list(cases()))
def test_death_at_a_point_loses_and_repeats_nobody(
    field: Field, report: Report, database: str, engine: str, point: str
) -> None:
    """Whatever was done by then, and whatever was not: the next life goes on from there."""
    if reason := why_not(database, engine):
        pytest.skip(reason)
    run = Run(field.ground(database, engine), Shape(chunk=20, micro_batch=5, concurrency=1, lease_s=1.5))
    # Slow enough to die in the middle; some are put off, so that units are given back too.
    run.ground.receiver.behave(answer_after_s=0.01, put_off_of_1000=100)
    run.upgrade()
    run.total = RECIPIENTS
    scene_of(point)(run, point, field.nats if engine == "nats" else None)
    with run.workers(1):
        run.ended_as_promised(report, "killed at named points", bound=run.kills * run.shape.micro_batch)
