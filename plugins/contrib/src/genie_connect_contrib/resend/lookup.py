"""What became of copies in doubt, by Resend's list of messages.

https://resend.com/docs/api-reference/emails/list-emails, latest first. It can be searched for nothing, so the messages
of that time are read one by one, for the tag that names the copy. How far the list is behind nobody says. So it says of
nobody that nothing was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from genie_connect.api import MESSAGE_ID, ApiState, Entry, items_at, moment_of, outcomes_of, text_at, window_of
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect.model.same import same_mailbox
from genie_connect_contrib.shared import message_id_of

if TYPE_CHECKING:
    from genie_connect_contrib.resend.connector import Resend, ResendSettings

PAGE: Final = 100
MOST_PAGES: Final = 20
MOST_READ: Final = 60
"""Messages that are read in one look-up: Resend takes two requests a second. The next one goes on with the others."""


async def look_up(connector: Resend, state: ApiState[ResendSettings], attempt: Attempt) -> Sequence[Outcome]:
    """Whom Resend took in an attempt."""
    window = window_of(attempt)
    if window is None or not attempt.in_doubt:
        return ()
    entries, after, read = list[Entry](), None, 0
    for _ in range(MOST_PAGES):
        query = {"limit": PAGE} | ({"after": after} if after else {})
        data = await connector.found(state, f"/emails?{urlencode(query)}")
        items = items_at(data, "data")
        for item in items:
            after = text_at(item, "id")
            if after is None or not window.holds(text_at(item, "created_at")) or not _may_be(item, attempt):
                continue
            read += 1
            entries += _entries(item if "tags" in item else await connector.found(state, f"/emails/{after}"))
            if read == MOST_READ:
                return outcomes_of(attempt, entries)
        oldest = moment_of(text_at(items[-1], "created_at")) if items else None
        if after is None or oldest is None or oldest < window.begin or data.get("has_more") is not True:
            break
    return outcomes_of(attempt, entries)


def _may_be(item: Any, attempt: Attempt) -> bool:
    to = _recipients(item)
    return any(same_mailbox(email, copy.recipient) for email in to for copy in attempt.in_doubt)


def _entries(item: Any) -> list[Entry]:
    tags = items_at(item, "tags")
    tag = next((text_at(each, "value") for each in tags if text_at(each, "name") == MESSAGE_ID), None)
    message_id = None if tag is None else message_id_of(tag)
    if message_id is None:
        return []
    provider_id = text_at(item, "id")
    return [Entry(recipient=email, message_id=message_id, provider_id=provider_id) for email in _recipients(item)]


def _recipients(item: Any) -> list[str]:
    given = [text for name in ("to", "cc", "bcc") for text in items_at(item, name) if isinstance(text, str)]
    return [parseaddr(text)[1] for text in given]
