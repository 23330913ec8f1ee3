"""What became of copies in doubt, by Mailgun's events.

https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/events: kept for three days or more, by plan,
and complete some time later: Mailgun advises half an hour. So that nothing was sent it says of those alone whom an
event says Mailgun refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from genie_connect.api import MESSAGE_ID, ApiState, Entry, items_at, outcomes_of, text_at, window_of
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt

if TYPE_CHECKING:
    from genie_connect_contrib.mailgun.connector import Mailgun, MailgunSettings

PAGE: Final = 300
MOST_PAGES: Final = 20
_NEXT: Final = re.compile(r"/events/([A-Za-z0-9_=%-]+)\Z")


async def look_up(connector: Mailgun, state: ApiState[MailgunSettings], attempt: Attempt) -> Sequence[Outcome]:
    """Whom Mailgun took in an attempt, or refused afterwards."""
    window = window_of(attempt)
    if window is None or not attempt.in_doubt:
        return ()
    query = {
        "begin": int(window.begin.timestamp()),
        "end": int(window.end.timestamp()),
        "ascending": "yes",
        "limit": PAGE,
        "event": "accepted OR rejected",
    }
    if len(attempt.in_doubt) == 1:
        query["recipient"] = attempt.in_doubt[0].recipient
    base = f"/v3/{state.settings.domain}/events"
    path, entries = f"{base}?{urlencode(query)}", list[Entry]()
    for _ in range(MOST_PAGES):
        data = await connector.found(state, path)
        items = items_at(data, "items")
        entries += [_entry(item) for item in items]
        after = _NEXT.search(text_at(data, "paging", "next") or "")
        if not items or after is None or len(outcomes_of(attempt, entries)) == len(attempt.in_doubt):
            break
        # The link is whole, and our key is for our own base URL alone.
        path = f"{base}/{after[1]}"
    return outcomes_of(attempt, entries)


def _entry(item: Any) -> Entry:
    provider_id = text_at(item, "message", "headers", "message-id")
    return Entry(
        recipient=text_at(item, "recipient"),
        message_id=text_at(item, "user-variables", MESSAGE_ID),
        provider_id=None if provider_id is None else provider_id.strip("<>"),
        refused=text_at(item, "event") == "rejected",
        text=text_at(item, "reject", "reason"),
    )
