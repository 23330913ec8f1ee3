"""How far a broadcast is, from its chunks; and how much each connection has done, from its hand-overs."""

from __future__ import annotations

from typing import Final

import attrs
import sqlalchemy as sa

from genie_connect.errors import NoSuchBroadcast
from genie_connect.store.database import Database
from genie_connect.store.schema import BroadcastState, UnitState, attempts, broadcasts, outcomes, units
from genie_connect.store.unit_rows import OWNED


@attrs.frozen(kw_only=True)
class Progress:
    """Recipients by what is known of them. ``deferred`` are those given up; ``remaining`` have no final outcome yet.

    Of ``chunks``, so many are ``chunks_done`` and so many in workers' hands. Times are seconds since 1970; ``next_due``
    is from when on the first of those that wait may go, which is in the past where they only wait for a worker.
    """

    state: BroadcastState
    total: int
    accepted: int
    rejected: int
    deferred: int
    unknown: int
    suppressed: int
    chunks: int
    chunks_done: int
    chunks_in_progress: int
    started: float | None
    finished: float | None
    next_due: float | None

    @property
    def done(self) -> int:
        """How many recipients have a final outcome."""
        return self.accepted + self.rejected + self.deferred + self.unknown + self.suppressed

    @property
    def remaining(self) -> int:
        """How many are still to be sent to, were it to go on."""
        return self.total - self.done


@attrs.frozen(kw_only=True)
class ConnectionShare:
    """What a connection did for a broadcast: hand-overs, recipients that they held, and what stands of them now."""

    connection: str
    hand_overs: int
    tried: int
    accepted: int
    rejected: int
    deferred: int
    unknown: int


class ProgressReader:
    """Reads such figures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, broadcast: int) -> Progress:
        """How far a broadcast is. Raises ``NoSuchBroadcast``."""
        bound = {"tenant": self._database.tenant, "broadcast": broadcast}
        async with self._database.read() as connection:
            about = (await connection.execute(_ABOUT, bound)).one_or_none()
            if about is None:
                raise NoSuchBroadcast(broadcast)
            sums = (await connection.execute(_SUMS, bound)).one()
            in_progress = await connection.scalar(_IN_PROGRESS, bound)
        counts = dict(sums._mapping)  # noqa: SLF001  # public, with that name
        next_due = counts.pop("next_due")
        return Progress(
            state=BroadcastState(about.state),
            started=about.started,
            finished=about.finished,
            chunks_in_progress=in_progress or 0,
            next_due=next_due,
            **{name: int(value) for name, value in counts.items()},
        )

    async def by_connection(self, broadcast: int) -> tuple[ConnectionShare, ...]:
        """What each connection did, in the order of their names."""
        bound = {"tenant": self._database.tenant, "broadcast": broadcast}
        async with self._database.read() as connection:
            tried = (await connection.execute(_TRIED, bound)).all()
            others = (await connection.execute(_OTHERS, bound)).all()
        counts = {(row.connection, row.state): row.copies for row in others}
        return tuple(
            ConnectionShare(
                connection=row.connection,
                hand_overs=row.hand_overs,
                tried=row.tried,
                accepted=row.accepted,
                rejected=counts.get((row.connection, "rejected"), 0),
                deferred=counts.get((row.connection, "deferred"), 0),
                unknown=counts.get((row.connection, "unknown"), 0),
            )
            for row in tried
        )


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(column), 0)


_OURS: Final = (units.c.tenant == sa.bindparam("tenant"), units.c.broadcast_id == sa.bindparam("broadcast"))
_ABOUT: Final = sa.select(broadcasts.c.state, broadcasts.c.started, broadcasts.c.finished).where(
    broadcasts.c.id == sa.bindparam("broadcast"), broadcasts.c.tenant == sa.bindparam("tenant")
)
_SUMS: Final = sa.select(
    _sum(units.c.size).label("total"),
    _sum(units.c.accepted).label("accepted"),
    _sum(units.c.rejected).label("rejected"),
    _sum(units.c.deferred).label("deferred"),
    _sum(units.c.unknown).label("unknown"),
    _sum(units.c.suppressed).label("suppressed"),
    sa.func.count().label("chunks"),
    _sum(sa.case((units.c.state == UnitState.DONE, 1), else_=0)).label("chunks_done"),
    sa.func.min(sa.case((units.c.state == UnitState.READY, units.c.not_before))).label("next_due"),
).where(*_OURS)
_IN_PROGRESS: Final = sa.select(sa.func.count()).select_from(units).where(*_OURS, OWNED)
_TRIED: Final = (
    sa.select(
        attempts.c.connection,
        sa.func.count().label("hand_overs"),
        _sum(attempts.c.recipients).label("tried"),
        _sum(attempts.c.accepted).label("accepted"),
    )
    .join(units, sa.and_(units.c.id == attempts.c.unit_id, units.c.tenant == attempts.c.tenant))
    .where(*_OURS)
    .group_by(attempts.c.connection)
    .order_by(attempts.c.connection)
)
_OTHERS: Final = (
    sa.select(outcomes.c.connection, outcomes.c.state, sa.func.count().label("copies"))
    .join(units, sa.and_(units.c.id == outcomes.c.unit_id, units.c.tenant == outcomes.c.tenant))
    .where(*_OURS, outcomes.c.connection.is_not(None))
    .group_by(outcomes.c.connection, outcomes.c.state)
)
