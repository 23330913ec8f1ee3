"""Mandrill's webhooks and inbound routes: https://mailchimp.com/developer/transactional/docs/webhooks/

A form with a list of events as JSON in the field ``mandrill_events``, signed together with the URL it is posted to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.inbound import InboundFile
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_text
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import (
    arrived,
    file_named,
    file_of_base64,
    header_pairs,
    inbound_message,
    parse_mime,
)
from genie_connect.webhooks.signatures import raw_key, signing_keys, verify_mandrill

KINDS: Final = {
    "send": Means(EventKind.SENT),
    "deferral": Means(EventKind.DEFERRED),
    "delivered": Means(EventKind.DELIVERED),
    "hard_bounce": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
    "soft_bounce": Means(EventKind.BOUNCED, bounce=BounceClass.SOFT),
    "open": Means(EventKind.OPENED),
    "click": Means(EventKind.CLICKED),
    "spam": Means(EventKind.COMPLAINED),
    "unsub": Means(EventKind.UNSUBSCRIBED),
    "reject": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
}
# https://mailchimp.com/developer/transactional/docs/reputation-rejections/#bounces
REASONS: Final = {
    "bad_mailbox": Reason.RECIPIENT_REJECTED,
    "invalid_domain": Reason.RECIPIENT_REJECTED,
    "mailbox_full": Reason.MAILBOX_FULL,
    "message_too_large": Reason.TOO_LARGE,
    "policy_related": Reason.POLICY,
    "spam": Reason.CONTENT_REJECTED,
    "virus_detected": Reason.CONTENT_REJECTED,
    "other": Reason.OTHER,
}
"""The field ``bounce_description``."""
FIELD: Final = "mandrill_events"


def parse_webhook(secrets: Sequence[Secret | None], url: str | None, request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a webhook that a key has signed for this URL. Raises ``WebhookRejected``, and nothing else."""
    keys = signing_keys(secrets, raw_key)
    if not url:
        raise WebhookRejected("this connection has no URL", hint="set webhook_url to the one that Mandrill was given")
    text = verify_mandrill(request, keys, url=url, max_bytes=MAX_INBOUND_BYTES).get(FIELD)
    if text is None:
        raise WebhookRejected("is not there", status=400, field=FIELD)
    data = json_text(text.encode("utf-8", "surrogatepass"), field=FIELD, max_bytes=MAX_INBOUND_BYTES)

    def read(item: Fields) -> Event:
        return _arrived(item) if item.word("event") == "inbound" else _event(item)

    return events_of(data, read, request)


def _event(item: Fields) -> Event:
    message = item.within("msg")
    means = KINDS.get(item.word("event"), UNKNOWN)
    bounced = means.kind is EventKind.BOUNCED
    said = message.word("bounce_description") if bounced else ""
    # Its _id is the message's, and two events of a message in one second would have the same.
    return item.event(
        means,
        time=item.seconds("ts"),
        recipient=message.address("email") or item.within("reject").address("email"),
        provider_id=message.text("_id") or item.text("_id"),
        bounce=BounceClass.BLOCKED if said in ("policy_related", "spam", "virus_detected") else None,
        reason=REASONS.get(said),
        text=item.within("reject").text("reason"),
        reply=message.text("diag") or _last_reply(message),
        url=item.text("url"),
        user_agent=item.text("user_agent"),
        tags=message.texts("tags"),
        metadata=message.metadata("metadata"),
    )


def _last_reply(message: Fields) -> str | None:
    replies = [each.text("diag") for each in message.each("smtp_events")]
    return replies[-1] if replies else None


def _arrived(item: Fields) -> Event:
    message = item.within("msg")
    score = message.within("spam_report").number("score")
    raw = message.body("raw_msg")
    envelope_to = [message.text("email") or ""]
    if raw is not None:
        found = parse_mime(
            raw.encode("utf-8", "surrogateescape"),
            envelope_from=message.text("sender"),
            envelope_to=envelope_to,
            spam_score=score,
        )
    else:
        found = inbound_message(
            header_pairs(message.get("headers")),
            text=message.body("text"),
            html=message.body("html"),
            files=_files(message),
            envelope_from=message.text("sender"),
            envelope_to=envelope_to,
            spam_score=score,
        )
    return arrived(found, id=item.digest(), time=item.seconds("ts"))


def _files(message: Fields) -> Iterator[InboundFile]:
    for place in ("attachments", "images"):
        for name in message.within(place).data:
            # Names may have dots, which would lead into objects.
            each = Fields(Fields(message.within(place).data).data[name])
            content, inner = each.body("content"), name if place == "images" else None
            if each.flag("base64") or place == "images":
                yield file_of_base64(each.word("name") or name, content, each.word("type"), inner)
            else:
                yield file_named(
                    each.word("name") or name, (content or "").encode("utf-8", "replace"), each.word("type")
                )
