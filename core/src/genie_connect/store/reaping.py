"""Taking units from workers that are no more, so that nothing waits for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.store.database import Database
from genie_connect.store.doubt import Doubt
from genie_connect.store.letting_go import GivingUp
from genie_connect.store.schema import UnitState, WorkerState, units, workers
from genie_connect.store.statements import AnyRow
from genie_connect.store.unit_rows import OWNED, UnitRow, UnitRows

INTERRUPTED: Final = "interrupted"
INTERRUPTED_HINT: Final = "the process that was sending it ended; send it again, or send with durable=True"


class Reaping:
    """Makes units of workers that are gone claimable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = UnitRows(database)
        self._doubt = Doubt(database)
        self._giving_up = GivingUp(database)

    async def reap(self, connection: AsyncConnection, items: Sequence[int]) -> list[list[int]]:
        """Take up to so many units from workers that are not alive; which of them can be claimed."""
        taken = []
        for limit in items:
            bound = {"tenant": self._database.tenant, "limit": limit}
            taken.append(await self._take(connection, await connection.execute(_ORPHANED, bound)))
        return taken

    async def drop(self, connection: AsyncConnection, items: Sequence[str]) -> list[list[int]]:
        """Take all units from these workers; which of them can be claimed."""
        taken = []
        for owner in items:
            bound = {"tenant": self._database.tenant, "owner": owner}
            taken.append(await self._take(connection, await connection.execute(_OWNED_BY, bound)))
        return taken

    async def _take(self, connection: AsyncConnection, found: Iterable[AnyRow]) -> list[int]:
        owners = {row.id: row.owner for row in found}
        if not owners:
            return []
        rows = [
            row
            for row in (await self._rows.lock(connection, owners)).values()
            # Between looking and locking it may have gone another way.
            if row.state in (UnitState.LEASED, UnitState.OPEN) and row.owner == owners[row.id]
        ]
        await self._doubt.settle(connection, rows)
        for row in rows:
            await self._pass_on(connection, row)
        await self._rows.save(connection, rows)
        return [row.id for row in rows if row.state is UnitState.READY]

    async def _pass_on(self, connection: AsyncConnection, row: UnitRow) -> None:
        if row.state is UnitState.OPEN and not row.complete:
            # Its caller has gone without an answer, and may be sending the same again already.
            await self._giving_up.rest_of(connection, row, INTERRUPTED, INTERRUPTED_HINT)
        row.epoch += 1
        row.move(UnitState.DONE if row.complete else UnitState.READY)


_ALIVE: Final = sa.exists(
    sa.select(workers.c.id).where(
        workers.c.id == units.c.owner, workers.c.tenant == units.c.tenant, workers.c.state == WorkerState.ALIVE
    )
)
_OURS: Final = (units.c.tenant == sa.bindparam("tenant"), OWNED)
_ORPHANED: Final = sa.select(units.c.id, units.c.owner).where(*_OURS, ~_ALIVE).limit(sa.bindparam("limit"))
_OWNED_BY: Final = sa.select(units.c.id, units.c.owner).where(*_OURS, units.c.owner == sa.bindparam("owner"))
