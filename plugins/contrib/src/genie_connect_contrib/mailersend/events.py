"""MailerSend's webhooks: https://developers.mailersend.com/api/v1/webhooks.html

One event in each, signed over the raw body; so are inbound messages, with the secret of their route.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import MESSAGE_ID, BounceClass, Event, EventKind
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, parse_mime
from genie_connect.webhooks.signatures import raw_key, signing_keys, verify_hmac_hex

_OURS: Final = f"{MESSAGE_ID}:"
KINDS: Final = {
    "sent": Means(EventKind.SENT),
    "delivered": Means(EventKind.DELIVERED),
    "deferred": Means(EventKind.DEFERRED),
    "soft_bounced": Means(EventKind.BOUNCED, bounce=BounceClass.SOFT),
    "hard_bounced": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
    "opened": Means(EventKind.OPENED),
    "clicked": Means(EventKind.CLICKED),
    "unsubscribed": Means(EventKind.UNSUBSCRIBED),
    "spam_complaint": Means(EventKind.COMPLAINED),
}


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The event of a webhook that one of the secrets has signed. Raises ``WebhookRejected``, and nothing else."""
    verify_hmac_hex(request, signing_keys(secrets, raw_key), header="signature")
    return events_of(json_body(request, max_bytes=MAX_INBOUND_BYTES), _event, request)


def _event(item: Fields) -> Event:
    if item.word("type") == "inbound.message":
        return _arrived(item)
    data = item.within("data")
    email, morph = data.within("email"), data.within("morph")
    tags = email.texts("tags")
    word = data.word("type") or item.word("type").removeprefix("activity.")
    return item.event(
        KINDS.get(word.removesuffix("_unique"), UNKNOWN),
        id=data.text("id"),
        time=(item if data.get("created_at") is None else data).iso("created_at"),
        recipient=email.within("recipient").address("email"),
        provider_id=email.within("message").text("id"),
        reply=morph.text("reason") or morph.text("readable_reason"),
        url=morph.text("url"),
        user_agent=morph.text("user_agent"),
        # Our Message-ID stands among the tags.
        message_id=next((tag.removeprefix(_OURS) for tag in tags if tag.startswith(_OURS)), None),
        tags=tuple([tag for tag in tags if not tag.startswith(_OURS)]),
    )


def _arrived(item: Fields) -> Event:
    data = item.within("data")
    recipients = [each.word("email") for each in data.within("recipients").each("rcptTo")]
    raw = (data.body("raw") or "").encode("utf-8", "replace")
    message = parse_mime(raw, envelope_from=data.within("sender").text("email"), envelope_to=recipients)
    return arrived(message, id=data.text("id") or data.digest(), time=data.iso("created_at"))
