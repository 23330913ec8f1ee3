"""Those of a broadcast who got nothing, one by one: refused, given up, or suppressed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Final

import attrs
import sqlalchemy as sa

from genie_connect.model.outcome import Outcome, State
from genie_connect.store import bitmap
from genie_connect.store.database import Database
from genie_connect.store.outcome_rows import from_row
from genie_connect.store.schema import outcomes, units

PAGE: Final = 1_000


@attrs.frozen(kw_only=True)
class SettledCopy:
    """A copy with a final outcome. ``at`` is when it came, in seconds since 1970, ``tries`` how often it was tried."""

    unit: int
    position: int
    outcome: Outcome
    tries: int
    at: float


async def settled_copies(
    database: Database, broadcast: int, states: Collection[State], *, page: int = PAGE
) -> AsyncIterator[SettledCopy]:
    """Those of a broadcast with one of these final outcomes, in the order of its list, ``page`` rows in memory.

    Of accepted copies the ledger has no rows. What is still to be tried again is not told. Raises
    ``StoreUnavailable``.
    """
    bound = {"tenant": database.tenant, "broadcast": broadcast, "states": sorted(state.value for state in states)}
    place = {"number": -1, "position": -1}
    while True:
        async with database.read() as connection:
            rows = (await connection.execute(_PAGE.limit(page), bound | place)).all()
        for row in rows:
            if bitmap.load(row.done) >> row.position & 1:
                yield SettledCopy(
                    unit=row.unit_id, position=row.position, outcome=from_row(row), tries=row.tries, at=row.at
                )
        if len(rows) < page:
            return
        place = {"number": rows[-1].number, "position": rows[-1].position}


_PAGE: Final = (
    sa.select(outcomes, units.c.number, units.c.done)
    .join(units, sa.and_(units.c.id == outcomes.c.unit_id, units.c.tenant == outcomes.c.tenant))
    .where(
        units.c.tenant == sa.bindparam("tenant"),
        units.c.broadcast_id == sa.bindparam("broadcast"),
        outcomes.c.state.in_(sa.bindparam("states", expanding=True)),
        # For the index; which of those of the first chunk are new, the rest says.
        units.c.number >= sa.bindparam("number"),
        sa.or_(units.c.number > sa.bindparam("number"), outcomes.c.position > sa.bindparam("position")),
    )
    .order_by(units.c.number, outcomes.c.position)
)
