"""What goes after its time, and what stays however old it is."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from genie_connect.store import purge as purge_module
from genie_connect.store import schema
from genie_connect.store.database import Database
from genie_connect.store.purge import KEEP_WORKERS_S, Purge, Purged, Retention
from genie_connect.store.schema import BroadcastState, UnitState, WorkerState
from tests.store.rows import row
from tests.support.clock import FakeClock

OLD, NEW = 1_000.0, 5_000.0
ALL = Retention(sends_s=0.0, broadcasts_s=0.0, events_s=0.0, history_s=0.0)


async def put(database: Database, table: sa.Table, **values: Any) -> None:
    """A row."""
    async with database.begin() as connection:
        await connection.execute(sa.insert(table), row(table, **{"tenant": database.tenant, **values}))


async def put_unit(database: Database, id_: int, **values: Any) -> None:
    """A unit, with a row in each table that speaks of it."""
    await put(database, schema.units, **{"id": id_, "state": UnitState.DONE, **values})
    await put(database, schema.attempts, id=f"attempt {id_}", unit_id=id_)
    await put(database, schema.accepted_ids, attempt_id=f"attempt {id_}", unit_id=id_)
    await put(database, schema.outcomes, unit_id=id_, position=0)
    await put(database, schema.chunks, unit_id=id_)


async def put_send(database: Database, id_: int, *, finished: float | None = OLD, **values: Any) -> None:
    """A send with its unit."""
    await put_unit(database, id_, **values)
    await put(database, schema.sends, unit_id=id_, created=OLD, finished=finished)


async def left(database: Database, table: sa.Table) -> set[Any]:
    """What is there, by the last part of its key."""
    (*_, key) = table.primary_key.columns
    async with database.read() as connection:
        return set(await connection.scalars(sa.select(key).where(table.c.tenant == database.tenant)))


def at(database: Database, seconds: float) -> Purge:
    """A purge at this time."""
    database.clock = FakeClock()
    database.clock.move(seconds - database.now())
    return Purge(database)


async def test_sends_go_with_all_that_belongs_to_them(database: Database) -> None:
    """After their time, and not before."""
    await put_send(database, 1)
    await put_send(database, 2, finished=NEW)
    purged = await at(database, NEW).run(Retention(sends_s=100.0))
    assert purged == Purged(sends=1)
    for table in (schema.units, schema.sends, schema.chunks):
        assert await left(database, table) == {2}
    assert await left(database, schema.attempts) == await left(database, schema.accepted_ids) == {"attempt 2"}
    assert len(await left(database, schema.outcomes)) == 1


async def test_what_is_not_settled_stays(database: Database) -> None:
    """A send that is under way, and one with a copy whose fate nobody knows yet, are never too old."""
    await put_send(database, 1, unknown=1)
    await put_send(database, 2, state=UnitState.READY)
    await put_send(database, 3, finished=None)
    assert await at(database, NEW).run(ALL) == Purged()
    assert await left(database, schema.sends) == {1, 2, 3}


async def test_more_than_fit_in_one_transaction_go_all_the_same(database: Database) -> None:
    """Batch after batch."""
    async with database.begin() as connection:
        mine = {"tenant": database.tenant}
        numbers = range(1, 1201)
        units = [row(schema.units, **mine, id=number) | {"state": UnitState.DONE} for number in numbers]
        await connection.execute(sa.insert(schema.units), units)
        sends = [row(schema.sends, **mine, unit_id=number, created=OLD, finished=OLD) for number in numbers]
        await connection.execute(sa.insert(schema.sends), sends)
        events = [row(schema.events, **mine, id=f"e{number}", received=OLD) for number in numbers]
        await connection.execute(sa.insert(schema.events), events)
    assert await at(database, NEW).run(ALL) == Purged(sends=1200, events=1200)
    assert await left(database, schema.units) == set()


async def test_broadcasts_go_when_all_is_settled(database: Database) -> None:
    """Finished or stopped; not one that runs, that is young, or that has copies in doubt."""
    done = BroadcastState.DONE
    states = [done, BroadcastState.STOPPED, BroadcastState.RUNNING, done, done]
    for number, state in enumerate(states, 1):
        finished = None if state is BroadcastState.RUNNING else NEW if number == 5 else OLD
        await put(database, schema.broadcasts, id=number, state=state, finished=finished)
        await put_unit(database, number, broadcast_id=number, unknown=int(number == 4))
    assert await at(database, NEW).run(Retention(broadcasts_s=100.0)) == Purged(broadcasts=2)
    assert await left(database, schema.broadcasts) == await left(database, schema.units) == {3, 4, 5}


async def test_events_history_and_keys_go_after_their_time(database: Database) -> None:
    """Each by its own; without a time it stays for ever."""
    for number, time in enumerate((OLD, NEW)):
        await put(database, schema.events, id=f"e{number}", received=time)
        await put(database, schema.suppression_history, id=number + 1, at=time)
        await put(database, schema.idempotency, key=f"k{number}", until=time + 1)
    assert await at(database, NEW).run(Retention()) == Purged(idempotency_keys=1)
    assert await at(database, NEW).run(Retention(events_s=10.0, history_s=10.0)) == Purged(events=1, history=1)
    assert await left(database, schema.events) == {"e1"}
    assert await left(database, schema.suppression_history) == {2}
    assert await left(database, schema.idempotency) == {"k1"}


async def test_suppressions_that_have_expired_go_into_the_history(database: Database) -> None:
    """What holds stays, and what has ended can still be read."""
    await put(database, schema.suppressions, digest=b"a" * 16, expires=OLD)
    await put(database, schema.suppressions, digest=b"b" * 16, expires=NEW + 1)
    await put(database, schema.suppressions, digest=b"c" * 16, expires=None)
    assert await at(database, NEW).run(Retention()) == Purged(suppressions=1)
    async with database.read() as connection:
        past = schema.suppression_history.c
        chosen = sa.select(past.action, past.at).where(past.tenant == database.tenant).order_by(past.id)
        assert [tuple(each) for each in await connection.execute(chosen)] == [("add", 1.0), ("expire", NEW)]


async def test_suppressions_that_have_expired_go_some_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions that expire together hold up nobody who sends."""
    monkeypatch.setattr(purge_module, "EXPIRED_AT_ONCE", 2)
    for number in range(5):
        await put(database, schema.suppressions, digest=bytes([number]) * 16, expires=OLD)
    went: list[int] = []
    take_away = purge_module.take_away

    async def noted(*given: Any, **facts: Any) -> int:
        went.append(await take_away(*given, **facts))
        return went[-1]

    monkeypatch.setattr(purge_module, "take_away", noted)
    assert await at(database, NEW).run(Retention()) == Purged(suppressions=5)
    assert went == [2, 2, 1]


