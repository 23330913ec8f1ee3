"""The harness catches what it is there for: a ledger without its intent, or without its fence, does not pass."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.crash.grounds import Field
from tests.faults.crash.run import Run, Shape
from tests.faults.crash.scenes import in_the_middle

SHAPE = Shape(chunk=50, micro_batch=10, concurrency=1, lease_s=1.0)
SLOW_S = 0.02


def half_sent(field: Field) -> Run:
    """A run whose server answers slowly, so that a moment in the middle of a hand-over is easy to hit."""
    run = Run(field.ground("sqlite", "embedded"), SHAPE)
    run.ground.receiver.behave(answer_after_s=SLOW_S)
    run.upgrade()
    run.load(50)
    return run


@pytest.mark.parametrize("without", ["", "intent"])
def test_ledger_without_intent_is_caught(field: Field, without: str) -> None:
    """A kill in a hand-over that was not written down sends the same people a second copy."""
    run = half_sent(field)
    worker = run.worker(without=without)
    in_the_middle(run)
    run.kill(worker)
    with run.workers(1, without=without):
        verdict = run.verdict(run.settle())
    assert (verdict.repeated > 0) is bool(without), verdict
    assert bool(verdict.wrong) is bool(without), verdict
    assert (verdict.unknown > 0) is not bool(without), verdict


@pytest.mark.parametrize("without", ["", "fence"])
def test_ledger_without_fence_is_caught(field: Field, without: str) -> None:
    """A worker that wakes after another has taken over its work goes on with it too."""
    run = half_sent(field)
    sleeper = run.worker(without=without)
    in_the_middle(run)
    run.freeze(sleeper)
    with run.workers(1, without=without):
        seen = run.settle(30.0)
        assert not seen["unfinished"], seen
        sleeper.send(signal.SIGCONT)
        # What it does now it does within a hand-over or two.
        time.sleep(1.0)
        verdict = run.verdict(run.settle())
    sleeper.kill()
    assert (verdict.repeated > 0) is bool(without), verdict
    assert bool(verdict.wrong) is bool(without), verdict
