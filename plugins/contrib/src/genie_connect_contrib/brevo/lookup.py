"""What became of copies in doubt, by Brevo's report of events.

https://developers.brevo.com/reference/get-email-event-report. It knows neither our Message-ID nor our metadata, so the
attempt has to be a tag. How far the report is behind nobody says. So that nothing was sent it says of those alone whom
an event says Brevo refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from genie_connect.api import ApiState, Entry, items_at, outcomes_of, text_at, window_of
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt

if TYPE_CHECKING:
    from genie_connect_contrib.brevo.connector import Brevo, BrevoSettings

PAGE: Final = 2500
MOST_PAGES: Final = 4
REFUSED: Final = frozenset({"blocked", "invalid", "error"})
_DAY: Final = timedelta(days=1)
_TAG: Final = re.compile(r"genie-attempt-([0-9a-z]{1,64})\Z")


def tag_of(attempt_id: str) -> str:
    """The tag of an attempt."""
    return f"genie-attempt-{attempt_id}"


def attempt_of(tag: str) -> str | None:
    """The attempt that a tag names; ``None`` for any other tag."""
    found = _TAG.match(tag)
    return None if found is None else found[1]


async def look_up(connector: Brevo, state: ApiState[BrevoSettings], attempt: Attempt) -> Sequence[Outcome]:
    """Whom Brevo took in an attempt, or refused afterwards."""
    window = window_of(attempt)
    if window is None or not state.settings.tag_attempts:
        return ()
    entries = list[Entry]()
    for page in range(MOST_PAGES):
        query = {
            "limit": PAGE,
            "offset": page * PAGE,
            # Days of the account's own time zone.
            "startDate": f"{window.begin - _DAY:%Y-%m-%d}",
            "endDate": f"{window.end + _DAY:%Y-%m-%d}",
            # Believed: "serialized" means JSON.
            "tags": json.dumps([tag_of(attempt.id)]),
        }
        items = items_at(await connector.found(state, f"/smtp/statistics/events?{urlencode(query)}"), "events")
        entries += [_entry(item, attempt) for item in items]
        if len(items) < PAGE:
            break
    return outcomes_of(attempt, entries)


def _entry(item: Any, attempt: Attempt) -> Entry:
    return Entry(
        recipient=text_at(item, "email"),
        # Several tags come as one text.
        attempt_id=attempt.id if tag_of(attempt.id) in (text_at(item, "tag") or "") else None,
        provider_id=text_at(item, "messageId"),
        refused=text_at(item, "event") in REFUSED,
        text=text_at(item, "reason"),
    )
