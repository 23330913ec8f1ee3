"""What becomes of those who were about to leave when their worker stopped: nobody knows whether they did.

They are ``unknown``, listed, and not tried again. Only where the host chose ``at_least_once`` they are.
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
from genie_connect.store.schema import UnitKind, attempts, broadcasts, chunks, outcomes, sends
from genie_connect.store.statements import Dialect
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
            sa.select(attempts.c.unit_id, attempts.c.id, attempts.c.connection, attempts.c.positions)
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
        if not rows:
            return
        repeating = await self._at_least_once(connection, rows)
        for row in rows:
            if row.id in repeating:
                row.intent &= row.done
        rows = [row for row in rows if row.in_doubt]
        if rows:
            await self._unknown(connection, rows)

    async def _unknown(self, connection: AsyncConnection, rows: Sequence[UnitRow]) -> None:
        recipients = await self.recipients(connection, rows)
        latest = await self._latest(connection, rows)
        at, written = self._database.now(), []
        for row in rows:
            for position in bitmap.positions(row.in_doubt):
                attempt_id, name = latest.get((row.id, position), (None, None))
                outcome = _no_answer(recipients[row.id][position], name)
                row.settle(position, State.UNKNOWN)
                written.append(to_row(self._database.tenant, row.id, position, outcome, attempt_id=attempt_id, at=at))
        await connection.execute(self._put, written)

    async def _latest(
        self, connection: AsyncConnection, rows: Iterable[UnitRow]
    ) -> dict[tuple[int, int], tuple[str, str]]:
        """By unit and position, the attempt by which it may have left, and its connection."""
        wanted = {row.id: row.in_doubt for row in rows}
        found: dict[tuple[int, int], tuple[str, str]] = {}
        for attempt in await connection.execute(self._attempts, self._bound(wanted)):
            for position in bitmap.positions(bitmap.load(attempt.positions) & wanted[attempt.unit_id]):
                found[attempt.unit_id, position] = (attempt.id, attempt.connection)
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
