"""One rate for many processes: never more than it, never stuck, whatever the clock does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest

from genie_connect.delivery.limiter import OverLimit
from genie_connect.store.database import Database
from genie_connect.store.tokens import Moment, SharedLimiter
from tests.servers.postgresql import Postgresql
from tests.support.clock import FakeClock

RATE = 14.0
LONG_S = 10_000.0


def limiter(database: Database, clock: FakeClock | None = None, rate: float = RATE) -> SharedLimiter:
    """A limiter of one connection, on the machine's own clock."""
    return SharedLimiter(database, "primary", clock or FakeClock(), rate_per_s=rate)


def holds(times: list[float], rate: float) -> bool:
    """Whether no stretch of time has more of them than the rate allows, beside one full bucket."""
    times = sorted(times)
    return all(
        last - first + 1 <= rate + rate * (times[last] - times[first]) + 1e-3
        for last in range(len(times))
        for first in range(last)
    )


async def test_many_takers_together_keep_the_rate(database_url: str) -> None:
    """A hundred at once through three stores: no faster than the rate says, and the last as early as it allows."""
    began = time.monotonic()
    async with Database(database_url) as one, Database(database_url) as two, Database(database_url) as three:
        takers = [limiter(each) for each in (one, two, three)]
        taken = await asyncio.gather(*(takers[n % 3].reserve(1, LONG_S) for n in range(100)))
    times = [each.at_s for each in taken]
    assert holds(times, RATE)
    # While they ask, the bucket fills: what that takes on a busy machine may come on top.
    asking_s = time.monotonic() - began
    assert max(times) - min(times) <= (100 - RATE) / RATE + asking_s


TAKE = """
import asyncio, json, sys
from genie_connect.clock import SystemClock
from genie_connect.store.database import Database
from genie_connect.store.tokens import SharedLimiter

async def main(url):
    async with Database(url) as database:
        shared = SharedLimiter(database, "primary", SystemClock(), rate_per_s=14.0)
        sys.stdin.readline()
        print(json.dumps([(await shared.reserve(1, 10_000.0)).at_s for _ in range(25)]))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.long
def test_many_processes_together_keep_the_rate(database_url: str) -> None:
    """Each in a process of its own, all beginning at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", TAKE, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    times: list[float] = []
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        times += json.loads(process.communicate(timeout=60)[0])
    assert len(times) == 100
    assert holds(times, RATE)


async def test_takes_for_many_recipients_at_once(database: Database) -> None:
    """A batch waits for what it takes beyond the bucket, and the next one for both."""
    shared = limiter(database, rate=10.0)
    waits = [(await shared.reserve(recipients, LONG_S)).wait_s for recipients in (10, 50, 1)]
    assert waits == pytest.approx([0, 5, 5.1], abs=0.5)


async def test_takes_nothing_where_it_would_come_too_late(database: Database) -> None:
    """The one who is refused says how long there is no room, and leaves none to wait for."""
    shared = limiter(database, rate=10.0)
    await shared.reserve(10, 0)
    with pytest.raises(OverLimit) as refused:
        await shared.reserve(100, 5)
    assert refused.value.wait_s == pytest.approx(10, abs=0.5)
    assert (await shared.reserve(10, LONG_S)).wait_s == pytest.approx(1, abs=0.5)


async def test_waits_before_it_gives_room(database: Database) -> None:
    """As the limiter of one process does, on the clock that it was given."""
    clock = FakeClock()
    shared = limiter(database, clock, rate=10.0)
    for _ in range(2):
        async with shared.room(10, clock.monotonic() + 60):
            pass
    assert clock.slept == [pytest.approx(1, abs=0.5)]
    with pytest.raises(OverLimit):
        async with shared.room(100, clock.monotonic() + 1):
            pass


