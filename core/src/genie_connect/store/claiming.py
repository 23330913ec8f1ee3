"""Taking a unit over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.outcome import State
from genie_connect.store.claims import Claim, Earlier, HandOver, SendContent
from genie_connect.store.database import Database
from genie_connect.store.doubt import Doubt
from genie_connect.store.outcome_rows import from_row
from genie_connect.store.schema import UnitKind, UnitState, chunks, outcomes, sends
from genie_connect.store.statements import Dialect, Found
from genie_connect.store.unit_rows import UnitRow, UnitRows
from genie_connect.store.waiting import Waiting


@attrs.define(eq=False)
class ClaimItem:
    """A unit that a worker wants. ``given`` is the epoch that it got, should the commit not be heard of."""

    unit: int
    owner: str
    given: int | None = None


class Claiming:
    """Claims units, many at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = UnitRows(database)
        self._doubt = Doubt(database)
        self._waiting = Waiting(database)
        dialect = Dialect(database)
        self._values = dialect.values
        ours: sa.BindParameter[str] = sa.bindparam("tenant")
        of_chunks = sa.select(chunks.c.unit_id, chunks.c.recipients).where(
            chunks.c.tenant == ours, dialect.among(chunks.c.unit_id, "ids")
        )
        of_sends = sa.select(
            sends.c.unit_id,
            sends.c.recipients,
            sends.c.message_id,
            sends.c.message,
            sends.c.plan,
            sends.c.only,
            sends.c.key,
            sends.c.at_least_once,
        ).where(sends.c.tenant == ours, dialect.among(sends.c.unit_id, "ids"))
        self._chunks = Found(database, of_chunks)
        self._sends = Found(database, of_sends)
        self._earlier = sa.select(outcomes).where(
            outcomes.c.tenant == ours,
            dialect.among(outcomes.c.unit_id, "ids"),
            outcomes.c.state.in_((State.DEFERRED.value, State.REJECTED.value, State.UNKNOWN.value)),
        )

    async def claim(self, connection: AsyncConnection, items: Sequence[ClaimItem]) -> list[Claim | None]:
        """Make these claims; ``None`` for those that get nothing."""
        rows = await self._rows.lock(connection, (item.unit for item in items))
        now = self._database.now()
        taken: dict[int, ClaimItem] = {}
        for item in items:
            row = rows.get(item.unit)
            if row is not None and item.unit not in taken and _take(row, item, now):
                taken[item.unit] = item
        mine = [rows[unit] for unit in taken]
        await self._doubt.settle(connection, mine)
        # Perhaps those were all who were left.
        for row in mine:
            if row.complete:
                row.move(UnitState.DONE)
        await self._rows.save(connection, mine)
        claims = await self._claims(connection, [row for row in mine if row.state is UnitState.LEASED])
        return [claims.get(item.unit) if taken.get(item.unit) is item else None for item in items]

    async def _claims(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> dict[int, Claim]:
        content: dict[int, SendContent] = {}
        packed: dict[int, bytes] = dict(await self._read(connection, self._chunks, rows, UnitKind.CHUNK))
        for unit, recipients, *facts in await self._read(connection, self._sends, rows, UnitKind.SEND):
            packed[unit] = recipients
            content[unit] = _content(*facts)
        earlier = await self._earlier_of(connection, [row for row in rows if row.epoch > 1])
        interrupted = await self._waiting.interrupted(connection, earlier)
        return {
            row.id: as_claim(
                row, packed[row.id], content.get(row.id), earlier.get(row.id, {}), interrupted.get(row.id, ())
            )
            for row in rows
        }

    async def _read(
        self, connection: AsyncConnection, statement: Found, rows: Iterable[UnitRow], kind: UnitKind
    ) -> Iterable[Any]:
        ids = [row.id for row in rows if row.kind is kind]
        return await statement.rows(connection, self._bound(ids)) if ids else ()

    async def _earlier_of(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> dict[int, dict[int, Earlier]]:
        found: dict[int, dict[int, Earlier]] = {}
        if not rows:
            return found
        done = {row.id: row.done for row in rows}
        for row in await connection.execute(self._earlier, self._bound(sorted(done))):
            if not done[row.unit_id] >> row.position & 1:
                earlier = Earlier(from_row(row), row.tries, row.attempt_id)
                found.setdefault(row.unit_id, {})[row.position] = earlier
        return found

    def _bound(self, ids: Sequence[int]) -> dict[str, Any]:
        return {"tenant": self._database.tenant, "ids": self._values(ids)}


def as_claim(
    row: UnitRow,
    recipients: bytes,
    send: SendContent | None,
    earlier: dict[int, Earlier] | None = None,
    interrupted: tuple[HandOver, ...] = (),
) -> Claim:
    """The claim that a row grants to its owner."""
    return Claim(
        unit=row.id,
        epoch=row.epoch,
        owner=row.owner or "",
        kind=row.kind,
        broadcast=row.broadcast,
        number=row.number,
        size=row.size,
        recipients=recipients,
        done=row.done,
        tries=row.tries,
        priority=row.priority,
        due=row.due,
        expires=row.expires,
        earlier=earlier or {},
        interrupted=interrupted,
        send=send,
    )


def _take(row: UnitRow, item: ClaimItem, now: float) -> bool:
    if item.given is not None and row.state is UnitState.LEASED and row.epoch == item.given:
        # Its commit was done, and the connection lost before we heard of it.
        return row.owner == item.owner
    if row.state is not UnitState.READY or row.not_before > now or not row.runs:
        return False
    row.epoch += 1
    row.owner = item.owner
    row.move(UnitState.LEASED)
    item.given = row.epoch
    return True


def _content(
    message_id: str, message: bytes, plan: str | None, only: str | None, key: str | None, at_least_once: Any
) -> SendContent:
    return SendContent(
        message_id=message_id, message=message, plan=plan, only=only, key=key, at_least_once=bool(at_least_once)
    )
