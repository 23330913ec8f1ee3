"""The two writes around each hand-over: who is about to leave, and what came of it.

They are the ledger's hot path, a few statements for any number of units. The first is fenced and on disk before the
first byte leaves. The second need not be on disk at once: after a loss of power the intent stands, and the recipients
are ``unknown``, which is safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.delivery.journal import StepBack
from genie_connect.model.outcome import State
from genie_connect.model.receipt import Attempt
from genie_connect.store import bitmap
from genie_connect.store.claims import Answer, Claim, HandOver
from genie_connect.store.database import Database
from genie_connect.store.id_packing import pack_ids
from genie_connect.store.late_answers import LateAnswers
from genie_connect.store.outcome_rows import to_row
from genie_connect.store.schema import UnitKind, UnitState, accepted_ids, attempts, outcomes
from genie_connect.store.statements import Dialect, Found, Many
from genie_connect.store.unit_rows import UnitRow, UnitRows

LOST: Final = "the unit is no longer held by this worker"
PAUSED: Final = "the broadcast is not running"
SETTLED: Final = "somebody of this hand-over is settled already"
BEGUN: Final = (
    "unit_id",
    "id",
    "tenant",
    "epoch",
    "connection",
    "key",
    "positions",
    "recipients",
    "started",
    "repeat_until",
)
"""What is known of an attempt before the first byte leaves."""


@attrs.frozen(eq=False)
class LeavingItem:
    """One hand-over that is about to begin."""

    claim: Claim
    hand_over: HandOver


@attrs.define(eq=False)
class AnsweredItem:
    """What came of one; without an ``attempt`` there was none.

    ``kept`` is the result of applying it before, should the commit not have been heard of.
    """

    claim: Claim
    attempt: Attempt | None
    answers: Sequence[Answer]
    kept: bool | None = None


class HandOvers:
    """Applies such writes, many at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = UnitRows(database)
        self._late = LateAnswers(database)
        dialect = Dialect(database)
        self._values = dialect.values
        self._begin = Many(database, dialect.ignore(attempts), *BEGUN)
        self._complete_attempts = Many(database, _COMPLETE)
        self._put = Many(database, dialect.put(outcomes, counting="tries"), *outcomes.c.keys())
        self._forget = Many(database, _FORGET)
        self._keep_ids = dialect.ignore(accepted_ids)
        ours = attempts.c.tenant == sa.bindparam("tenant")
        self._completed = sa.select(attempts.c.id).where(
            ours, dialect.among(attempts.c.unit_id, "ids"), attempts.c.outcome.is_not(None)
        )
        spoken_of = sa.select(outcomes.c.unit_id, outcomes.c.position).where(
            outcomes.c.tenant == sa.bindparam("tenant"), dialect.among(outcomes.c.unit_id, "ids")
        )
        self._spoken_of = Found(database, spoken_of)

    async def leaving(self, connection: AsyncConnection, items: Sequence[LeavingItem]) -> list[Exception | None]:
        """Write down who is about to leave; ``StepBack`` for those who must not."""
        rows = await self._rows.lock(connection, (item.claim.unit for item in items))
        results: list[Exception | None] = [_obstacle(rows.get(item.claim.unit), item) for item in items]
        free = [item for item, result in zip(items, results, strict=True) if result is None]
        if free:
            tenant = self._database.tenant
            begun = [attempt_row(tenant, item.claim.unit, item.claim.epoch, item.hand_over) for item in free]
            await self._begin.run(connection, begun)
            for item in free:
                rows[item.claim.unit].intent |= item.hand_over.positions
            await self._rows.intend(connection, [rows[unit] for unit in {item.claim.unit for item in free}])
        return results

    async def answered(self, connection: AsyncConnection, items: Sequence[AnsweredItem]) -> list[bool]:
        """Keep what came of hand-overs. ``False`` where the unit is another's by now: a late answer."""
        rows = await self._rows.lock(connection, (item.claim.unit for item in items))
        known = await self._known(connection, items)
        held: list[AnsweredItem] = []
        late: list[AnsweredItem] = []
        results = []
        for item in items:
            if item.kept is None or item.attempt is None or item.attempt.id not in known:
                item.kept = item.claim.unit in rows and rows[item.claim.unit].held_by(item.claim)
                (held if item.kept else late).append(item)
            results.append(item.kept)
        await self._complete(connection, [item for item in (*held, *late) if item.attempt is not None])
        await self._take_in(connection, rows, held)
        changed = {item.claim.unit for item in held} | await self._late.take_in(connection, rows, late)
        await self._rows.save(connection, [rows[unit] for unit in sorted(changed)])
        return results

    async def _known(self, connection: AsyncConnection, items: Iterable[AnsweredItem]) -> set[str]:
        """The attempts that were completed when the same write was done before, and its commit not heard of."""
        ids = sorted({item.claim.unit for item in items if item.kept is not None})
        if not ids:
            return set()
        return set(await connection.scalars(self._completed, self._bound(ids)))

    async def _complete(self, connection: AsyncConnection, items: Sequence[AnsweredItem]) -> None:
        await self._complete_attempts.run(connection, [self._completion(item) for item in items])
        ids = [row for row in map(self._id_row, items) if row is not None]
        if ids:
            await connection.execute(self._keep_ids, ids)

    def _completion(self, item: AnsweredItem) -> dict[str, Any]:
        attempt = item.attempt
        if attempt is None:
            raise AssertionError("only attempts are completed")
        return {
            "b_unit": item.claim.unit,
            "b_id": attempt.id,
            "b_tenant": self._database.tenant,
            "ms": attempt.ms,
            "stage": attempt.stage,
            "outcome": attempt.outcome,
            "reason": attempt.reason,
            "text": attempt.text,
            "hint": attempt.hint,
            "accepted": sum(answer.outcome.state is State.ACCEPTED for answer in item.answers),
        }

    def _id_row(self, item: AnsweredItem) -> dict[str, Any] | None:
        if item.attempt is None or item.claim.kind is not UnitKind.CHUNK:
            return None
        ids = {
            answer.position: answer.outcome.provider_id
            for answer in item.answers
            if answer.outcome.provider_id is not None and answer.outcome.state is State.ACCEPTED
        }
        if not ids:
            return None
        row = {"attempt_id": item.attempt.id, "tenant": self._database.tenant, "unit_id": item.claim.unit}
        return row | {"packed": pack_ids(ids)}

    async def _take_in(
        self, connection: AsyncConnection, rows: dict[int, UnitRow], items: Sequence[AnsweredItem]
    ) -> None:
        spoken_of = await self._positions_spoken_of(connection, items)
        written: list[dict[str, Any]] = []
        forgotten: list[dict[str, Any]] = []
        for item in items:
            row, attempt_id = rows[item.claim.unit], item.attempt.id if item.attempt is not None else None
            told: Iterable[Answer] = item.answers
            if row.kind is UnitKind.CHUNK:
                # Nearly all were accepted, and of those a chunk has nothing to say, so they are taken in as one.
                taken, told = _parted(item.answers)
                new = row.accept(taken)
                forgotten += [self._place(row.id, each) for each in bitmap.positions(new & spoken_of.get(row.id, 0))]
            written += [self._outcome_row(row, answer, attempt_id) for answer in told if _apply(row, answer)]
            if row.complete:
                row.move(UnitState.DONE)
        await self._put.run(connection, written)
        await self._forget.run(connection, forgotten)

    def _place(self, unit: int, position: int) -> dict[str, Any]:
        return {"b_unit": unit, "b_position": position, "b_tenant": self._database.tenant}

    def _outcome_row(self, row: UnitRow, answer: Answer, attempt_id: str | None) -> dict[str, Any]:
        return to_row(
            self._database.tenant,
            row.id,
            answer.position,
            answer.outcome,
            attempt_id=answer.attempt_id or attempt_id,
            at=self._database.now(),
            tries=0 if attempt_id is None else 1,
        )

    async def _positions_spoken_of(self, connection: AsyncConnection, items: Iterable[AnsweredItem]) -> dict[int, int]:
        """By chunk, the bitmap of the positions that have a row from an earlier attempt."""
        ids = sorted({item.claim.unit for item in items if item.claim.kind is UnitKind.CHUNK})
        found: dict[int, int] = {}
        if ids:
            for unit, position in await self._spoken_of.rows(connection, self._bound(ids)):
                found[unit] = found.get(unit, 0) | 1 << position
        return found

    def _bound(self, ids: Sequence[int] | Sequence[str]) -> dict[str, Any]:
        return {"tenant": self._database.tenant, "ids": self._values(ids)}


