"""Postal's webhooks and HTTP endpoints: https://docs.postalserver.io/developer/webhooks

One object in each, signed with the key of the installation.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.inbound import InboundFile
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_body
from genie_connect.webhooks.events import UNKNOWN, BadField, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, file_of_base64, header_pairs, inbound_message, parse_mime
from genie_connect.webhooks.signatures import rsa_key, signing_keys, verify_postal

KINDS: Final = {
    "MessageSent": Means(EventKind.DELIVERED),
    "MessageDelayed": Means(EventKind.DEFERRED, reason=Reason.TEMPORARY),
    "MessageDeliveryFailed": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
    "MessageHeld": Means(EventKind.QUEUED),
    "MessageBounced": Means(EventKind.BOUNCED, bounce=BounceClass.UNDETERMINED),
    "MessageLinkClicked": Means(EventKind.CLICKED),
    "MessageLoaded": Means(EventKind.OPENED),
}
"""``MessageBounced`` is a mail that came back: why, stands in it, and not in the event."""


def parse_webhook(keys: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The event of a webhook that one of the keys has signed. Raises ``WebhookRejected``, and nothing else."""
    verify_postal(request, signing_keys(keys, rsa_key))

    def read(item: Fields) -> Event:
        # What an endpoint posts of a route is the message alone.
        return _arrived(item, request) if "event" not in item.data and "rcpt_to" in item.data else _event(item)

    return events_of(json_body(request, max_bytes=MAX_INBOUND_BYTES), read, request)


def _event(item: Fields) -> Event:
    payload, word = item.within("payload"), item.word("event")
    message = payload.within("original_message" if word == "MessageBounced" else "message")
    means = KINDS.get(word, UNKNOWN)
    number = message.whole("id")
    told = means.kind in (EventKind.BOUNCED, EventKind.DEFERRED, EventKind.DELIVERED)
    return item.event(
        means,
        id=item.text("uuid"),
        time=item.seconds("timestamp"),
        recipient=message.address("to"),
        provider_id=None if number is None else str(number),
        text=None if told else payload.text("details"),
        reply=(payload.text("output") or payload.text("details")) if told else None,
        url=payload.text("url"),
        user_agent=payload.text("user_agent"),
        tags=message.texts("tag") if message.get("tag") else (),
    )


def _arrived(item: Fields, request: WebhookRequest) -> Event:
    more: Mapping[str, Any] = {
        "envelope_from": item.text("mail_from"),
        "envelope_to": [item.text("rcpt_to") or ""],
    }
    raw = item.body("message")
    if raw is not None:
        found = parse_mime(_decoded(raw) if item.flag("base64") else raw.encode("utf-8", "surrogateescape"), **more)
    else:
        names = {"From": "from", "To": "to", "Cc": "cc", "Reply-To": "reply_to", "Subject": "subject", "Date": "date"}
        names |= {"In-Reply-To": "in_reply_to", "References": "references"}
        fields = {name: ", ".join(item.texts(field)) for name, field in names.items()}
        ours = item.text("message_id")
        fields["Message-ID"] = f"<{ours.strip('<>')}>" if ours else ""
        found = inbound_message(
            header_pairs({name: value for name, value in fields.items() if value}),
            text=item.body("plain_body"),
            html=item.body("html_body"),
            files=_files(item),
            reply_text=item.body("replies_from_plain_body"),
            spam={"Spam": True, "NotSpam": False}.get(item.word("spam_status")),
            **more,
        )
    number = item.whole("id")
    return arrived(found, id=item.digest() if number is None else f"Inbound-{number}", time=request.received_at)


def _decoded(raw: str) -> bytes:
    try:
        return base64.b64decode(raw)
    except (binascii.Error, ValueError):
        raise BadField("message", "is not base64") from None


def _files(item: Fields) -> Iterator[InboundFile]:
    for each in item.each("attachments"):
        yield file_of_base64(each.word("filename"), each.get("data"), each.word("content_type"))
