"""What PgQueuer does of its own: the ledger's transaction, its tables, and a server that restarts under load."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from genie_connect.engine import Place, Work
from genie_connect.engine import pgqueuer as module
from genie_connect.engine.pgqueuer import PgQueuerEngine, table_settings, upgrade_tables
from genie_connect.errors import ConfigurationError, EngineUnavailable
from genie_connect_spec.engine_contract import Calls, running, units
from tests.engine.making import QUICK, pgqueuer
from tests.servers.postgresql import Postgresql

PATIENCE_S = 60.0


@pytest.fixture
async def ledger(pgqueuer_url: str) -> AsyncIterator[AsyncEngine]:
    """The database as the ledger connects to it."""
    engine = create_async_engine(pgqueuer_url.replace("postgresql://", "postgresql+asyncpg://"))
    yield engine
    await engine.dispose()


def waiting(postgresql: Postgresql, url: str) -> int:
    """How many jobs are in the queue."""
    return int(postgresql.psql(url, "SELECT count(*) FROM genie_connect_pgqueuer"))


async def test_a_unit_and_its_job_are_committed_together(
    postgresql: Postgresql, pgqueuer_url: str, ledger: AsyncEngine
) -> None:
    """What is submitted in the ledger's transaction is there when that commits, and not before."""
    async with pgqueuer(pgqueuer_url) as engine:
        async with ledger.begin() as transaction:
            await engine.submit(units(1, 2), transaction=transaction)
            assert waiting(postgresql, pgqueuer_url) == 0
        assert waiting(postgresql, pgqueuer_url) == 2


async def test_a_job_goes_with_the_ledgers_rollback(
    postgresql: Postgresql, pgqueuer_url: str, ledger: AsyncEngine
) -> None:
    """A transaction that is rolled back leaves no job, even where the submission was its first statement."""
    async with pgqueuer(pgqueuer_url) as engine:
        async with ledger.begin() as transaction:
            await engine.submit(units(1), transaction=transaction)
            await transaction.rollback()
        assert waiting(postgresql, pgqueuer_url) == 0


async def test_a_unit_that_waits_is_not_queued_twice(postgresql: Postgresql, pgqueuer_url: str) -> None:
    """Offered again and again while nobody works, a unit has one job; for another time, it has another."""
    async with pgqueuer(pgqueuer_url) as engine:
        for _ in range(5):
            await engine.submit(units(1, 2))
        assert waiting(postgresql, pgqueuer_url) == 2
        await engine.submit([Work(unit=1, not_before=1e9)])
        assert waiting(postgresql, pgqueuer_url) == 3


async def test_tenants_do_not_see_each_others_work(pgqueuer_url: str) -> None:
    """An engine calls the units of its own tenant only."""
    theirs = Place(store="store", tenant="theirs", store_url=pgqueuer_url)
    calls = Calls()
    async with pgqueuer(pgqueuer_url) as engine, PgQueuerEngine(theirs) as other:
        await other.submit(units(1))
        await engine.submit([Work(unit=2, priority=-1)])
        async with running(engine, calls):
            await calls.reached(lambda calls: 2 in calls.ended, PATIENCE_S)
    assert calls.units == [2]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "crash"])
async def test_a_restart_of_the_server_loses_nothing(number: int) -> None:
    """With a server that is stopped and started under load, every unit is called, and submitting goes on after it."""
    first, second = set(range(1, 201)), set(range(201, 301))
    with Postgresql({}) as server:
        url = server.make_database()
        await upgrade_tables(Place(store="store", tenant="tests", store_url=url))
        calls = Calls()
        async with pgqueuer(url) as engine, running(engine, calls):
            await engine.submit(units(*first))
            await calls.reached(lambda calls: len(calls.ended) >= 50, PATIENCE_S)
            await asyncio.to_thread(server.stop, number)
            with pytest.raises(EngineUnavailable, match="does not reach PostgreSQL"):
                await engine.submit(units(1))
            await asyncio.to_thread(server.start)
            await calls.reached(lambda calls: set(calls.ended) >= first, PATIENCE_S)
            await engine.submit(units(*second))
            await calls.reached(lambda calls: set(calls.ended) >= second, PATIENCE_S)


