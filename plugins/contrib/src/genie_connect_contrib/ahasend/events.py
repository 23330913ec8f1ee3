"""AhaSend's webhooks and routes: https://ahasend.com/docs/webhooks

One object in each, signed as Standard Webhooks says, with the whole secret as it stands for the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.inbound import InboundFile
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, file_of_base64, header_pairs, inbound_message
from genie_connect.webhooks.signatures import raw_key, signing_keys, verify_standard

# https://ahasend.com/docs/api-reference/webhooks: nothing says why a message failed, only that it did for good.
KINDS: Final = {
    "message.reception": Means(EventKind.QUEUED),
    "message.delivered": Means(EventKind.DELIVERED),
    "message.transient_error": Means(EventKind.DEFERRED, reason=Reason.TEMPORARY),
    "message.failed": Means(EventKind.BOUNCED, bounce=BounceClass.UNDETERMINED),
    "message.bounced": Means(EventKind.BOUNCED, bounce=BounceClass.UNDETERMINED),
    "message.suppressed": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
    "message.opened": Means(EventKind.OPENED),
    "message.clicked": Means(EventKind.CLICKED),
}
"""``message.failed`` comes after failures of any kind, greylisting among them: it proves no bad address."""


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The event of a webhook that one of the secrets has signed. Raises ``WebhookRejected``, and nothing else."""
    webhook_id = verify_standard(request, signing_keys(secrets, raw_key))

    def read(item: Fields) -> Event:
        return _arrived(item) if item.word("type") == "message.routing" else _event(item, webhook_id)

    return events_of(json_body(request, max_bytes=MAX_INBOUND_BYTES), read, request)


def _event(item: Fields, webhook_id: str) -> Event:
    data = item.within("data")
    return item.event(
        KINDS.get(item.word("type"), UNKNOWN),
        id=webhook_id,
        time=item.iso("timestamp"),
        recipient=data.address("recipient"),
        # The answer to a send calls it the message's id; the field id is another one.
        provider_id=(data.text("message_id_header") or "").strip("<>") or None,
        text=data.text("reason"),
        url=data.text("url"),
        user_agent=data.text("user_agent"),
        machine=data.flag("is_bot"),
    )


def _arrived(item: Fields) -> Event:
    data = item.within("data")
    fields = {
        "From": data.text("from"),
        "To": data.text("to"),
        "Cc": data.text("cc"),
        "Reply-To": data.text("reply_to"),
        "Subject": data.text("subject"),
        "Date": data.text("date"),
        "Message-ID": data.text("message_id"),
        "In-Reply-To": data.text("in_reply_to"),
        "References": data.text("references"),
    }
    own = {name: value for name, value in fields.items() if value}
    message = inbound_message(
        (*header_pairs(own), *header_pairs(data.get("headers"))),
        text=data.body("plain_body"),
        html=data.body("html_body"),
        files=_files(data),
        spam_score=data.number("spam_score"),
        reply_text=data.body("reply_from_plain_body"),
    )
    return arrived(message, id=data.text("id") or item.digest(), time=item.iso("timestamp"))


def _files(data: Fields) -> Iterator[InboundFile]:
    for each in data.each("attachments"):
        yield file_of_base64(
            each.word("filename"), each.get("data"), each.word("content_type"), each.text("content_id")
        )
