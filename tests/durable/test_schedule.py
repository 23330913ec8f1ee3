"""When the next pass is."""

from __future__ import annotations

from genie_connect import Outcome, Retry, State
from genie_connect.durable.schedule import Schedule


def put_off(*waits: float | None) -> list[Outcome]:
    """Recipients whom the other side asked to come again after so many seconds, or to whom it said nothing of that."""
    return [
        Outcome(recipient=f"r{n}@example.com", state=State.DEFERRED, retry=Retry.ANY, retry_after_s=wait)
        for n, wait in enumerate(waits)
    ]


def test_waits_double_up_to_the_longest() -> None:
    """The half of each by chance."""
    schedule = Schedule(first_s=10, longest_s=60)
    for tries, whole_s in enumerate((10, 20, 40, 60, 60)):
        assert whole_s / 2 <= schedule.wait_s(tries, put_off(None)) <= whole_s


def test_nobody_is_asked_sooner_than_the_other_side_said() -> None:
    """One pass is for all who were put off, so it waits for the latest of them."""
    schedule = Schedule(first_s=10)
    assert schedule.wait_s(0, put_off(3, 7)) == 7
    assert schedule.wait_s(0, put_off(None, 900)) == 900
    assert 5 <= schedule.wait_s(0, put_off(None, 1)) <= 10
