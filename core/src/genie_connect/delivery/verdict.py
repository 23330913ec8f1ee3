"""What one attempt comes to: its record, and what its outcomes say of the connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from genie_connect.delivery.connection import Connection
from genie_connect.model.outcome import Outcome, Scope, State
from genie_connect.model.receipt import Attempt, DoubtfulCopy


def attempt_record(
    attempt_id: str,
    connection: Connection,
    outcomes: Sequence[Outcome],
    ms: int,
    started: datetime,
    message_ids: Iterable[str],
) -> Attempt:
    """What a receipt keeps of an attempt that took ``ms`` milliseconds; ``message_ids`` are in the outcomes' order."""
    states = {outcome.state for outcome in outcomes}
    doubtful = _in_doubt(outcomes, message_ids) if State.UNKNOWN in states else ()
    telling = next((outcome for outcome in outcomes if outcome.state is not State.ACCEPTED), outcomes[0])
    stages = {outcome.stage for outcome in outcomes}
    return Attempt(
        id=attempt_id,
        connection=connection.name,
        stage="final" if "final" in stages else telling.stage,
        outcome=states.pop().value if len(states) == 1 else "partial",
        reason=telling.reason,
        text=telling.text if telling.state is not State.ACCEPTED else None,
        hint=telling.hint,
        recipients=len(outcomes),
        ms=ms,
        started=started,
        in_doubt=doubtful,
    )


def _in_doubt(outcomes: Iterable[Outcome], message_ids: Iterable[str]) -> tuple[DoubtfulCopy, ...]:
    return tuple(
        DoubtfulCopy(message_id=message_id, recipient=outcome.recipient)
        for outcome, message_id in zip(outcomes, message_ids, strict=True)
        if outcome.state is State.UNKNOWN
    )


def named(outcomes: Iterable[Outcome], connection: str) -> tuple[Outcome, ...]:
    """The outcomes with the name of the connection, which most connectors have put there already."""
    return tuple(
        [each if each.connection == connection else attrs.evolve(each, connection=connection) for each in outcomes]
    )


def about_connection(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that says most about the connection: a success proves that it works, whatever else went wrong."""
    for outcome in outcomes:
        if outcome.state is State.ACCEPTED:
            return outcome
    return next((outcome for outcome in outcomes if outcome.scope is Scope.CONNECTION), outcomes[0])
