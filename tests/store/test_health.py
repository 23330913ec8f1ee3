"""Breakers that know what the others know."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from genie_connect.delivery.breaker import Breaker, BreakerState
from genie_connect.model.outcome import Outcome, Scope, State
from genie_connect.store.database import Database
from genie_connect.store.health import SharedHealth
from tests.support.clock import FakeClock

REFUSED = Outcome(
    recipient="ada@example.com",
    state=State.DEFERRED,
    scope=Scope.CONNECTION,
    reason="auth",
    text="535 no",
    hint="look at the password",
    stage="auth",
)
ACCEPTED = Outcome(recipient="ada@example.com", state=State.ACCEPTED, stage="final")


class Worker:
    """A process with one connection."""

    def __init__(self, name: str, database: Database) -> None:
        self.clock = FakeClock()
        self.breaker = Breaker(self.clock)
        self.health = SharedHealth(database, name)

    async def exchange(self) -> tuple[str, ...]:
        """What it takes over from the others."""
        return await self.health.exchange({"primary": self.breaker})

    def met(self, outcome: Outcome) -> None:
        """An attempt ends so."""
        permit = self.breaker.admit()
        assert permit is not None
        self.breaker.record(outcome, permit)


@pytest.fixture
async def workers(database_url: str) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two processes on one store, whose monotonic clocks have nothing to do with each other."""
    async with Database(database_url) as one, Database(database_url) as two:
        made = Worker("one", one), Worker("two", two)
        made[1].clock.move(10**6)
        yield made


async def test_all_pause_what_one_found_refused(workers: tuple[Worker, Worker]) -> None:
    """With the reason, and for what is left of the pause."""
    one, two = workers
    one.met(REFUSED)
    one.clock.move(100)
    assert await one.exchange() == ()
    assert await two.exchange() == ("primary",)
    assert two.breaker.state is BreakerState.OPEN
    assert two.breaker.pause_s == pytest.approx(200, abs=20)
    assert (two.breaker.reason, two.breaker.hint) == ("535 no", "look at the password")


async def test_a_change_is_taken_over_once(workers: tuple[Worker, Worker]) -> None:
    """What a worker has found out since stands, and nothing goes back and forth."""
    one, two = workers
    one.met(REFUSED)
    await one.exchange()
    await two.exchange()
    assert [await each.exchange() for each in (two, one, two, one)] == [()] * 4


async def test_all_go_on_when_one_found_it_working(workers: tuple[Worker, Worker]) -> None:
    """One probe is enough for all."""
    one, two = workers
    one.met(REFUSED)
    await one.exchange()
    await two.exchange()
    two.clock.move(400)
    two.met(ACCEPTED)
    await two.exchange()
    assert await one.exchange() == ("primary",)
    assert one.breaker.state is BreakerState.CLOSED
    assert one.breaker.admit() is not None


async def test_of_two_changes_the_more_careful_one_stands(workers: tuple[Worker, Worker]) -> None:
    """One pauses for long, the other for a moment: both pause for long."""
    one, two = workers
    one.met(REFUSED)
    two.met(Outcome(**{**short(), "retry_after_s": 10.0}))
    await one.exchange()
    await two.exchange()
    await one.exchange()
    assert one.breaker.pause_s > 200
    assert two.breaker.pause_s > 200


async def test_the_more_careful_one_may_come_second(workers: tuple[Worker, Worker]) -> None:
    """Then it takes the place of the other."""
    one, two = workers
    two.met(Outcome(**{**short(), "retry_after_s": 10.0}))
    one.met(REFUSED)
    await two.exchange()
    await one.exchange()
    await two.exchange()
    assert two.breaker.pause_s > 200


def short() -> dict[str, object]:
    """A server that asks for a moment's patience."""
    return {
        "recipient": "ada@example.com",
        "state": State.DEFERRED,
        "scope": Scope.CONNECTION,
        "reason": "throttled",
        "stage": "final",
    }


async def test_a_worker_that_starts_later_learns_of_it(workers: tuple[Worker, Worker], database_url: str) -> None:
    """A pause that is over by then lets one attempt through to see."""
    one, _ = workers
    one.met(Outcome(**{**short(), "retry_after_s": 0.001}))
    await one.exchange()
    async with Database(database_url) as database:
        late = Worker("late", database)
        assert await late.exchange() == ("primary",)
        assert late.breaker.state is BreakerState.HALF_OPEN
        assert late.breaker.admit() is not None
        assert late.breaker.admit() is None


async def test_tenants_keep_their_health_to_themselves(workers: tuple[Worker, Worker], database_url: str) -> None:
    """Two tenants may each have a connection of that name."""
    one, _ = workers
    one.met(REFUSED)
    await one.exchange()
    async with Database(database_url, tenant="other") as database:
        theirs = Worker("theirs", database)
        assert await theirs.exchange() == ()
        assert theirs.breaker.state is BreakerState.CLOSED
