"""Taking back that a position is settled, so that it is tried again."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.outcome import State
from genie_connect.store.database import Database
from genie_connect.store.schema import BroadcastState, UnitState, sends
from genie_connect.store.unit_rows import UnitRow, UnitRows


class Untried:
    """Makes settled positions untried again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = UnitRows(database)

    async def again(
        self, connection: AsyncConnection, row: UnitRow, position: int, state: State, *, by_request: bool = False
    ) -> bool:
        """Make a position that was settled with ``state`` untried; ``False`` where nobody would try it.

        Nobody works on a broadcast that was stopped; nor on a send whose caller waited for it and died, unless that is
        asked for: from then on it is durable. The row is to be saved after it.
        """
        if row.broadcast_state is BroadcastState.STOPPED:
            return False
        if row.broadcast is None and not await self._durable(connection, row, by_request=by_request):
            return False
        row.unsettle(position, state)
        if row.state is UnitState.DONE:
            row.move(UnitState.READY)
            row.not_before = self._database.now()
            await self._reopen(connection, row)
        return True

    async def _reopen(self, connection: AsyncConnection, row: UnitRow) -> None:
        if row.broadcast is not None:
            await self._rows.reopen_broadcast(connection, row.broadcast)
        else:
            await connection.execute(_REOPEN, {"b_unit": row.id, "b_tenant": self._database.tenant})

    async def _durable(self, connection: AsyncConnection, row: UnitRow, *, by_request: bool) -> bool:
        bound = {"b_unit": row.id, "b_tenant": self._database.tenant}
        if by_request:
            await connection.execute(_MAKE_DURABLE, bound)
            return True
        return bool(await connection.scalar(_IS_DURABLE, bound))


_THIS: Final = sa.and_(sends.c.unit_id == sa.bindparam("b_unit"), sends.c.tenant == sa.bindparam("b_tenant"))
_IS_DURABLE: Final = sa.select(sends.c.durable).where(_THIS)
_MAKE_DURABLE: Final = sa.update(sends).where(_THIS).values(durable=True)
_REOPEN: Final = sa.update(sends).where(_THIS).values(finished=None)