def attempt_row(tenant: str, unit: int, epoch: int, hand_over: HandOver) -> dict[str, Any]:
    """The row of an attempt that is about to begin."""
    return {
        "unit_id": unit,
        "id": hand_over.attempt_id,
        "tenant": tenant,
        "epoch": epoch,
        "connection": hand_over.connection,
        "key": hand_over.key,
        "positions": bitmap.dump(hand_over.positions),
        "recipients": hand_over.positions.bit_count(),
        "started": hand_over.started,
        "repeat_until": hand_over.repeat_until,
    }


def _obstacle(row: UnitRow | None, item: LeavingItem) -> StepBack | None:
    if row is None or not row.held_by(item.claim):
        return StepBack(LOST, hint="another worker goes on with it", hand_back=True)
    if not row.runs:
        return StepBack(PAUSED, hint="it goes on with: genie-connect broadcasts resume", hand_back=True)
    if row.done & item.hand_over.positions:
        return StepBack(SETTLED, hint="claim the unit anew", hand_back=True)
    return None


def _parted(answers: Iterable[Answer]) -> tuple[int, list[Answer]]:
    """The bitmap of those who are done with and accepted, and the answers of the others."""
    taken, others = 0, []
    for answer in answers:
        if answer.done and answer.outcome.state is State.ACCEPTED:
            taken |= 1 << answer.position
        else:
            others.append(answer)
    return taken, others


def _apply(row: UnitRow, answer: Answer) -> bool:
    """What an answer changes in the unit's row; whether it has something to say of the position."""
    if answer.done:
        return row.settle(answer.position, answer.outcome.state)
    if row.is_done(answer.position):
        return False
    row.intent &= ~(1 << answer.position)
    return True


_COMPLETE: Final = (
    sa.update(attempts)
    .where(
        attempts.c.unit_id == sa.bindparam("b_unit"),
        attempts.c.id == sa.bindparam("b_id"),
        attempts.c.tenant == sa.bindparam("b_tenant"),
        attempts.c.outcome.is_(None),
    )
    .values({name: sa.bindparam(name) for name in ("ms", "stage", "outcome", "reason", "text", "hint", "accepted")})
)
_FORGET: Final = sa.delete(outcomes).where(
    outcomes.c.unit_id == sa.bindparam("b_unit"),
    outcomes.c.position == sa.bindparam("b_position"),
    outcomes.c.tenant == sa.bindparam("b_tenant"),
)
