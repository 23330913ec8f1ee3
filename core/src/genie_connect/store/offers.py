"""Which units engines are told of, and when they are told again.

A unit is offered for a while. Engines may lose, repeat and reorder what they were told: what is not claimed in that
time is offered anew. The search goes from priority to priority along the index of units that are ready, once for sends
and once for each running broadcast, so that what waits, however much, costs nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store.claims import Offered
from genie_connect.store.database import Database
from genie_connect.store.schema import BroadcastState, UnitKind, broadcasts, units
from genie_connect.store.statements import Dialect
from genie_connect.store.unit_rows import READY

OFFER_S: Final = 60.0
"""For so long an engine has a unit before it is offered again, unless somebody claims it."""


class Offers:
    """Finds what is due."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = Dialect(database)
        self._values = dialect.values
        self._those = (units.c.tenant == sa.bindparam("b_tenant"), dialect.among(units.c.id, "ids"), READY)

    async def offer(self, limit: int, for_s: float) -> list[Offered]:
        """Units that are due, marked as offered."""
        # Nearly always nothing is due, and whoever only looks does not wait for whoever writes.
        if not await self._database.ask(partial(self._due, limit=1)):
            return []
        return await self._database.carry_out(partial(self._offer, limit=limit, for_s=for_s), synced=False)

    @asynccontextmanager
    async def offering(self, limit: int, for_s: float) -> AsyncIterator[tuple[AsyncConnection, list[Offered]]]:
        """The same, with the transaction in which they are marked."""
        async with self._database.begin(synced=False) as connection:
            yield connection, await self._offer(connection, limit, for_s)

    async def withdraw(self, connection: AsyncConnection, items: Sequence[list[int]]) -> list[None]:
        """Offer these again at once."""
        ids = sorted({unit for item in items for unit in item})
        bound = {"b_tenant": self._database.tenant, "ids": self._values(ids)}
        await connection.execute(sa.update(units).where(*self._those).values(offered_until=0.0), bound)
        return [None] * len(items)

    async def waiting(self) -> int:
        """How many are offered and not claimed."""
        bound = {"tenant": self._database.tenant, "now": self._database.now()}

        async def count(connection: AsyncConnection) -> int:
            return int(await connection.scalar(_WAITING, bound) or 0)

        return await self._database.ask(count)

    async def _offer(self, connection: AsyncConnection, limit: int, for_s: float) -> list[Offered]:
        due = await self._due(connection, limit)
        taken = await self._take(connection, [offered.unit for offered in due], for_s)
        return [offered for offered in due if offered.unit in taken]

    async def _take(self, connection: AsyncConnection, ids: Sequence[int], for_s: float) -> set[int]:
        if not ids:
            return set()
        now = self._database.now()
        statement = (
            sa.update(units)
            .where(*self._those, sa.not_(_OFFERED))
            .values(offered_until=now + for_s)
            .returning(units.c.id)
        )
        bound = {"b_tenant": self._database.tenant, "ids": self._values(ids), "now": now}
        return set((await connection.execute(statement, bound)).scalars())

    async def _due(self, connection: AsyncConnection, limit: int) -> list[Offered]:
        bound = {"tenant": self._database.tenant}
        running = (await connection.execute(_RUNNING, bound)).scalars().all()
        found: list[tuple[tuple[Any, ...], Offered]] = []
        for source in (None, *running):
            found += [(_rank(offered, source), offered) for offered in await self._of(connection, source, limit)]
        found.sort(key=lambda pair: pair[0])
        return [offered for _, offered in found[:limit]]

    async def _of(self, connection: AsyncConnection, source: int | None, limit: int) -> list[Offered]:
        """What is due of the sends, or of a broadcast."""
        now = self._database.now()
        highest, of_priority = _SENDS if source is None else _CHUNKS
        kind = UnitKind.SEND if source is None else UnitKind.CHUNK
        bound: dict[str, Any] = {"tenant": self._database.tenant, "now": now}
        if source is not None:
            bound["source"] = source
        found: list[Offered] = []
        below = _ABOVE_ALL
        while len(found) < limit:
            priority = await connection.scalar(highest, bound | {"below": below})
            if priority is None:
                break
            rows = await connection.execute(of_priority, bound | {"priority": priority, "limit": limit - len(found)})
            found += [Offered(unit=row.id, kind=kind, priority=priority, not_before=row.not_before) for row in rows]
            below = priority
        return found


def _rank(offered: Offered, source: int | None) -> tuple[Any, ...]:
    return (-offered.priority, offered.kind, offered.not_before, source or 0, offered.unit)


_ABOVE_ALL: Final = 32_768
_OURS: Final = units.c.tenant == sa.bindparam("tenant")
_RUNNING: Final = (
    sa.select(broadcasts.c.id)
    .where(broadcasts.c.tenant == sa.bindparam("tenant"), broadcasts.c.state == BroadcastState.RUNNING)
    .order_by(broadcasts.c.id)
)
# One for later than any offer lasts was made before the clock was set back: nobody waits until then.
_OFFERED: Final = sa.and_(
    units.c.offered_until > sa.bindparam("now"), units.c.offered_until <= sa.bindparam("now", type_=sa.Float) + OFFER_S
)
_WAITING: Final = sa.select(sa.func.count()).select_from(units).where(_OURS, READY, _OFFERED)


def _queries(source: sa.ColumnElement[bool]) -> tuple[sa.Select[Any], sa.Select[Any]]:
    ours = (_OURS, READY, source)
    highest = sa.select(sa.func.max(units.c.priority)).where(
        *ours, units.c.priority < sa.bindparam("below", type_=sa.Integer)
    )
    of_priority = (
        sa.select(units.c.id, units.c.not_before)
        .where(
            *ours,
            units.c.priority == sa.bindparam("priority"),
            units.c.not_before <= sa.bindparam("now"),
            sa.not_(_OFFERED),
        )
        .order_by(units.c.not_before, units.c.id)
        .limit(sa.bindparam("limit"))
    )
    return highest, of_priority


_SENDS: Final = _queries(units.c.broadcast_id.is_(None))
_CHUNKS: Final = _queries(units.c.broadcast_id == sa.bindparam("source"))
