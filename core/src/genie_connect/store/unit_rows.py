"""Rows of units, locked and changed by the same rules whoever changes them.

A write to the ledger locks the rows that it concerns, decides here what becomes of them, and saves them. Decisions are
made in Python on whole rows, so that they are the same on both databases and can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.outcome import State
from genie_connect.store import bitmap
from genie_connect.store.claims import Claim
from genie_connect.store.database import Database
from genie_connect.store.schema import BroadcastState, UnitKind, UnitState, broadcasts, sends, units
from genie_connect.store.statements import Dialect, Found, Many

OWNED: Final = sa.text("units.state in (1, 3)")
"""As the index says it: only then SQLite uses that."""
READY: Final = sa.text("units.state = 0")


@attrs.define(eq=False)
class UnitRow:
    """A unit's row while a transaction holds it."""

    id: int
    kind: UnitKind
    broadcast: int | None
    number: int
    state: UnitState
    epoch: int
    owner: str | None
    not_before: float
    due: float
    expires: float | None
    priority: int
    tries: int
    size: int
    intent: int
    done: int
    counts: dict[State, int]
    broadcast_state: BroadcastState | None
    offered_until: float
    moved: bool = False
    """Whether more has changed than how far its recipients are."""

    @property
    def runs(self) -> bool:
        """Whether it may be worked on, as far as its broadcast is concerned."""
        return self.broadcast is None or self.broadcast_state is BroadcastState.RUNNING

    @property
    def in_doubt(self) -> int:
        """Who may have left without an answer."""
        return self.intent & ~self.done

    @property
    def complete(self) -> bool:
        """Whether every position is done."""
        return self.done == bitmap.full(self.size)

    def is_done(self, position: int) -> bool:
        """Whether nothing more is to be tried for a position."""
        return bool(self.done >> position & 1)

    def held_by(self, claim: Claim) -> bool:
        """Whether the worker that made the claim still owns it."""
        owned = self.state in (UnitState.LEASED, UnitState.OPEN)
        return owned and self.epoch == claim.epoch and self.owner == claim.owner

    def settle(self, position: int, state: State) -> bool:
        """Nothing more is to be tried for a position; ``False`` where that was so already."""
        bit = 1 << position
        if self.done & bit:
            return False
        self.done |= bit
        self.counts[state] += 1
        return True

    def accept(self, positions: int) -> int:
        """All of these are accepted; those of them who were not settled already."""
        new = positions & ~self.done
        self.done |= new
        self.counts[State.ACCEPTED] += new.bit_count()
        return new

    def unsettle(self, position: int, state: State) -> None:
        """A position that was settled with this state is to be tried after all. One that is not settled is anyway."""
        bit = 1 << position
        if self.done & bit:
            self.done &= ~bit
            self.intent &= ~bit
            self.counts[state] -= 1

    def resolve(self, position: int, state: State) -> None:
        """What became of a position in doubt is known now, whether it waited to be tried again or not."""
        if not self.settle(position, state):
            self.counts[State.UNKNOWN] -= 1
            self.counts[state] += 1
        elif self.complete and self.state is UnitState.READY:
            self.move(UnitState.DONE)

    def move(self, state: UnitState) -> None:
        """Into another state: owned by nobody, and offered to nobody, unless it is owned or open."""
        self.moved = True
        self.state = state
        if state in (UnitState.READY, UnitState.DONE):
            self.owner = None
            self.offered_until = 0.0