async def test_who_stops_waiting_gives_the_room_back(database: Database) -> None:
    """Cancelled in the middle: the others do not wait for it."""

    class Cancelled(FakeClock):
        async def sleep(self, seconds: float) -> None:
            raise asyncio.CancelledError

    clock = Cancelled()
    shared = limiter(database, clock, rate=10.0)
    await shared.reserve(10, 0)
    with pytest.raises(asyncio.CancelledError):
        async with shared.room(100, clock.monotonic() + 60):
            pass
    assert (await shared.reserve(10, LONG_S)).wait_s == pytest.approx(1, abs=0.5)


async def test_connections_and_tenants_have_rates_of_their_own(database: Database, database_url: str) -> None:
    """What one takes is not missing for the other."""
    await limiter(database).reserve(1000, LONG_S)
    other = SharedLimiter(database, "secondary", FakeClock(), rate_per_s=RATE)
    assert (await other.reserve(1, LONG_S)).wait_s == 0
    async with Database(database_url, tenant="other") as theirs:
        assert (await limiter(theirs).reserve(1, LONG_S)).wait_s == 0


async def test_without_a_rate_nobody_waits_or_asks(database: Database) -> None:
    """Concurrency alone is the process's own affair."""
    clock = FakeClock()
    shared = SharedLimiter(database, "primary", clock, concurrency=1)
    await database.close()
    async with shared.room(10_000, clock.monotonic() + 1):
        with pytest.raises(OverLimit):
            async with shared.room(1, clock.monotonic()):
                pass


Stepped: TypeAlias = tuple[SharedLimiter, Callable[[float], Awaitable[None]]]


@pytest.fixture(params=["sqlite", "postgresql"])
async def stepped(request: pytest.FixtureRequest) -> AsyncIterator[Stepped]:
    """A limiter of 10 a second, and what steps the clock of the database's machine by so many seconds."""
    clock = FakeClock()
    url: str = request.getfixturevalue(f"{request.param}_url")
    if request.param == "sqlite":
        async with Database(url) as database:
            machine = FakeClock()

            async def move(seconds: float) -> None:
                machine.move(seconds)

            yield (
                SharedLimiter(
                    database, "primary", clock, rate_per_s=10.0, machine=lambda: Moment("boot", machine.monotonic())
                ),
                move,
            )
        return
    server: Postgresql = request.getfixturevalue("postgresql")
    name = server.name_of(url)
    # A function of the same name, found first: the server's own clock is the machine's, which is not ours to set.
    server.psql(
        url,
        f"""
        CREATE SCHEMA fake; CREATE TABLE fake.steps (s float8);
        CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        $$ SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT coalesce(sum(s), 0) FROM fake.steps)) $$;
        ALTER DATABASE {name} SET search_path = fake, public, pg_catalog;
        """,
    )

    async def step(seconds: float) -> None:
        await asyncio.to_thread(server.psql, url, f"INSERT INTO fake.steps VALUES ({seconds})")

    async with Database(url) as database:
        yield SharedLimiter(database, "primary", clock, rate_per_s=10.0), step


@pytest.mark.parametrize("hour_s", [3600.0, -3600.0])
async def test_a_clock_that_is_stepped_neither_stalls_nor_bursts(stepped: Stepped, hour_s: float) -> None:
    """An hour on or back: at most one bucket more than without, and no wait beyond what was owed."""
    shared, step = stepped
    await shared.reserve(30, LONG_S)
    await step(hour_s)
    waits = [(await shared.reserve(10, LONG_S)).wait_s for _ in range(4)]
    assert waits[-1] <= 6.5
    assert waits[-1] >= 2.5
    assert waits == sorted(waits)


async def test_times_of_another_boot_are_nobodys_debt(sqlite_url: str) -> None:
    """A file that has been on another machine, or on this one before it was started anew, begins with a full bucket."""
    async with Database(sqlite_url) as database:
        before = SharedLimiter(database, "a", FakeClock(), rate_per_s=10.0, machine=lambda: Moment("one", 1e6))
        after = SharedLimiter(database, "a", FakeClock(), rate_per_s=10.0, machine=lambda: Moment("two", 5.0))
        await before.reserve(1000, LONG_S)
        assert (await after.reserve(10, 0)).wait_s == 0
        assert (await after.reserve(10, LONG_S)).wait_s == 1
