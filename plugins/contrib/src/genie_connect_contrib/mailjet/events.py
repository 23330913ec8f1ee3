"""Mailjet's event API and Parse API.

https://dev.mailjet.com/email/guides/webhooks/
https://dev.mailjet.com/email/guides/parse-api/

One event in each, or a list of them where they are grouped. Mailjet signs nothing and gives no ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import ATTEMPT, BounceClass, Event, EventKind, Reason
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.inbound import InboundFile
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import (
    arrived,
    file_of_base64,
    header_pairs,
    inbound_message,
    parsed_mime,
)
from genie_connect.webhooks.signatures import shared_key, signing_keys, verify_shared

KINDS: Final = {
    "sent": Means(EventKind.DELIVERED),  # the receiving server has taken it
    "open": Means(EventKind.OPENED),
    "click": Means(EventKind.CLICKED),
    "bounce": Means(EventKind.BOUNCED),
    "blocked": Means(EventKind.REJECTED),
    "spam": Means(EventKind.COMPLAINED),
    "unsub": Means(EventKind.UNSUBSCRIBED),
}
# https://dev.mailjet.com/email/guides/webhooks/#possible-values-for-errors
ERRORS: Final = {
    "user unknown": Reason.RECIPIENT_REJECTED,
    "mailbox inactive": Reason.RECIPIENT_REJECTED,
    "quota exceeded": Reason.MAILBOX_FULL,
    "blacklisted": Reason.SUPPRESSED,
    "spam reporter": Reason.SUPPRESSED,
    "invalid domain": Reason.RECIPIENT_REJECTED,
    "no mail host": Reason.RECIPIENT_REJECTED,
    "relay/access denied": Reason.POLICY,
    "greylisted": Reason.GREYLISTED,
    "typofix": Reason.RECIPIENT_REJECTED,
    "sender blocked": Reason.POLICY,
    "content blocked": Reason.CONTENT_REJECTED,
    "policy issue": Reason.POLICY,
    "system issue": Reason.TEMPORARY,
    "protocol issue": Reason.PROTOCOL,
    "connection issue": Reason.CONNECT,
    "preblocked": Reason.SUPPRESSED,
    "duplicate in campaign": Reason.OTHER,
}
_US: Final = frozenset({Reason.POLICY, Reason.CONTENT_REJECTED})


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a webhook that comes with one of the secrets. Raises ``WebhookRejected``, and nothing else."""
    verify_shared(request, signing_keys(secrets, shared_key))

    def read(item: Fields) -> Event:
        return _arrived(item, request) if "Headers" in item.data else _event(item)

    return events_of(json_body(request, max_bytes=MAX_INBOUND_BYTES), read, request)


def _event(item: Fields) -> Event:
    error = item.word("error")
    reason = ERRORS.get(error, Reason.OTHER) if error else None
    means = KINDS.get(item.word("event"), UNKNOWN)
    if error == "greylisted" and not item.flag("hard_bounce"):
        means = Means(EventKind.DEFERRED)
    hard = BounceClass.HARD if item.flag("hard_bounce") else BounceClass.SOFT
    number = item.get("MessageID")
    campaign = item.text("customcampaign")
    return item.event(
        means,
        time=item.seconds("time"),
        recipient=item.address("email"),
        provider_id=str(number) if isinstance(number, int | str) and number else None,
        bounce=BounceClass.BLOCKED if reason in _US else hard,
        reason=reason,
        text=item.text("comment"),
        reply=item.text("smtp_reply") or item.text("comment") or None,
        url=item.text("url"),
        user_agent=item.text("agent"),
        tags=(campaign,) if campaign else (),
        metadata=_metadata(item),
    )


def _metadata(item: Fields) -> FrozenMap[str]:
    attempt = item.text("CustomID")
    found = {ATTEMPT: attempt} if attempt else {}
    try:
        payload = json.loads(item.word("Payload") or "null")
    except (ValueError, RecursionError):
        payload = None  # of a message that somebody else sent by this account
    told = Fields({"Payload": payload}).metadata("Payload") if isinstance(payload, dict) else EMPTY
    return FrozenMap({**told, **found})


def _arrived(item: Fields, request: WebhookRequest) -> Event:
    score = item.get("SpamAssassinScore")
    message = inbound_message(
        header_pairs(item.get("Headers")),
        text=item.body("Text-part"),
        html=item.body("Html-part"),
        files=_files(item),
        envelope_from=item.text("Sender"),
        envelope_to=[item.word("Recipient")],
        spam_score=None if score is None else item.number("SpamAssassinScore"),
    )
    return arrived(message, id=item.digest(), time=request.received_at)


def _files(item: Fields) -> Iterator[InboundFile]:
    for part in item.each("Parts"):
        reference = part.word("ContentRef")
        if "Attachment" not in reference:
            continue
        lines = "".join([f"{name}: {value}\n" for name, value in header_pairs(part.get("Headers"))])
        head = parsed_mime(lines.encode("utf-8", "replace") + b"\n")
        content_id = head.get("Content-ID")
        yield file_of_base64(
            str(head.get_filename("")), item.get(reference), head.get_content_type(), str(content_id or "") or None
        )
