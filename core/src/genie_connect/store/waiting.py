"""Copies in doubt that are to be tried again: rows ``unknown`` of positions that are not done.

A hand-over whose key the provider recognises goes once more as it was, whole. So it is given to whoever claims the unit
as long as everybody of it is still in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.outcome import State
from genie_connect.store import bitmap
from genie_connect.store.claims import Earlier, HandOver
from genie_connect.store.database import Database
from genie_connect.store.schema import attempts, outcomes, units
from genie_connect.store.statements import AnyRow, Dialect
from genie_connect.store.unit_rows import UnitRow, UnitRows

UNITS_AT_ONCE: Final = 200
"""Of a broadcast every chunk may have somebody who waits."""


class Waiting:
    """Finds them, and ends their waiting."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = UnitRows(database)
        dialect = Dialect(database)
        self._values = dialect.values
        ours: sa.BindParameter[str] = sa.bindparam("tenant")
        self._unknown = sa.select(outcomes.c.unit_id, outcomes.c.position).where(
            outcomes.c.tenant == ours, dialect.among(outcomes.c.unit_id, "ids"), _UNKNOWN
        )
        self._repeatable = (
            sa.select(attempts)
            .where(
                attempts.c.tenant == ours,
                dialect.among(attempts.c.unit_id, "ids"),
                attempts.c.repeat_until.is_not(None),
            )
            .order_by(attempts.c.started, attempts.c.id)
        )

    async def interrupted(
        self, connection: AsyncConnection, earlier: Mapping[int, Mapping[int, Earlier]]
    ) -> dict[int, tuple[HandOver, ...]]:
        """By unit, the hand-overs that may go once more. ``earlier`` is what was said of whom in these units."""
        doubted = {unit: _by_attempt(said) for unit, said in earlier.items()}
        ids = sorted(unit for unit, by_attempt in doubted.items() if by_attempt)
        found: dict[int, tuple[HandOver, ...]] = {}
        if ids:
            for row in await connection.execute(self._repeatable, self._bound(ids)):
                hand_over = _hand_over(row)
                if doubted[row.unit_id].get(row.id) == hand_over.positions:
                    found[row.unit_id] = (*found.get(row.unit_id, ()), hand_over)
        return found

    async def end(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> None:
        """Nobody tries them any more: they are ``unknown`` for good. The rows are to be saved after it."""
        by_id = {row.id: row for row in rows}
        if by_id:
            for unit, position in await connection.execute(self._unknown, self._bound(sorted(by_id))):
                by_id[unit].settle(position, State.UNKNOWN)

    async def end_all_of(self, connection: AsyncConnection, broadcast: int) -> None:
        """The same for all of a broadcast."""
        bound = {"tenant": self._database.tenant, "broadcast": broadcast}
        waiting = sorted(await connection.scalars(_WAITING, bound))
        for start in range(0, len(waiting), UNITS_AT_ONCE):
            rows = await self._rows.lock(connection, waiting[start : start + UNITS_AT_ONCE])
            await self.end(connection, list(rows.values()))
            await self._rows.save(connection, rows.values())

    def _bound(self, ids: Sequence[int]) -> dict[str, Any]:
        return {"tenant": self._database.tenant, "ids": self._values(ids)}


def _by_attempt(said: Mapping[int, Earlier]) -> dict[str, int]:
    """The bitmaps of who is in doubt since which attempt."""
    found: dict[str, int] = {}
    for position, before in said.items():
        if before.outcome.state is State.UNKNOWN and before.attempt_id is not None:
            found[before.attempt_id] = found.get(before.attempt_id, 0) | 1 << position
    return found


def _hand_over(row: AnyRow) -> HandOver:
    return HandOver(
        attempt_id=row.id,
        connection=row.connection,
        key=row.key,
        positions=bitmap.load(row.positions),
        started=row.started,
        repeat_until=row.repeat_until,
    )


_UNKNOWN: Final = sa.text("outcomes.state = 'unknown'")
"""As the index says it: only then SQLite uses that."""
_WAITING: Final = (
    sa.select(outcomes.c.unit_id)
    .distinct()
    .join(units, sa.and_(units.c.id == outcomes.c.unit_id, units.c.tenant == outcomes.c.tenant))
    .where(outcomes.c.tenant == sa.bindparam("tenant"), units.c.broadcast_id == sa.bindparam("broadcast"), _UNKNOWN)
)
