"""Mailtrap's webhooks: https://docs.mailtrap.io/email-api-smtp/advanced/webhooks

Signed over the raw body. Several events in each, as an object with a list or one on each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import json_body, json_text, plain_body
from genie_connect.webhooks.events import MAX_EVENTS, UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.signatures import raw_key, signing_keys, verify_hmac_hex

SIGNATURE: Final = "mailtrap-signature"
KINDS: Final = {
    "delivery": Means(EventKind.DELIVERED),
    "open": Means(EventKind.OPENED),
    "click": Means(EventKind.CLICKED),
    "bounce": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
    "soft bounce": Means(EventKind.BOUNCED, bounce=BounceClass.SOFT),
    "spam": Means(EventKind.COMPLAINED),
    "spam_complaint": Means(EventKind.COMPLAINED),
    "unsubscribe": Means(EventKind.UNSUBSCRIBED),
    "suspension": Means(EventKind.REJECTED, reason=Reason.OTHER),
    "reject": Means(EventKind.REJECTED, reason=Reason.OTHER),
}
CATEGORIES: Final = {
    "invalid_recipient": Reason.RECIPIENT_REJECTED,
    "badmailbox": Reason.RECIPIENT_REJECTED,
    "baddomain": Reason.RECIPIENT_REJECTED,
    "mailboxfull": Reason.MAILBOX_FULL,
    "spam": Reason.CONTENT_REJECTED,
    "policy": Reason.POLICY,
}
"""The field ``bounce_category``, as far as examples show it; believed, as is what the words mean."""


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a webhook that one of the secrets has signed. Raises ``WebhookRejected``, and nothing else."""
    verify_hmac_hex(request, signing_keys(secrets, raw_key), header=SIGNATURE)
    if "jsonlines" in request.headers.get("content-type", "") or "ndjson" in request.headers.get("content-type", ""):
        return events_of(_lines(plain_body(request)), _event, request)
    data = json_body(request)
    return events_of(data.get("events") if isinstance(data, dict) else None, _event, request)


def _lines(raw: bytes) -> list[Any]:
    found: list[Any] = []
    for line in raw.splitlines()[: MAX_EVENTS + 1]:
        try:
            found.append(json_text(line, field="body"))
        except WebhookRejected:
            found.append(line.decode("utf-8", "replace"))
    return found


def _event(item: Fields) -> Event:
    means = KINDS.get(item.word("event").replace("soft_", "soft "), UNKNOWN)
    custom = item.metadata("custom_variables")
    category = item.text("category")
    return item.event(
        means,
        id=item.text("event_id"),
        time=item.seconds("timestamp"),
        recipient=item.address("email"),
        provider_id=item.text("message_id"),
        reason=CATEGORIES.get(item.word("bounce_category")),
        code=item.whole("response_code"),
        text=item.text("reason"),
        reply=item.text("response"),
        url=item.text("url"),
        user_agent=item.text("user_agent"),
        tags=(category,) if category else (),
        metadata=custom,
    )