class UnitRows:
    """Reads and saves such rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = Dialect(database)
        self._intend = Many(database, _INTEND)
        self._progress = Many(database, _PROGRESS)
        self._move = Many(database, _MOVE)
        self._finish_sends = Many(database, _FINISH_SENDS)
        self._lock = Found(database, self._select(self._dialect.among(units.c.id, "ids")))

    def _select(self, those: sa.ColumnElement[bool]) -> sa.Select[Any]:
        joined = sa.outerjoin(
            units, broadcasts, sa.and_(broadcasts.c.id == units.c.broadcast_id, broadcasts.c.tenant == units.c.tenant)
        )
        return (
            sa.select(*_COLUMNS, broadcasts.c.state.label("broadcast_state"))
            .select_from(joined)
            .where(units.c.tenant == sa.bindparam("tenant"), those)
            .order_by(units.c.id)  # the same order for everybody, so that nobody waits for each other
            .with_for_update(of=units)
        )

    async def lock(self, connection: AsyncConnection, ids: Iterable[int]) -> dict[int, UnitRow]:
        """The rows with these numbers that there are, held until the end of the transaction."""
        bound = {"tenant": self._database.tenant, "ids": self._dialect.values(sorted(set(ids)))}
        return {row[0]: _read(row) for row in await self._lock.rows(connection, bound)}

    async def save(self, connection: AsyncConnection, rows: Iterable[UnitRow]) -> None:
        """Write what has changed, and see to what follows from a unit being done."""
        rows = list(rows)
        moved = [row for row in rows if row.moved]
        still = [row for row in rows if not row.moved]
        await self._progress.run(connection, [self._state(row) for row in still])
        await self._move.run(connection, [self._state(row) | _movement(row) for row in moved])
        await self._done(connection, [row for row in moved if row.state is UnitState.DONE])

    async def intend(self, connection: AsyncConnection, rows: Iterable[UnitRow]) -> None:
        """Write who is about to leave."""
        tenant = self._database.tenant
        bound = [{"b_id": row.id, "b_tenant": tenant, "intent": bitmap.dump(row.intent)} for row in rows]
        await self._intend.run(connection, bound)

    def _state(self, row: UnitRow) -> dict[str, Any]:
        return {
            "b_id": row.id,
            "b_tenant": self._database.tenant,
            "intent": bitmap.dump(row.intent),
            "done": bitmap.dump(row.done),
            "accepted": row.counts[State.ACCEPTED],
            "rejected": row.counts[State.REJECTED],
            "deferred": row.counts[State.DEFERRED],
            "unknown": row.counts[State.UNKNOWN],
            "suppressed": row.counts[State.SUPPRESSED],
        }

    async def _done(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> None:
        now, tenant = self._database.now(), self._database.tenant
        finished = [{"b_id": row.id, "b_tenant": tenant, "finished": now} for row in rows if row.broadcast is None]
        await self._finish_sends.run(connection, finished)
        for broadcast in sorted({row.broadcast for row in rows if row.broadcast is not None}):
            await self.close_broadcast(connection, broadcast)

    async def close_broadcast(self, connection: AsyncConnection, broadcast: int) -> None:
        """A broadcast of which every chunk is done, is done."""
        bound = {"broadcast": broadcast, "b_tenant": self._database.tenant}
        if not await connection.scalar(_UNFINISHED, bound):
            return
        if not self._database.is_sqlite:
            # Two that finish the last chunks at once do not see each other's, unless one waits here for the other.
            await connection.execute(_HOLD_BROADCAST, bound)
        await connection.execute(_FINISH_BROADCAST, bound | {"now": self._database.now()})

    async def reopen_broadcast(self, connection: AsyncConnection, broadcast: int) -> None:
        """One that was done has somebody to try again."""
        bound = {"broadcast": broadcast, "b_tenant": self._database.tenant}
        await connection.execute(_REOPEN_BROADCAST, bound)


_COLUMNS: Final = (
    units.c.id,
    units.c.kind,
    units.c.broadcast_id,
    units.c.number,
    units.c.state,
    units.c.epoch,
    units.c.owner,
    units.c.not_before,
    units.c.due,
    units.c.expires,
    units.c.priority,
    units.c.offered_until,
    units.c.tries,
    units.c.size,
    units.c.intent,
    units.c.done,
    units.c.accepted,
    units.c.rejected,
    units.c.deferred,
    units.c.unknown,
    units.c.suppressed,
)
_THIS: Final = sa.and_(units.c.id == sa.bindparam("b_id"), units.c.tenant == sa.bindparam("b_tenant"))
_BITS: Final = ("intent", "done", "accepted", "rejected", "deferred", "unknown", "suppressed")
_MOVED: Final = ("state", "epoch", "owner", "not_before", "offered_until", "tries")
_INTEND: Final = sa.update(units).where(_THIS).values(intent=sa.bindparam("intent"))
_PROGRESS: Final = sa.update(units).where(_THIS).values({name: sa.bindparam(name) for name in _BITS})
_MOVE: Final = sa.update(units).where(_THIS).values({name: sa.bindparam(name) for name in (*_BITS, *_MOVED)})
_FINISH_SENDS: Final = (
    sa.update(sends)
    .where(sends.c.unit_id == sa.bindparam("b_id"), sends.c.tenant == sa.bindparam("b_tenant"))
    .values(finished=sa.bindparam("finished"))
)
_BROADCAST: Final = sa.and_(
    broadcasts.c.id == sa.bindparam("broadcast"), broadcasts.c.tenant == sa.bindparam("b_tenant")
)
_OURS: Final = (units.c.tenant == sa.bindparam("b_tenant"), units.c.broadcast_id == sa.bindparam("broadcast"))
_ALL_DONE: Final = sa.and_(
    ~sa.exists(sa.select(units.c.id).where(*_OURS, READY)), ~sa.exists(sa.select(units.c.id).where(*_OURS, OWNED))
)
_GOING: Final = broadcasts.c.state.in_((BroadcastState.RUNNING, BroadcastState.PAUSED))
_HOLD_BROADCAST: Final = sa.select(broadcasts.c.id).where(_BROADCAST).with_for_update()
_UNFINISHED: Final = sa.select(broadcasts.c.id).where(_BROADCAST, _GOING)
_FINISH_BROADCAST: Final = (
    sa.update(broadcasts)
    .where(_BROADCAST, _GOING, _ALL_DONE)
    .values(state=BroadcastState.DONE, finished=sa.bindparam("now"))
)
_REOPEN_BROADCAST: Final = (
    sa.update(broadcasts)
    .where(_BROADCAST, broadcasts.c.state == BroadcastState.DONE)
    .values(state=BroadcastState.RUNNING, finished=None)
)


def _read(row: tuple[Any, ...]) -> UnitRow:
    """In the order of ``_COLUMNS``, and the state of its broadcast."""
    id_, kind, broadcast, number, state, epoch, owner, not_before, due, *others = row[:14]
    expires, priority, offered, tries, size = others
    intent, done, accepted, rejected, deferred, unknown, suppressed, broadcast_state = row[14:]
    return UnitRow(
        id=id_,
        kind=UnitKind(kind),
        broadcast=broadcast,
        number=number,
        state=UnitState(state),
        epoch=epoch,
        owner=owner,
        not_before=not_before,
        due=due,
        expires=expires,
        priority=priority,
        tries=tries,
        size=size,
        intent=bitmap.load(intent),
        done=bitmap.load(done),
        counts={
            State.ACCEPTED: accepted,
            State.REJECTED: rejected,
            State.DEFERRED: deferred,
            State.UNKNOWN: unknown,
            State.SUPPRESSED: suppressed,
        },
        broadcast_state=None if broadcast_state is None else BroadcastState(broadcast_state),
        offered_until=offered,
    )


def _movement(row: UnitRow) -> dict[str, Any]:
    return {
        "state": row.state,
        "epoch": row.epoch,
        "owner": row.owner,
        "not_before": row.not_before,
        "offered_until": row.offered_until,
        "tries": row.tries,
    }
