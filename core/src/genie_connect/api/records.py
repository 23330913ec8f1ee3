"""What a provider's own records say of copies in doubt: for look-ups.

::

    entries = [Entry(recipient=item["to"], message_id=item["meta"].get(MESSAGE_ID)) for item in found]
    return outcomes_of(attempt, entries)

An entry counts where it carries what only that copy can have. Whom no entry names stays in doubt: every record lags
behind what the provider took, so that there is none proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import attrs

from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.receipt import Attempt
from genie_connect.model.same import bracketed, same_mailbox

BEFORE: Final = timedelta(minutes=2)
"""How far a provider's clock may be behind ours."""
AFTER: Final = timedelta(minutes=30)
"""How long after the beginning of an attempt its copies may stand in a record: a time-out, and the clocks once more."""


class Window(NamedTuple):
    """The time in which the record of an attempt lies."""

    begin: datetime
    end: datetime

    def holds(self, moment: str | None) -> bool:
        """Whether a time in ISO 8601 lies in it; one that is none does not."""
        found = moment_of(moment)
        return found is not None and self.begin <= found <= self.end


@attrs.frozen(kw_only=True)
class Entry:
    """One entry of a record, with our Message-ID or the attempt's id where it carries them.

    ``refused`` says that the provider did not send it, and ``text`` why.
    """

    recipient: str | None
    message_id: str | None = None
    attempt_id: str | None = None
    provider_id: str | None = None
    refused: bool = False
    text: str | None = None


def window_of(attempt: Attempt) -> Window | None:
    """Where to look; ``None`` for an attempt of which nobody knows when it began."""
    if attempt.started is None:
        return None
    return Window(attempt.started - BEFORE, attempt.started + AFTER)


def moment_of(text: str | None) -> datetime | None:
    """A time in ISO 8601; without a zone it is in UTC."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def items_at(data: Any, name: str) -> list[Any]:
    """The list under a name in JSON that somebody else wrote; an empty one where there is none."""
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, list) else []


def outcomes_of(attempt: Attempt, entries: Iterable[Entry]) -> list[Outcome]:
    """The outcomes of the copies in doubt that the entries speak of. One that was taken was, whatever came later."""
    by_id: dict[str | None, list[Entry]] = {}
    of_attempt: list[Entry] = []
    for entry in entries:
        if entry.message_id is not None:
            by_id.setdefault(bracketed(entry.message_id), []).append(entry)
        elif entry.attempt_id == attempt.id:
            of_attempt.append(entry)
    found: list[Outcome] = []
    for copy in attempt.in_doubt:
        about = [
            entry
            for entry in (*by_id.get(bracketed(copy.message_id), ()), *of_attempt)
            if entry.recipient is not None and same_mailbox(entry.recipient, copy.recipient)
        ]
        if about:
            found.append(_outcome(copy.recipient, min(about, key=lambda entry: entry.refused)))
    return found


def _outcome(recipient: str, entry: Entry) -> Outcome:
    if not entry.refused:
        return Outcome(recipient=recipient, state=State.ACCEPTED, stage="final", provider_id=entry.provider_id)
    return Outcome(
        recipient=recipient,
        state=State.REJECTED,
        stage="final",
        reason="permanent",
        text=entry.text,
        scope=Scope.RECIPIENT,
        retry=Retry.NEVER,
        provider_id=entry.provider_id,
    )
