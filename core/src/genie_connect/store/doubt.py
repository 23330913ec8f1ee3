"""What becomes of those who were about to leave when their worker stopped: nobody knows whether they did.

They are ``unknown``, and listed. They are not tried again, unless the provider would recognise the same batch by its
key, or the host chose ``at_least_once``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.store import bitmap, packing
from genie_connect.store.database import Database
from genie_connect.store.outcome_rows import to_row
from genie_connect.store.schema import (
    BroadcastState,
    UnitKind,
    UnitState,
    attempts,
    broadcasts,
    chunks,
    outcomes,
    sends,
)
from genie_connect.store.statements import AnyRow, Dialect
from genie_connect.store.unit_rows import UnitRow

NO_ANSWER: Final = "the worker stopped before the answer was written down"
LOOK: Final = "look it up at the provider, or decide with: genie-connect unknown resolve"


class Doubt:
    """Turns intents that nobody will complete into outcomes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = Dialect(database)
        self._values = dialect.values
        self._put = dialect.put(outcomes, counting="tries")
        self._attempts = (
            sa.select(
                attempts.c.unit_id,
                attempts.c.id,
                attempts.c.connection,
                attempts.c.positions,
                attempts.c.repeat_until,
            )
            .where(attempts.c.tenant == sa.bindparam("tenant"), dialect.among(attempts.c.unit_id, "ids"))
            # The last word is with the one without an answer, then with the latest.
            .order_by(attempts.c.outcome.is_(None), attempts.c.started)
        )
        self._policies = (
            sa.select(broadcasts.c.id, broadcasts.c.options).where(
                broadcasts.c.tenant == sa.bindparam("tenant"), dialect.among(broadcasts.c.id, "ids")
            ),
            sa.select(sends.c.unit_id, sends.c.at_least_once).where(
                sends.c.tenant == sa.bindparam("tenant"), dialect.among(sends.c.unit_id, "ids")
            ),
        )
        self._recipients = [
            (
                kind,
                sa.select(table.c.unit_id, table.c.recipients).where(table.c.tenant == sa.bindparam("tenant"), those),
            )
            for kind, table, those in (
                (UnitKind.CHUNK, chunks, dialect.among(chunks.c.unit_id, "ids")),
                (UnitKind.SEND, sends, dialect.among(sends.c.unit_id, "ids")),
            )
        ]

    async def settle(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> None:
        """Settle all who are in doubt in these rows. The rows are to be saved after it."""
        rows = [row for row in rows if row.in_doubt]
        if rows:
            await self._unknown(connection, rows)

    async def _unknown(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> None:
        recipients = await self.recipients(connection, rows)
        latest = await self._latest(connection, rows)
        repeating = await self._at_least_once(connection, rows)
        at, written = self._database.now(), []
        for row in rows:
            by_attempt = latest[row.id]
            for position in bitmap.positions(row.in_doubt):
                attempt = by_attempt.get(position)
                attempt_id, name = (None, None) if attempt is None else (attempt.id, attempt.connection)
                outcome = _no_answer(recipients[row.id][position], name)
                written.append(to_row(self._database.tenant, row.id, position, outcome, attempt_id=attempt_id, at=at))
            self._end(row, by_attempt, at_least_once=row.id in repeating)
        await connection.execute(self._put, written)

    def _end(self, row: UnitRow, by_attempt: Mapping[int, AnyRow], *, at_least_once: bool) -> None:
        """Settle who is in doubt, but for those who are to be tried again."""
        again = 0
        if _goes_on(row):
            again = row.in_doubt if at_least_once else self._recognised(row, by_attempt.values())
        row.intent &= ~again
        for position in bitmap.positions(row.in_doubt):
            row.settle(position, State.UNKNOWN)

    def _recognised(self, row: UnitRow, tried: Iterable[AnyRow]) -> int:
        """Those of hand-overs that nobody has left yet, and that the provider recognises by their key."""
        now, found = self._database.now(), 0
        for attempt in {each.id: each for each in tried}.values():
            positions = bitmap.load(attempt.positions)
            if not positions & ~row.in_doubt and now < (attempt.repeat_until or 0.0):
                found |= positions
        return found

    async def _latest(self, connection: AsyncConnection, rows: Iterable[UnitRow]) -> dict[int, dict[int, AnyRow]]:
        """By unit and position, the attempt by which it may have left."""
        wanted = {row.id: row.in_doubt for row in rows}
        found: dict[int, dict[int, AnyRow]] = {unit: {} for unit in wanted}
        for attempt in await connection.execute(self._attempts, self._bound(wanted)):
            for position in bitmap.positions(bitmap.load(attempt.positions) & wanted[attempt.unit_id]):
                found[attempt.unit_id][position] = attempt
        return found

    async def _at_least_once(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> set[int]:
        of_broadcasts, of_sends = self._policies
        numbers = {row.broadcast for row in rows if row.broadcast is not None}
        found = await connection.execute(of_broadcasts, self._bound(numbers)) if numbers else ()
        repeating = {number for number, options in found if json.loads(options).get("at_least_once") is True}
        lone = [row.id for row in rows if row.kind is UnitKind.SEND]
        chosen = await connection.execute(of_sends, self._bound(lone)) if lone else ()
        return {row.id for row in rows if row.broadcast in repeating} | {unit for unit, is_so in chosen if is_so}

    async def recipients(self, connection: AsyncConnection, rows: Iterable[UnitRow]) -> dict[int, list[str]]:
        """By unit, the bare addresses by position."""
        rows = list(rows)
        found: dict[int, list[str]] = {}
        for kind, statement in self._recipients:
            ids = [row.id for row in rows if row.kind is kind]
            packed: Iterable[Any] = await connection.execute(statement, self._bound(ids)) if ids else ()
            found |= {unit: [packing.email(each) for each in packing.addresses(data)] for unit, data in packed}
        return found

    def _bound(self, ids: Iterable[int]) -> Mapping[str, Any]:
        return {"tenant": self._database.tenant, "ids": self._values(sorted(ids))}


def _goes_on(row: UnitRow) -> bool:
    """Whether anybody would try again: not a broadcast that was stopped, nor a send whose caller waits for it."""
    return row.broadcast_state is not BroadcastState.STOPPED and row.state is not UnitState.OPEN


def _no_answer(recipient: str, connection: str | None) -> Outcome:
    return Outcome(
        recipient=recipient,
        state=State.UNKNOWN,
        connection=connection,
        reason="in_doubt",
        text=NO_ANSWER,
        hint=LOOK,
        scope=Scope.RECIPIENT,
        retry=Retry.NEVER,
    )
