"""Checks on a machine that stands still for a while."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from genie_connect_spec.kit.check import Check, Force
from genie_connect_spec.kit.evaluation import TRIES, Verdict, evaluate
from genie_connect_spec.kit.guard import Guard
from genie_connect_spec.kit.rig import Rig
from genie_connect_spec.kit.stalls import Stalls, watch, watched


@pytest.mark.parametrize(
    ("beats_s", "stalled"),
    [((0.05, 0.06, 0.01), False), ((0.05, 0.31, 0.05, 0.0), True), ((0.05, 0.31), True)],
)
def test_a_beat_that_comes_late_is_a_stall(
    beats_s: Sequence[float], stalled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was longest counts, also where it was the last."""
    now = 0.0
    left = list(beats_s)

    def over(_: float) -> bool:
        nonlocal now
        now += left.pop(0)
        return not left

    monkeypatch.setattr("genie_connect_spec.kit.stalls.time", SimpleNamespace(monotonic=lambda: now))
    stalls = Stalls()
    watch(stalls, over)
    assert stalls.any is stalled


def test_the_watch_ends_with_the_block() -> None:
    """Nothing of it is left, whatever the block raises."""
    found: list[threading.Thread] = []

    def block() -> None:
        with watched():
            found.extend(each for each in threading.enumerate() if each.name == "kit stall watch")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        block()
    (thread,) = found
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("stalls", "bad", "made", "verdict"),
    [
        (True, 1, 2, Verdict.PASSED),
        (True, 9, TRIES, Verdict.FAILED),
        (False, 1, 1, Verdict.FAILED),
        (True, 0, 1, Verdict.PASSED),
    ],
)
def test_what_fails_during_a_stall_is_made_again(
    stalls: bool, bad: int, made: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what fails without one is not: a connector that does it right now and then is wrong."""
    monkeypatch.setattr(Stalls, "any", stalls)
    tries = 0

    def body(_: Rig) -> None:
        nonlocal tries
        tries += 1
        assert tries > bad, "not in time"

    check = Check(id="GC-SEND-999", name="tried", force=Force.MUST, reason="", since="0.1", after=(), body=body)
    rig: Any = SimpleNamespace(
        contract=SimpleNamespace(results={}), guard=Guard((), spares=lambda _: False), faults=(), reset=lambda: None
    )
    assert evaluate(check, cast("Rig", rig)).verdict is verdict
    assert tries == made
