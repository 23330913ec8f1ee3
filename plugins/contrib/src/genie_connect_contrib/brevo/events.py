"""Brevo's webhooks.

https://developers.brevo.com/docs/transactional-webhooks
https://developers.brevo.com/docs/inbound-parse-webhooks

One event in each, or a list of them; inbound messages under ``items``. Brevo signs nothing and gives no ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, header_pairs, inbound_message
from genie_connect.webhooks.signatures import shared_key, signing_keys, verify_shared
from genie_connect_contrib.brevo.lookup import attempt_of

METADATA: Final = "X-Mailin-custom"
_OPENED: Final = Means(EventKind.OPENED)
_LOADED: Final = Means(EventKind.OPENED, machine=True)
KINDS: Final = {
    "request": Means(EventKind.QUEUED),
    "sent": Means(EventKind.SENT),
    "delivered": Means(EventKind.DELIVERED),
    "deferred": Means(EventKind.DEFERRED),
    "soft_bounce": Means(EventKind.BOUNCED, bounce=BounceClass.SOFT),
    "hard_bounce": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
    "invalid_email": Means(EventKind.BOUNCED, bounce=BounceClass.HARD, reason=Reason.RECIPIENT_REJECTED),
    "blocked": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
    "error": Means(EventKind.REJECTED, reason=Reason.INTERNAL),
    "spam": Means(EventKind.COMPLAINED),
    "complaint": Means(EventKind.COMPLAINED),
    "opened": _OPENED,
    "unique_opened": _OPENED,
    "proxy_open": _LOADED,
    "unique_proxy_open": _LOADED,
    "click": Means(EventKind.CLICKED),
    "unsubscribe": Means(EventKind.UNSUBSCRIBED),
    "unsubscribed": Means(EventKind.UNSUBSCRIBED),
    "list_addition": Means(EventKind.SUBSCRIBED),
}


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a webhook that comes with one of the secrets. Raises ``WebhookRejected``, and nothing else."""
    verify_shared(request, signing_keys(secrets, shared_key))
    data = json_body(request, max_bytes=MAX_INBOUND_BYTES)
    if isinstance(data, dict) and "items" in data:
        return events_of(data["items"], lambda item: _arrived(item, request), request)
    return events_of(data, _event, request)


def _event(item: Fields) -> Event:
    given = item.texts("tags") or item.texts("tag")
    # All other times are in the time zone of the account.
    epoch = "ts_epoch" if item.get("ts_epoch") is not None else "ts_event"
    return item.event(
        KINDS.get(item.word("event"), UNKNOWN),
        time=item.seconds(epoch, per_second=1000 if epoch == "ts_epoch" else 1),
        recipient=item.address("email"),
        provider_id=item.text("message-id"),
        reply=item.text("reason"),
        url=item.text("link"),
        user_agent=item.text("user_agent"),
        tags=tuple([tag for tag in given if attempt_of(tag) is None]),
        metadata=_metadata(item),
    )


def _metadata(item: Fields) -> FrozenMap[str]:
    try:
        custom = json.loads(item.word(METADATA) or "null")
    except (ValueError, RecursionError):
        # Somebody else's header field of this name holds what they like.
        return EMPTY
    return Fields({METADATA: custom}).metadata(METADATA) if isinstance(custom, dict) else EMPTY


def _arrived(item: Fields, request: WebhookRequest) -> Event:
    """The files of a message have to be fetched, by the tokens that the event does not keep."""
    headers = header_pairs(item.get("Headers"))
    named = {name.lower(): value for name, value in headers}
    recipients = item.get("Recipients")
    message = inbound_message(
        headers,
        text=item.body("RawTextBody"),
        html=item.body("RawHtmlBody"),
        envelope_from=named.get("return-path"),
        envelope_to=item.texts("Recipients") if recipients else [named.get("delivered-to", "")],
        reply_text=item.body("ExtractedMarkdownMessage"),
        spam_score=item.number("SpamScore"),
    )
    ids = item.texts("Uuid")
    return arrived(message, id=ids[0] if ids else item.digest(), time=request.received_at)