async def test_its_log_does_not_grow(
    postgresql: Postgresql, pgqueuer_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PgQueuer notes each step of each job; what is older than a few minutes is deleted, in any number of rows."""
    monkeypatch.setattr(module, "PRUNE_AT_ONCE", 7)
    monkeypatch.setattr(module, "PRUNE_EVERY_S", 0.05)
    log = table_settings().queue_table_log
    old = f"INSERT INTO {log} (job_id, status, priority, entrypoint, created)"
    postgresql.psql(
        pgqueuer_url,
        f"{old} SELECT n, 'successful', 0, 'tests', now() - interval '1 hour' FROM generate_series(1, 50) n",
    )
    calls = Calls()
    async with pgqueuer(pgqueuer_url) as engine, running(engine, calls):
        async with asyncio.timeout(PATIENCE_S):
            count = f"SELECT count(*) FROM {log} WHERE created < now() - interval '10 minutes'"
            while await asyncio.to_thread(postgresql.psql, pgqueuer_url, count) != "0":
                pass
        await engine.submit(units(1))
        await calls.reached(lambda calls: 1 in calls.ended, PATIENCE_S)
    assert int(postgresql.psql(pgqueuer_url, f"SELECT count(*) FROM {log}")) >= 2


async def test_a_unit_that_never_succeeds_is_put_aside(postgresql: Postgresql, pgqueuer_url: str) -> None:
    """After so many failures a job rests with the status failed, and the unit may be offered anew."""

    async def fail(work: Work) -> None:
        raise RuntimeError("no")

    place = Place(store="store", tenant="tests", store_url=pgqueuer_url)
    calls = Calls(fail)
    async with PgQueuerEngine(place, backoff=QUICK, most_failures=3) as engine, running(engine, calls):
        await engine.submit(units(1))
        await calls.reached(lambda calls: len(calls.began) == 3, PATIENCE_S)
        query = "SELECT status FROM genie_connect_pgqueuer"
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(postgresql.psql, pgqueuer_url, query) != "failed":
                pass
        await engine.submit(units(1))
        await calls.reached(lambda calls: len(calls.began) >= 4, PATIENCE_S)


async def test_missing_tables_are_told_with_the_remedy(postgresql: Postgresql) -> None:
    """A database without the tables is refused by one sentence that says how to make them."""
    url = postgresql.make_database()
    engine = pgqueuer(url)
    with pytest.raises(EngineUnavailable, match="tables of the engine pgqueuer are missing") as caught:
        await engine.__aenter__()
    assert caught.value.hint == "run: genie-connect db upgrade"
    postgresql.drop_database(url)


async def test_tables_are_made_by_several_at_once(postgresql: Postgresql) -> None:
    """Four processes that upgrade at the same time make the tables once; doing it again changes nothing."""
    url = postgresql.make_database()
    place = Place(store="store", tenant="tests", store_url=url)
    await asyncio.gather(*(upgrade_tables(place) for _ in range(4)))
    await upgrade_tables(place)
    async with pgqueuer(url) as engine:
        await engine.submit(units(1))
    postgresql.drop_database(url)


async def test_a_hosts_own_settings_of_pgqueuer_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables in the environment that rename a host's own PgQueuer leave the names of ours alone."""
    before = table_settings()
    for name in ("PGQUEUER_PREFIX", "PGQUEUER_QUEUE_TABLE", "QUEUE_TABLE_LOG", "PGQUEUER_SCHEMA", "PGQUEUER_CHANNEL"):
        monkeypatch.setenv(name, "other")
    assert table_settings() == before


def test_it_needs_a_store_in_postgresql() -> None:
    """With a store in a file, or none, there is a sentence that names the field and the way out."""
    for url, cause in (("sqlite:///store.db", "kept in sqlite"), ("", "there is none")):
        with pytest.raises(ConfigurationError, match=f"engine.url: pgqueuer needs a store in PostgreSQL.*{cause}"):
            PgQueuerEngine(Place(store="store", tenant="tests", store_url=url))


async def test_a_password_is_not_shown() -> None:
    """A server that cannot be reached is told of without the URL; nor does the place show it."""
    place = Place(store="store", tenant="tests", store_url="postgresql://me:hunter2@127.0.0.1:1/db")
    with pytest.raises(EngineUnavailable) as caught:
        await PgQueuerEngine(place).__aenter__()
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {place!r}"
