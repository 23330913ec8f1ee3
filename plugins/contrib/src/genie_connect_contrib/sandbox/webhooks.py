"""The sandbox provider's webhooks: verified over the raw bytes, then read event by event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, chosen_reason, events_of
from genie_connect.webhooks.signatures import signing_key, signing_keys, verify_standard

KINDS: Final = {
    "delivered": Means(EventKind.DELIVERED),
    "deferred": Means(EventKind.DEFERRED),
    "bounced": Means(EventKind.BOUNCED),
    "complained": Means(EventKind.COMPLAINED),
    "opened": Means(EventKind.OPENED),
    "clicked": Means(EventKind.CLICKED),
    "unsubscribed": Means(EventKind.UNSUBSCRIBED),
}
"""The provider's types of event; any other is kept as ``unknown``."""

BOUNCES: Final = {"hard": BounceClass.HARD, "soft": BounceClass.SOFT, "blocked": BounceClass.BLOCKED}
REASONS: Final = {
    "no_mailbox": Reason.RECIPIENT_REJECTED,
    "mailbox_full": Reason.MAILBOX_FULL,
    "blocked": Reason.POLICY,
    "spam": Reason.CONTENT_REJECTED,
    "too_large": Reason.TOO_LARGE,
    "throttled": Reason.THROTTLED,
}


def parse_webhook(secrets: Iterable[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a webhook that one of the secrets has signed, each by itself: a bad one is ``unknown``.

    Raises ``WebhookRejected``, and nothing else.
    """
    verify_standard(request, signing_keys(secrets, signing_key))
    data = json_body(request)
    events = data.get("events") if isinstance(data, dict) else None
    if not isinstance(events, list):
        raise WebhookRejected("it has no list of events", status=400, field="events")
    return events_of(events, _event, request)


def _event(item: Fields) -> Event:
    return item.event(
        KINDS.get(item.word("type"), UNKNOWN),
        id=item.text("id"),
        time=item.iso("time"),
        recipient=item.address("recipient"),
        message_id=item.text("message_id"),
        provider_id=item.text("provider_id"),
        bounce=BOUNCES.get(item.word("bounce")),
        reason=chosen_reason(item.word("reason"), REASONS),
        code=item.whole("code"),
        enhanced=item.text("enhanced"),
        text=item.text("text"),
        url=item.text("url"),
        user_agent=item.text("user_agent"),
        machine=item.flag("machine"),
        tags=item.texts("tags"),
        metadata=item.metadata("metadata"),
    )
