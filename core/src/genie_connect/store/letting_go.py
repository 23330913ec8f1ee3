"""Giving a unit back, and ending the work on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.store import bitmap
from genie_connect.store.claims import Claim
from genie_connect.store.database import Database
from genie_connect.store.doubt import Doubt
from genie_connect.store.outcome_rows import to_row
from genie_connect.store.schema import UnitState, outcomes, sends
from genie_connect.store.statements import Dialect
from genie_connect.store.unit_rows import UnitRow, UnitRows
from genie_connect.store.waiting import Waiting


@attrs.define(eq=False)
class _Item:
    """``was_held`` stays true when it is applied again, should the commit not have been heard of."""

    claim: Claim
    was_held: bool = attrs.field(default=False, init=False)


@attrs.define(eq=False)
class ReleaseItem(_Item):
    """A unit that is given back."""

    not_before: float | None
    tried: bool


@attrs.define(eq=False)
class FinishItem(_Item):
    """A unit that is worked on no more."""

    giving_up: str | None
    hint: str | None
    plan: str | None


I = TypeVar("I", ReleaseItem, FinishItem)  # noqa: E741  # item


class LettingGo:
    """Ends claims, many at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = UnitRows(database)
        self._doubt = Doubt(database)
        self._giving_up = GivingUp(database)

    async def release(self, connection: AsyncConnection, items: Sequence[ReleaseItem]) -> list[bool]:
        """Give units back; ``False`` where they were others' already."""
        rows, held = await self._held(connection, items)
        for item in held:
            row = rows[item.claim.unit]
            row.tries += item.tried
            row.not_before = self._database.now() if item.not_before is None else item.not_before
            row.move(UnitState.DONE if row.complete else UnitState.READY)
        await self._rows.save(connection, [row for row in rows.values() if row.moved])
        return [item.was_held for item in items]

    async def finish(self, connection: AsyncConnection, items: Sequence[FinishItem]) -> list[bool]:
        """End the work on units; ``False`` where they were others' already."""
        rows, held = await self._held(connection, items)
        for item in held:
            row = rows[item.claim.unit]
            if item.giving_up is not None and not row.complete:
                await self._giving_up.rest_of(connection, row, item.giving_up, item.hint)
            row.move(UnitState.DONE if row.complete else UnitState.READY)
        await self._rows.save(connection, [row for row in rows.values() if row.moved])
        ended = [item.was_held or _was_done(rows, item.claim) for item in items]
        await self._keep_plans(connection, [item for item, ours in zip(items, ended, strict=True) if ours])
        return ended

    async def _held(self, connection: AsyncConnection, items: Sequence[I]) -> tuple[dict[int, UnitRow], list[I]]:
        """The rows, with nobody left in doubt where they are the claims', and the items of those."""
        rows = await self._rows.lock(connection, (item.claim.unit for item in items))
        held = {item.claim.unit: item for item in items if _holds(rows, item.claim)}
        for item in held.values():
            item.was_held = True
        await self._doubt.settle(connection, [rows[unit] for unit in held])
        return rows, list(held.values())

    async def _keep_plans(self, connection: AsyncConnection, items: Sequence[FinishItem]) -> None:
        plans = [
            {"b_unit": item.claim.unit, "b_tenant": self._database.tenant, "plan": item.plan}
            for item in items
            if item.plan is not None
        ]
        if plans:
            await connection.execute(_KEEP_PLAN, plans)


class GivingUp:
    """Settles those of a unit who are left: nobody will try them any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._doubt = Doubt(database)
        self._waiting = Waiting(database)
        # What the other side said last stays, where it said something: that is why it came to this.
        self._put = Dialect(database).put(outcomes, counting="tries", only=("state", "reason", "hint", "retry", "at"))

    async def rest_of(self, connection: AsyncConnection, row: UnitRow, reason: str, hint: str | None) -> None:
        """Settle all that is open in a row; whoever is in doubt stays so. It is to be saved after it."""
        await self._waiting.end(connection, [row])
        recipients = (await self._doubt.recipients(connection, [row]))[row.id]
        at = self._database.now()
        written = [
            self._row(row, position, _given_up(recipients[position], reason, hint), at)
            for position in bitmap.positions(bitmap.full(row.size) & ~row.done)
        ]
        for given_up in written:
            row.settle(given_up["position"], State.DEFERRED)
        if written:
            await connection.execute(self._put, written)

    def _row(self, row: UnitRow, position: int, outcome: Outcome, at: float) -> dict[str, Any]:
        return to_row(self._database.tenant, row.id, position, outcome, attempt_id=None, at=at, tries=0)


def _given_up(recipient: str, reason: str, hint: str | None) -> Outcome:
    return Outcome(
        recipient=recipient,
        state=State.DEFERRED,
        stage="plan",
        reason=reason,
        hint=hint,
        scope=Scope.MESSAGE,
        retry=Retry.NEVER,
    )


def _holds(rows: dict[int, UnitRow], claim: Claim) -> bool:
    return claim.unit in rows and rows[claim.unit].held_by(claim)


def _was_done(rows: dict[int, UnitRow], claim: Claim) -> bool:
    row = rows.get(claim.unit)
    return row is not None and row.state is UnitState.DONE and row.epoch == claim.epoch


_KEEP_PLAN: Final = (
    sa.update(sends)
    .where(sends.c.unit_id == sa.bindparam("b_unit"), sends.c.tenant == sa.bindparam("b_tenant"))
    .values(plan=sa.bindparam("plan"))
)
