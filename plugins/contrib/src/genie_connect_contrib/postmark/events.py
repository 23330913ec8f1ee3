"""Postmark's webhooks: https://postmarkapp.com/developer/webhooks/webhooks-overview

One object in each, told apart by ``RecordType``. Postmark signs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.inbound import InboundFile
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, file_of_base64, header_pairs, inbound_message, parse_mime
from genie_connect.webhooks.signatures import shared_key, signing_keys, verify_shared

KINDS: Final = {
    "Delivery": Means(EventKind.DELIVERED),
    "Open": Means(EventKind.OPENED),
    "Click": Means(EventKind.CLICKED),
    "SpamComplaint": Means(EventKind.COMPLAINED),
    "Bounce": UNKNOWN,
    "SubscriptionChange": Means(EventKind.UNSUBSCRIBED),
}
_REFUSED: Final = EventKind.REJECTED
# https://postmarkapp.com/developer/api/bounce-api#bounce-types
BOUNCES: Final = {
    "HardBounce": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
    "SoftBounce": Means(EventKind.BOUNCED, bounce=BounceClass.SOFT),
    "Transient": Means(EventKind.DEFERRED, reason=Reason.TEMPORARY),
    "DnsError": Means(EventKind.DEFERRED, reason=Reason.CONNECT),
    "OpenRelayTest": Means(EventKind.DEFERRED, reason=Reason.TEMPORARY),
    "VirusNotification": Means(EventKind.BOUNCED, bounce=BounceClass.BLOCKED, reason=Reason.CONTENT_REJECTED),
    "Blocked": Means(EventKind.BOUNCED, bounce=BounceClass.BLOCKED, reason=Reason.POLICY),
    "DMARCPolicy": Means(EventKind.BOUNCED, bounce=BounceClass.BLOCKED, reason=Reason.POLICY),
    "SpamNotification": Means(EventKind.BOUNCED, bounce=BounceClass.BLOCKED, reason=Reason.CONTENT_REJECTED),
    "Unknown": Means(EventKind.BOUNCED),
    "Undeliverable": Means(EventKind.BOUNCED),
    "AutoResponder": Means(EventKind.AUTORESPONDED),
    "AddressChange": Means(EventKind.AUTORESPONDED),
    "ChallengeVerification": Means(EventKind.AUTORESPONDED),
    "BadEmailAddress": Means(_REFUSED, reason=Reason.RECIPIENT_REJECTED),
    "ManuallyDeactivated": Means(_REFUSED, reason=Reason.SUPPRESSED),
    "Unconfirmed": Means(_REFUSED, reason=Reason.OTHER),
    "SMTPApiError": Means(_REFUSED, reason=Reason.INTERNAL),
    "TemplateRenderingFailed": Means(_REFUSED, reason=Reason.INTERNAL),
    "SpamComplaint": Means(EventKind.COMPLAINED),
    "Unsubscribe": Means(EventKind.UNSUBSCRIBED),
    "Subscribe": Means(EventKind.SUBSCRIBED),
}
"""The field ``Type`` of a bounce. What filters took for spam is about the mail, and no complaint of a person."""
DEACTIVATED: Final = {
    "HardBounce": Means(_REFUSED, reason=Reason.SUPPRESSED),
    "SpamComplaint": Means(EventKind.COMPLAINED),
    "ManualSuppression": Means(EventKind.UNSUBSCRIBED),
}
"""The field ``SuppressionReason`` of a change. The bounce itself comes as an event of its own."""
TIMES: Final = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The event of a webhook that comes with one of the secrets. Raises ``WebhookRejected``, and nothing else."""
    verify_shared(request, signing_keys(secrets, shared_key))

    def read(item: Fields) -> Event:
        # An inbound message has no RecordType.
        inbound = item.word("RecordType") == "Inbound" or ("FromFull" in item.data and "RecordType" not in item.data)
        return _arrived(item, request) if inbound else _event(item)

    return events_of(json_body(request, max_bytes=MAX_INBOUND_BYTES), read, request)


def _event(item: Fields) -> Event:
    record = item.word("RecordType")
    bounced = record == "Bounce"
    number = item.get("ID") if bounced or record == "SpamComplaint" else None
    return item.event(
        _means(item, record),
        id=f"{record}-{number}" if isinstance(number, int) else None,
        time=item.iso(next((name for name in TIMES if item.data.get(name) is not None), "ReceivedAt")),
        recipient=item.address("Email") or item.address("Recipient"),
        provider_id=item.text("MessageID"),
        reply=item.text("Details") or (item.text("Description") if bounced else None),
        url=item.text("OriginalLink"),
        user_agent=item.text("UserAgent"),
        tags=item.texts("Tag") if item.get("Tag") else (),
        metadata=item.metadata("Metadata"),
    )


def _means(item: Fields, record: str) -> Means:
    if record == "Bounce":
        return BOUNCES.get(item.word("Type"), UNKNOWN)
    if record == "SubscriptionChange":
        if item.get("SuppressSending") is False:
            return Means(EventKind.SUBSCRIBED)
        return DEACTIVATED.get(item.word("SuppressionReason"), KINDS[record])
    return KINDS.get(record, UNKNOWN)


def _arrived(item: Fields, request: WebhookRequest) -> Event:
    headers = header_pairs(item.get("Headers"))
    named = {name.lower(): value for name, value in headers}
    raw = item.get("RawEmail")
    more: dict[str, Any] = {
        "envelope_from": named.get("return-path"),
        "envelope_to": [item.text("OriginalRecipient") or ""],
        "reply_text": item.body("StrippedTextReply"),
        "spam": named["x-spam-status"].lower().startswith("yes") if "x-spam-status" in named else None,
        "spam_score": Fields({"score": named.get("x-spam-score")}).number("score"),
    }
    if isinstance(raw, str):
        message = parse_mime(raw.encode("utf-8", "replace"), **more)
    else:
        # These do not stand among the others.
        fields = {name: item.text(name) for name in ("From", "To", "Cc", "Subject", "Date", "ReplyTo")}
        own = {"Reply-To" if name == "ReplyTo" else name: value for name, value in fields.items() if value}
        message = inbound_message(
            (*header_pairs(own), *headers),
            text=item.body("TextBody"),
            html=item.body("HtmlBody"),
            files=_files(item),
            **more,
        )
    return arrived(message, id=f"Inbound-{item.text('MessageID') or item.digest()}", time=request.received_at)


def _files(item: Fields) -> Iterator[InboundFile]:
    for each in item.each("Attachments"):
        yield file_of_base64(
            each.word("Name"), each.get("Content") or each.get("Data"), each.word("ContentType"), each.text("ContentID")
        )