async def test_processes_that_have_gone_are_forgotten_when_nothing_is_theirs(database: Database) -> None:
    """One that lives, one that owns a unit, and one that went lately stay."""
    gone = {"state": WorkerState.DEAD, "seen": OLD}
    await put(database, schema.workers, id="gone", **gone)
    await put(database, schema.workers, id="alive", state=WorkerState.ALIVE, seen=OLD)
    await put(database, schema.workers, id="owner", **gone)
    await put(database, schema.workers, id="lately", state=WorkerState.LEFT, seen=OLD + KEEP_WORKERS_S)
    await put_unit(database, 1, state=UnitState.LEASED, owner="owner")
    assert await at(database, OLD + KEEP_WORKERS_S + 10).run(Retention()) == Purged(workers=1)
    assert await left(database, schema.workers) == {"alive", "owner", "lately"}


async def test_another_tenants_rows_stay(database: Database, database_url: str) -> None:
    """However old they are."""
    async with Database(database_url, tenant="other") as other:
        await put_send(other, 1)
        await put(other, schema.events, id="e", received=OLD)
        await put(other, schema.suppressions, digest=b"a" * 16, expires=OLD)
        await put(other, schema.idempotency, key="k", until=OLD)
        await put(other, schema.workers, id="gone", state=WorkerState.DEAD, seen=OLD)
        assert await at(database, 10**7).run(ALL) == Purged()
        assert await left(other, schema.sends) == {1}
        assert await at(other, 10**7).run(ALL) == Purged(
            sends=1, events=1, suppressions=1, history=1, idempotency_keys=1, workers=1
        )
