"""Answers that come when their unit is another worker's already.

A worker that was stopped for long and goes on has lost its units, and those of its recipients who were about to leave
are ``unknown``. Its answer is the best that can be known of them. It changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.outcome import State
from genie_connect.store.claims import Answer
from genie_connect.store.database import Database
from genie_connect.store.outcome_rows import to_row
from genie_connect.store.schema import outcomes
from genie_connect.store.statements import Dialect
from genie_connect.store.unit_rows import UnitRow
from genie_connect.store.untried import Untried

if TYPE_CHECKING:
    from genie_connect.store.hand_overs import AnsweredItem

BY_ANSWER: Final = "answer"


class LateAnswers:
    """Resolves what is unknown from answers that come after all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._untried = Untried(database)
        dialect = Dialect(database)
        self._values = dialect.values
        self._put = dialect.put(outcomes)
        self._unknown = sa.select(
            outcomes.c.unit_id, outcomes.c.position, outcomes.c.attempt_id, outcomes.c.tries
        ).where(
            outcomes.c.tenant == sa.bindparam("tenant"),
            dialect.among(outcomes.c.attempt_id, "attempts"),
            dialect.among(outcomes.c.unit_id, "units"),
            outcomes.c.state == State.UNKNOWN.value,
        )

    async def take_in(
        self, connection: AsyncConnection, rows: Mapping[int, UnitRow], items: Sequence[AnsweredItem]
    ) -> set[int]:
        """Resolve what these say. The rows of the units whose numbers are returned are to be saved after it."""
        unknown = await self._unknown_by(connection, items)
        written: list[dict[str, Any]] = []
        changed: dict[int, UnitRow] = {}
        for item in items:
            if item.claim.unit not in rows:
                continue
            for answer in item.answers:
                tries = unknown.get((item.claim.unit, answer.position, item.attempt.id if item.attempt else None))
                if tries is None or answer.outcome.state is State.UNKNOWN:
                    continue
                row = changed.setdefault(item.claim.unit, rows[item.claim.unit])
                await self._resolve(connection, row, answer)
                written.append(self._row(row, answer, item.attempt.id if item.attempt else None, tries))
        if written:
            await connection.execute(self._put, written)
        return set(changed)

    async def _resolve(self, connection: AsyncConnection, row: UnitRow, answer: Answer) -> None:
        if answer.done or not await self._untried.again(connection, row, answer.position, State.UNKNOWN):
            row.resolve(answer.position, answer.outcome.state)

    async def _unknown_by(
        self, connection: AsyncConnection, items: Iterable[AnsweredItem]
    ) -> dict[tuple[int, int, str | None], int]:
        by_attempt = {item.attempt.id: item.claim.unit for item in items if item.attempt is not None}
        if not by_attempt:
            return {}
        bound = {
            "tenant": self._database.tenant,
            "attempts": self._values(sorted(by_attempt)),
            "units": self._values(sorted(set(by_attempt.values()))),
        }
        found = await connection.execute(self._unknown, bound)
        return {(row.unit_id, row.position, row.attempt_id): row.tries for row in found}

    def _row(self, row: UnitRow, answer: Answer, attempt_id: str | None, tries: int) -> dict[str, Any]:
        return to_row(
            self._database.tenant,
            row.id,
            answer.position,
            answer.outcome,
            attempt_id=attempt_id,
            at=self._database.now(),
            tries=tries,
            resolved_by=BY_ANSWER,
        )
