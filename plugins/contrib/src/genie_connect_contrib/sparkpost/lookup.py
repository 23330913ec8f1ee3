"""What became of copies in doubt, by SparkPost's events.

https://developers.sparkpost.com/api/events/: kept for ten days, and searched up to a minute ago. How far behind they
can be nobody says. So that nothing was sent it says of those alone whom an event says SparkPost refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from genie_connect.api import MESSAGE_ID, ApiState, Entry, items_at, outcomes_of, text_at, window_of
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt

if TYPE_CHECKING:
    from genie_connect_contrib.sparkpost.connector import SparkPost, SparkPostSettings

REFUSED: Final = frozenset({"policy_rejection", "generation_failure", "generation_rejection"})
EVENTS: Final = ("injection", "delivery", "delay", "bounce", *sorted(REFUSED))
PAGE: Final = 10_000
MOST_PAGES: Final = 5
MOST_URI: Final = 3000
"""Characters of addresses in one request: a whole URI may have 4,096."""


async def look_up(connector: SparkPost, state: ApiState[SparkPostSettings], attempt: Attempt) -> Sequence[Outcome]:
    """Whom SparkPost took in an attempt, or refused afterwards."""
    window = window_of(attempt)
    if window is None:
        return ()
    entries = list[Entry]()
    for recipients in _groups(attempt):
        query = {
            "from": f"{window.begin.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "events": ",".join(EVENTS),
            "recipients": recipients,
            "per_page": str(PAGE),
        }
        for _ in range(MOST_PAGES):
            data = await connector.found(state, f"/events/message?{urlencode(query)}")
            entries += [_entry(item) for item in items_at(data, "results")]
            cursor = parse_qs(urlsplit(text_at(data, "links", "next") or "").query).get("cursor")
            if not cursor:
                break
            query["cursor"] = cursor[0]
    return outcomes_of(attempt, entries)


def _groups(attempt: Attempt) -> Iterator[str]:
    """The addresses in doubt, as many at a time as a request has room for."""
    group, length = list[str](), 0
    for email in dict.fromkeys(copy.recipient for copy in attempt.in_doubt if "," not in copy.recipient):
        room = len(urlencode({"": email})) + 2
        if group and length + room > MOST_URI:
            yield ",".join(group)
            group, length = [], 0
        group.append(email)
        length += room
    if group:
        yield ",".join(group)


def _entry(item: Any) -> Entry:
    return Entry(
        recipient=text_at(item, "raw_rcpt_to") or text_at(item, "rcpt_to"),
        message_id=text_at(item, "rcpt_meta", MESSAGE_ID),
        provider_id=text_at(item, "transmission_id"),
        refused=text_at(item, "type") in REFUSED,
        text=text_at(item, "reason"),
    )
