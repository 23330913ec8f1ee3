"""Deleting what is older than it is to be kept.

In small transactions, so that nobody who sends waits for long, and again from the start if it was ended half-way. What
is not settled stays, however old: a send that is under way, and one with a copy whose fate is not known.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store import schema
from genie_connect.store.database import Database
from genie_connect.store.schema import (
    BroadcastState,
    UnitState,
    WorkerState,
    broadcasts,
    events,
    idempotency,
    sends,
    suppression_history,
    suppressions,
    units,
    workers,
)
from genie_connect.store.statements import Dialect
from genie_connect.store.suppressions import take_away

AT_ONCE: Final = 500
EXPIRED_AT_ONCE: Final = 5_000
"""Of suppressions, which are looked for among all: SQLite takes 32,766 parameters, PostgreSQL 32,767."""
KEEP_WORKERS_S: Final = 7 * 86_400.0
"""How long it can be read that a process was there."""
_OF_A_UNIT: Final = (schema.attempts, schema.outcomes, schema.accepted_ids, schema.chunks, sends)


@attrs.frozen(kw_only=True)
class Retention:
    """For how many seconds each is kept after its end; ``None`` for ever."""

    sends_s: float | None = None
    broadcasts_s: float | None = None
    events_s: float | None = None
    history_s: float | None = None


@attrs.frozen(kw_only=True)
class Purged:
    """How many were deleted. Suppressions are those that had expired; they are in the history."""

    sends: int = 0
    broadcasts: int = 0
    events: int = 0
    history: int = 0
    suppressions: int = 0
    idempotency_keys: int = 0
    workers: int = 0


class Purge:
    """Deletes from one tenant's part of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = Dialect(database)
        self._tenant = database.tenant

    async def run(self, retention: Retention) -> Purged:
        """Delete what is older. Raises ``StoreUnavailable``; what was deleted before is gone."""
        now = self._database.now()
        purged = Purged(
            suppressions=await self._expired(now),
            idempotency_keys=await self._older(idempotency, idempotency.c.until, now),
            workers=await self._workers(now - KEEP_WORKERS_S),
        )
        if retention.sends_s is not None:
            purged = attrs.evolve(purged, sends=await self._sends(now - retention.sends_s))
        if retention.broadcasts_s is not None:
            purged = attrs.evolve(purged, broadcasts=await self._broadcasts(now - retention.broadcasts_s))
        if retention.events_s is not None:
            old = await self._older(events, events.c.received, now - retention.events_s)
            purged = attrs.evolve(purged, events=old)
        if retention.history_s is not None:
            old = await self._older(suppression_history, suppression_history.c.at, now - retention.history_s)
            purged = attrs.evolve(purged, history=old)
        return purged

    async def _sends(self, before: float) -> int:
        unsettled = sa.exists().where(
            units.c.id == sends.c.unit_id,
            units.c.tenant == self._tenant,
            (units.c.state != UnitState.DONE) | (units.c.unknown > 0),
        )
        chosen = sa.select(sends.c.unit_id).where(
            sends.c.tenant == self._tenant, sends.c.created < before, sends.c.finished < before, ~unsettled
        )
        return await self._units(chosen)

    async def _broadcasts(self, before: float) -> int:
        unsettled = sa.exists().where(
            units.c.broadcast_id == broadcasts.c.id,
            units.c.tenant == self._tenant,
            (units.c.state == UnitState.LEASED) | (units.c.unknown > 0),
        )
        ended = broadcasts.c.state.in_([BroadcastState.DONE, BroadcastState.STOPPED])
        chosen = sa.select(broadcasts.c.id).where(
            broadcasts.c.tenant == self._tenant, ended, broadcasts.c.finished < before, ~unsettled
        )
        async with self._database.read() as connection:
            old = list(await connection.scalars(chosen))
        for broadcast in old:
            await self._units(
                sa.select(units.c.id).where(units.c.tenant == self._tenant, units.c.broadcast_id == broadcast)
            )
            # Last, so that chunks are never there without it.
            async with self._database.begin() as connection:
                mine = (broadcasts.c.tenant == self._tenant) & (broadcasts.c.id == broadcast)
                await connection.execute(sa.delete(broadcasts).where(mine))
        return len(old)

    async def _units(self, chosen: sa.Select[Any]) -> int:
        """Delete units, with all that belongs to them."""
        count = 0
        while True:
            gone = await self._database.carry_out(lambda connection: self._delete_units(connection, chosen))
            count += gone
            if gone < AT_ONCE:
                return count

    async def _delete_units(self, connection: AsyncConnection, chosen: sa.Select[Any]) -> int:
        found = list(await connection.scalars(chosen.limit(AT_ONCE)))
        if not found:
            return 0
        bound = {"gone": self._dialect.values(found)}
        for table in _OF_A_UNIT:
            these = self._dialect.among(table.c.unit_id, "gone")
            await connection.execute(sa.delete(table).where(table.c.tenant == self._tenant, these), bound)
        these = self._dialect.among(units.c.id, "gone")
        await connection.execute(sa.delete(units).where(units.c.tenant == self._tenant, these), bound)
        return len(found)

    async def _older(self, table: sa.Table, time: sa.ColumnElement[float], before: float) -> int:
        (*_, key) = table.primary_key.columns
        count = 0
        while True:
            some = sa.select(key).where(table.c.tenant == self._tenant, time < before).limit(AT_ONCE)
            async with self._database.begin() as connection:
                # The time stands in both: on PostgreSQL somebody may renew a row between the two.
                old = sa.delete(table).where(table.c.tenant == self._tenant, time < before, key.in_(some))
                gone = (await connection.execute(old)).rowcount
            count += gone
            if gone < AT_ONCE:
                return count

    async def _expired(self, now: float) -> int:
        count = 0
        while True:
            gone = await self._database.carry_out(lambda connection: self._some_expired(connection, now))
            count += gone
            if gone < EXPIRED_AT_ONCE:
                return count

    async def _some_expired(self, connection: AsyncConnection, now: float) -> int:
        table = suppressions.c
        old = (table.tenant == self._tenant) & (table.expires < now)
        some = sa.select(table.digest, table.scope).where(old).limit(EXPIRED_AT_ONCE)
        found = (await connection.execute(some)).all()
        if not found:
            return 0
        which = (table.expires < now) & sa.tuple_(table.digest, table.scope).in_([tuple(row) for row in found])
        return await take_away(connection, self._tenant, which, action="expire", now=now)

    async def _workers(self, before: float) -> int:
        owned = sa.exists().where(units.c.owner == workers.c.id, units.c.tenant == self._tenant)
        gone = sa.delete(workers).where(
            workers.c.tenant == self._tenant, workers.c.state != WorkerState.ALIVE, workers.c.seen < before, ~owned
        )
        async with self._database.begin() as connection:
            return (await connection.execute(gone)).rowcount
