"""Resend's webhooks: https://resend.com/docs/dashboard/webhooks/event-types

One object in each, signed by Svix. An event names everybody in To, and not whom of them it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import MESSAGE_ID, BounceClass, Event, EventKind, Reason
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, header_pairs, inbound_message
from genie_connect.webhooks.signatures import SVIX_HEADERS, signing_key, signing_keys, verify_standard
from genie_connect_contrib.shared import message_id_of, tags_and_metadata

KINDS: Final = {
    "email.scheduled": Means(EventKind.QUEUED),
    "email.sent": Means(EventKind.SENT),
    "email.delivered": Means(EventKind.DELIVERED),
    "email.delivery_delayed": Means(EventKind.DEFERRED),
    "email.bounced": Means(EventKind.BOUNCED),
    "email.complained": Means(EventKind.COMPLAINED),
    "email.opened": Means(EventKind.OPENED),
    "email.clicked": Means(EventKind.CLICKED),
    "email.failed": Means(EventKind.REJECTED, reason=Reason.OTHER),
    "email.suppressed": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
}
BOUNCES: Final = {"Permanent": BounceClass.HARD, "Transient": BounceClass.SOFT}
REASONS: Final = {
    "NoEmail": Reason.RECIPIENT_REJECTED,
    "MailboxFull": Reason.MAILBOX_FULL,
    "MessageTooLarge": Reason.TOO_LARGE,
    "ContentRejected": Reason.CONTENT_REJECTED,
    "AttachmentRejected": Reason.CONTENT_REJECTED,
}
_MORE: Final = frozenset({"bounce", "failed", "suppressed", "click"})
FAILED: Final = {"reached_daily_quota": Reason.THROTTLED, "reached_monthly_quota": Reason.THROTTLED}


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The event of a webhook that one of the secrets has signed. Raises ``WebhookRejected``, and nothing else."""
    webhook_id = verify_standard(request, signing_keys(secrets, signing_key), names=SVIX_HEADERS)

    def read(item: Fields) -> Event:
        return _arrived(item, webhook_id) if item.word("type") == "email.received" else _event(item, webhook_id)

    return events_of(json_body(request), read, request)


def _event(item: Fields, webhook_id: str) -> Event:
    data = item.within("data")
    given = dict(data.metadata("tags").items())
    message_id = message_id_of(given.pop(MESSAGE_ID, ""))
    tags, metadata = tags_and_metadata(given)
    to = data.texts("to")
    return item.event(
        KINDS.get(item.word("type"), UNKNOWN),
        id=webhook_id,
        time=item.iso("created_at"),
        recipient=Fields({"to": to[0]}).address("to") if len(to) == 1 else None,
        message_id=message_id,
        provider_id=data.text("email_id"),
        tags=tags,
        metadata=metadata,
        **(_more(data) if not _MORE.isdisjoint(data.data) else {}),
    )


def _more(data: Fields) -> dict[str, Any]:
    """What events of some types hold beside the rest."""
    bounce, failed, suppressed, click = [data.within(name) for name in ("bounce", "failed", "suppressed", "click")]
    diagnosis = bounce.texts("diagnosticCode") or suppressed.texts("diagnosticCode")
    return {
        "bounce": BOUNCES.get(bounce.word("type")),
        "reason": REASONS.get(bounce.word("subType")) or FAILED.get(failed.word("reason")),
        "text": failed.text("reason") or suppressed.text("message"),
        "reply": (diagnosis[0] if diagnosis else None) or bounce.text("message"),
        "url": click.text("link"),
        "user_agent": click.text("userAgent"),
    }


def _arrived(item: Fields, webhook_id: str) -> Event:
    """Who wrote, to whom, about what. The bodies have to be fetched, by the id in ``provider_id``."""
    data = item.within("data")
    fields = {
        "From": data.text("from"),
        "To": ", ".join(data.texts("to")),
        "Cc": ", ".join(data.texts("cc")),
        "Subject": data.text("subject"),
        "Message-ID": data.text("message_id"),
    }
    message = inbound_message(
        header_pairs({name: value for name, value in fields.items() if value}),
        envelope_to=[*data.texts("to"), *data.texts("cc"), *data.texts("bcc")],
    )
    return arrived(message, id=webhook_id, time=item.iso("created_at"), provider_id=data.text("email_id"))
