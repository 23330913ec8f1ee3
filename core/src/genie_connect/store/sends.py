"""Single sends: taken in once, whatever happens, and read back as they are known.

A durable send is on disk before its caller goes on. Any worker may carry it out; one that carries it out itself may own
it from the beginning, which spares offering and claiming it. A plain send's caller waits for the result: it is written
down with its first hand-over, belongs to its process alone, and ends with that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
import sqlalchemy as sa

from genie_connect.model.outcome import Outcome, State
from genie_connect.model.receipt import Attempt, DoubtfulCopy
from genie_connect.store.accepting import Accepted, Accepting, AcceptItem, NewSend
from genie_connect.store.claims import Claim, HandOver
from genie_connect.store.database import Database
from genie_connect.store.outcome_rows import from_row
from genie_connect.store.schema import UnitState, attempts, outcomes, sends, units
from genie_connect.store.statements import AnyRow
from genie_connect.store.times import from_seconds
from genie_connect.store.writer import Writer

KEY_KEPT_S: Final = 24 * 3600.0
"""For so long an idempotency key stands for the same send."""


@attrs.frozen(kw_only=True)
class SendRecord:
    """A send as it is known now. ``outcomes`` are by position; those that nothing is known of are not among them.

    ``state`` is where its unit stands. Times are seconds since 1970; ``finished`` is ``None`` while it goes on.
    """

    unit: int
    state: UnitState
    message_id: str
    recipients: bytes = attrs.field(repr=False)
    message: bytes = attrs.field(repr=False)
    plan: str | None
    key: str | None
    only: str | None
    durable: bool
    not_before: float
    expires: float | None
    created: float
    finished: float | None
    tries: int
    outcomes: dict[int, Outcome]
    attempts: tuple[Attempt, ...]


class Sends:
    """The sends of one tenant."""

    def __init__(self, database: Database, writer: Writer, *, key_kept_s: float = KEY_KEPT_S) -> None:
        self._database = database
        self._writer = writer
        self._accepting = Accepting(database, key_kept_s)

    async def accept(self, send: NewSend, *, owner: str | None = None) -> Accepted:
        """Take a durable send in; it is on disk on return.

        With ``owner``, a worker that goes on with it at once, the result holds the claim, unless it is to leave later
        or the key was used before. Raises ``IdempotencyConflict`` for a key that was used with another content.
        """
        return await self._writer.write(self._accepting.accept, AcceptItem(send, owner))

    async def open(self, send: NewSend, *, owner: str, hand_over: HandOver) -> Claim:
        """Write a plain send down with its first hand-over, as ``Units.leaving`` does for the next ones.

        A key is kept as well, and raises ``IdempotencyConflict`` where it was used before, with whatever content.
        """
        accepted = await self._writer.write(self._accepting.accept, AcceptItem(send, owner, hand_over))
        if accepted.claim is None:
            raise AssertionError("an open send always belongs to its process")
        return accepted.claim

    async def earlier(self, key: str, digest: bytes) -> int | None:
        """The send that an idempotency key stands for, if any. Raises ``IdempotencyConflict`` as ``accept`` does."""
        return await self._database.ask(lambda connection: self._accepting.earlier(connection, key, digest))

    async def record(self, unit: int) -> SendRecord | None:
        """All that is known of a send; ``None`` where there is none, or it was purged."""
        bound = {"tenant": self._database.tenant, "unit": unit}
        async with self._database.read() as connection:
            row = (await connection.execute(_SEND, bound)).one_or_none()
            if row is None:
                return None
            known = (await connection.execute(_OUTCOMES, bound)).all()
            outcomes_by_position = {each.position: from_row(each) for each in known}
            doubtful = _in_doubt(row.message_id, known)
            tried = tuple(
                _attempt(each, doubtful.get(each.id, [])) for each in await connection.execute(_ATTEMPTS, bound)
            )
        return SendRecord(
            unit=unit,
            state=UnitState(row.state),
            outcomes=outcomes_by_position,
            attempts=tried,
            **{name: getattr(row, name) for name in _FACTS},
        )


def _in_doubt(message_id: str, known: Iterable[AnyRow]) -> dict[str, list[DoubtfulCopy]]:
    """By attempt, whose hand-over had no answer."""
    found: dict[str, list[DoubtfulCopy]] = {}
    for row in known:
        if row.state == State.UNKNOWN.value and row.attempt_id is not None:
            copy = DoubtfulCopy(message_id=message_id, recipient=row.recipient)
            found.setdefault(row.attempt_id, []).append(copy)
    return found


def _attempt(row: AnyRow, in_doubt: Iterable[DoubtfulCopy]) -> Attempt:
    return Attempt(
        id=row.id,
        connection=row.connection,
        stage=row.stage,
        outcome=row.outcome or "unknown",
        reason=row.reason,
        text=row.text,
        hint=row.hint,
        recipients=row.recipients,
        ms=row.ms or 0,
        started=from_seconds(row.started),
        in_doubt=tuple(in_doubt),
    )


_FACTS: Final = (
    *("message_id", "recipients", "message", "plan", "key", "only", "durable", "not_before", "expires", "created"),
    *("finished", "tries"),
)
_SEND: Final = (
    sa.select(sends, units.c.state, units.c.not_before, units.c.expires, units.c.tries)
    .join(units, sa.and_(units.c.id == sends.c.unit_id, units.c.tenant == sends.c.tenant))
    .where(sends.c.unit_id == sa.bindparam("unit"), sends.c.tenant == sa.bindparam("tenant"))
)
_OUTCOMES: Final = (
    sa.select(outcomes)
    .where(outcomes.c.unit_id == sa.bindparam("unit"), outcomes.c.tenant == sa.bindparam("tenant"))
    .order_by(outcomes.c.position)
)
_ATTEMPTS: Final = (
    sa.select(attempts)
    .where(attempts.c.unit_id == sa.bindparam("unit"), attempts.c.tenant == sa.bindparam("tenant"))
    .order_by(attempts.c.started, attempts.c.id)
)
