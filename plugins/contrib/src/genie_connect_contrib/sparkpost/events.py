"""SparkPost's webhooks and relay webhooks.

https://developers.sparkpost.com/api/webhooks/ and https://developers.sparkpost.com/api/relay-webhooks/

A list of objects, each ``{"msys": {"<class>_event": {"type": ...}}}``. SparkPost signs nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, header_pairs, inbound_message, parse_mime
from genie_connect.webhooks.signatures import shared_key, signing_keys, verify_shared

_OPENED: Final = Means(EventKind.OPENED)
KINDS: Final = {
    "injection": Means(EventKind.QUEUED),
    "delivery": Means(EventKind.DELIVERED),
    "delay": Means(EventKind.DEFERRED),
    "bounce": Means(EventKind.BOUNCED),
    "out_of_band": Means(EventKind.BOUNCED),
    "policy_rejection": Means(EventKind.REJECTED, reason=Reason.OTHER),
    "generation_failure": Means(EventKind.REJECTED, reason=Reason.INTERNAL),
    "generation_rejection": Means(EventKind.REJECTED, reason=Reason.OTHER),
    "spam_complaint": Means(EventKind.COMPLAINED),
    "open": _OPENED,
    "initial_open": _OPENED,
    "amp_open": _OPENED,
    "amp_initial_open": _OPENED,
    "click": Means(EventKind.CLICKED),
    "amp_click": Means(EventKind.CLICKED),
    "list_unsubscribe": Means(EventKind.UNSUBSCRIBED),
    "link_unsubscribe": Means(EventKind.UNSUBSCRIBED),
}
_HARD, _SOFT, _BLOCKED = BounceClass.HARD, BounceClass.SOFT, BounceClass.BLOCKED
# https://support.sparkpost.com/docs/deliverability/bounce-classification-codes
CLASSES: Final = {
    "1": Means(EventKind.BOUNCED),
    "10": Means(EventKind.BOUNCED, bounce=_HARD, reason=Reason.RECIPIENT_REJECTED),
    "20": Means(EventKind.BOUNCED, bounce=_SOFT, reason=Reason.TEMPORARY),
    "21": Means(EventKind.BOUNCED, bounce=_SOFT, reason=Reason.CONNECT),
    "22": Means(EventKind.BOUNCED, bounce=_SOFT, reason=Reason.MAILBOX_FULL),
    "23": Means(EventKind.BOUNCED, bounce=_SOFT, reason=Reason.TOO_LARGE),
    "24": Means(EventKind.BOUNCED, bounce=_SOFT, reason=Reason.EXPIRED),
    "25": Means(EventKind.REJECTED, reason=Reason.OTHER),
    "26": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
    "30": Means(EventKind.BOUNCED, bounce=_HARD, reason=Reason.RECIPIENT_REJECTED),
    "40": Means(EventKind.BOUNCED, bounce=_SOFT, reason=Reason.OTHER),
    "50": Means(EventKind.BOUNCED, bounce=_BLOCKED, reason=Reason.POLICY),
    "51": Means(EventKind.BOUNCED, bounce=_BLOCKED, reason=Reason.POLICY),
    "52": Means(EventKind.BOUNCED, bounce=_BLOCKED, reason=Reason.CONTENT_REJECTED),
    "53": Means(EventKind.BOUNCED, bounce=_BLOCKED, reason=Reason.CONTENT_REJECTED),
    "54": Means(EventKind.BOUNCED, bounce=_BLOCKED, reason=Reason.POLICY),
    "60": Means(EventKind.AUTORESPONDED),
    "70": Means(EventKind.BOUNCED, bounce=_SOFT, reason=Reason.TEMPORARY),
    "80": Means(EventKind.SUBSCRIBED),
    "90": Means(EventKind.UNSUBSCRIBED),
    "100": Means(EventKind.AUTORESPONDED),
}
"""The field ``bounce_class`` of a bounce. 25 and 26 are SparkPost's own doing, and no server was asked."""


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a batch that comes with one of the secrets. Raises ``WebhookRejected``, and nothing else."""
    verify_shared(request, signing_keys(secrets, shared_key))

    def read(item: Fields) -> Event | None:
        envelope = item.within("msys")
        if envelope.data.get("relay_message") is not None:
            return _arrived(envelope.within("relay_message"), request)
        # A batch of one empty envelope is how SparkPost tries a new webhook.
        name = next(iter(envelope.data), None) if "msys" in item.data else ""
        return None if name is None else _event(item, envelope.within(name) if name else envelope)

    return events_of(json_body(request, max_bytes=MAX_INBOUND_BYTES), read, request)


def _event(item: Fields, about: Fields) -> Event:
    word = about.word("type")
    means = KINDS.get(word, UNKNOWN)
    number = about.whole("bounce_class")
    if means.kind is EventKind.BOUNCED and number is not None:
        means = CLASSES.get(str(number), means)
    deferred = means.kind is EventKind.DEFERRED
    return item.event(
        means,
        id=about.text("event_id"),
        time=about.seconds("timestamp"),
        recipient=about.address("raw_rcpt_to") or about.address("rcpt_to"),
        provider_id=about.text("transmission_id"),
        reason=Reason.TEMPORARY if deferred else None,
        code=_code(about) if means.kind in (EventKind.BOUNCED, EventKind.DEFERRED) else None,
        reply=about.text("raw_reason") or about.text("reason"),
        url=about.text("target_link_url"),
        user_agent=about.text("user_agent"),
        machine=about.within("user_agent_parsed").flag("is_proxy") or about.flag("is_prefetched"),
        tags=about.texts("campaign_id") if about.get("campaign_id") else (),
        metadata=about.metadata("rcpt_meta"),
    )


def _code(about: Fields) -> int | None:
    code = about.whole("error_code")
    return code if code is not None and 400 <= code < 600 else None


def _arrived(relay: Fields, request: WebhookRequest) -> Event:
    content = relay.within("content")
    envelope_from, envelope_to = relay.text("msg_from"), [relay.text("rcpt_to") or ""]
    raw = content.body("email_rfc822")
    if raw is None:
        pairs = [pair for each in content.each("headers") for pair in header_pairs(each.data)]
        message = inbound_message(
            pairs,
            text=content.body("text"),
            html=content.body("html"),
            envelope_from=envelope_from,
            envelope_to=envelope_to,
        )
    else:
        encoded = content.flag("email_rfc822_is_base64")
        mail = base64.b64decode(raw) if encoded else raw.encode("utf-8", "surrogateescape")
        message = parse_mime(mail, envelope_from=envelope_from, envelope_to=envelope_to)
    return arrived(message, id=relay.digest(), time=request.received_at)
