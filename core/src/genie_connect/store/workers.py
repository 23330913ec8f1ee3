"""The processes that own units, and how it is found out that one of them is no more.

Each raises a counter, its ``beat``, every third of a lease. The others watch the counters against their own monotonic
clocks: one that stands still for a lease belongs to a worker that is dead, hangs, or is cut off, and is marked dead.
No time of day is compared, so setting a clock does no harm. Where a worker was at our own place, and its process is
gone, nobody has to wait.

A worker that was marked dead by mistake learns it at its next beat; until then its epochs are refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store.database import Database
from genie_connect.store.place import Place, has_gone, here
from genie_connect.store.schema import WorkerState, workers
from genie_connect.store.statements import AnyRow
from genie_connect.store.writer import Writer

LEASE_S: Final = 30.0
BEATS_PER_LEASE: Final = 3


@attrs.frozen
class _Seen:
    """A counter, and since when it stands there, on our own monotonic clock."""

    beat: int
    since: float


class Workers:
    """This process as a worker, and its view of the others. ``lease_s`` must be the same in all of them."""

    def __init__(
        self, database: Database, writer: Writer, *, lease_s: float = LEASE_S, place: Place | None = None
    ) -> None:
        self.lease_s = lease_s
        self._database = database
        self._writer = writer
        self._place = place or here()
        self._id = ""
        self._beaten = float("-inf")
        self._looked = float("-inf")
        self._seen: dict[str, _Seen] = {}

    @property
    def id(self) -> str:
        """The owner that this process puts on units; empty before ``register`` and once it was marked dead."""
        return self._id

    @property
    def beat_every_s(self) -> float:
        """How often to call ``beat``, in seconds."""
        return self.lease_s / BEATS_PER_LEASE

    @property
    def fresh(self) -> bool:
        """Whether the last beat is younger than a lease. Otherwise others may own our units: hand nothing over."""
        return bool(self._id) and self._database.clock.monotonic() - self._beaten < self.lease_s

    async def register(self) -> str:
        """Become a worker, under an id that was never used; the id."""
        began = self._database.clock.monotonic()
        made = secrets.token_hex(8)
        await self._writer.write(self._register, made, synced=False)
        self._id, self._beaten = made, began
        return made

    async def beat(self) -> bool:
        """Say that we are alive. ``False`` when we were marked dead.

        Then our units are others' already: let go of them, and ``register`` anew.
        """
        # Counted from before the write: others may see it at any time from then on.
        began = self._database.clock.monotonic()
        alive = bool(self._id) and await self._writer.write(self._beat, self._id, synced=False)
        if alive:
            self._beaten = began
        else:
            self._id = ""
        return alive

    async def leave(self) -> None:
        """Be a worker no more. Units that are still owned can then be reaped at once."""
        if self._id:
            await self._writer.write(self._leave, self._id, synced=False)
            self._id = ""

    async def watch(self) -> list[str]:
        """Look at the others, and mark those dead that are; their ids. To be called several times in a lease."""
        now = self._database.clock.monotonic()
        if now - self._looked > self.lease_s / 2:
            # We were stopped, or the store was away, and then nobody could beat: a silence that nobody heard.
            self._seen.clear()
        bound = {"tenant": self._database.tenant, "self": self._id}
        rows = (await self._database.ask(lambda connection: connection.execute(_OTHERS, bound))).all()
        self._looked = now
        self._seen = {row.id: self._look(row, now) for row in rows}
        lost = [(row.id, row.beat) for row in rows if self._is_lost(row, now)]
        marked = [each for each in lost if await self._writer.write(self._mark, each, synced=False)]
        return [worker for worker, _ in marked]

    def _look(self, row: AnyRow, now: float) -> _Seen:
        seen = self._seen.get(row.id)
        return seen if seen is not None and seen.beat == row.beat else _Seen(row.beat, now)

    def _is_lost(self, row: AnyRow, now: float) -> bool:
        other = Place(where=row.place, pid=row.pid, started=row.started)
        return has_gone(other, self._place) or now - self._seen[row.id].since >= self.lease_s

    async def _register(self, connection: AsyncConnection, ids: Sequence[str]) -> list[None]:
        await connection.execute(_FORGET, [self._this(each) for each in ids])
        await connection.execute(sa.insert(workers), [self._row(each) for each in ids])
        return [None] * len(ids)

    def _this(self, worker: str) -> dict[str, Any]:
        return {"b_id": worker, "b_tenant": self._database.tenant}

    def _row(self, worker: str) -> dict[str, Any]:
        return {
            "id": worker,
            "tenant": self._database.tenant,
            "state": WorkerState.ALIVE,
            "beat": 0,
            "place": self._place.where,
            "pid": self._place.pid,
            "started": self._place.started,
            "seen": self._database.now(),
        }

    async def _beat(self, connection: AsyncConnection, ids: Sequence[str]) -> list[bool]:
        now = self._database.now()
        return [await _done(connection, _BEAT, self._this(each) | {"now": now}) for each in ids]

    async def _leave(self, connection: AsyncConnection, ids: Sequence[str]) -> list[None]:
        for each in ids:
            await connection.execute(_LEAVE, self._this(each))
        return [None] * len(ids)

    async def _mark(self, connection: AsyncConnection, lost: Sequence[tuple[str, int]]) -> list[bool]:
        return [await _done(connection, _MARK, self._this(worker) | {"b_beat": beat}) for worker, beat in lost]


async def _done(connection: AsyncConnection, statement: sa.Update, bound: dict[str, Any]) -> bool:
    return (await connection.execute(statement, bound)).rowcount == 1


_THIS: Final = sa.and_(workers.c.id == sa.bindparam("b_id"), workers.c.tenant == sa.bindparam("b_tenant"))
_ALIVE: Final = workers.c.state == WorkerState.ALIVE
_OTHERS: Final = sa.select(workers.c.id, workers.c.beat, workers.c.place, workers.c.pid, workers.c.started).where(
    workers.c.tenant == sa.bindparam("tenant"), _ALIVE, workers.c.id != sa.bindparam("self")
)
_FORGET: Final = sa.delete(workers).where(_THIS)
_BEAT: Final = sa.update(workers).where(_THIS, _ALIVE).values(beat=workers.c.beat + 1, seen=sa.bindparam("now"))
_LEAVE: Final = sa.update(workers).where(_THIS, _ALIVE).values(state=WorkerState.LEFT)
_MARK: Final = (
    sa.update(workers).where(_THIS, _ALIVE, workers.c.beat == sa.bindparam("b_beat")).values(state=WorkerState.DEAD)
)
