"""SendGrid's event webhook and Inbound Parse.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.inbound import InboundFile, InboundMessage
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, chosen_reason, events_of
from genie_connect.webhooks.forms import Form, is_form
from genie_connect.webhooks.inbound import (
    arrived,
    digest_of,
    file_named,
    header_pairs,
    inbound_message,
    parse_mime,
)
from genie_connect.webhooks.signatures import (
    ecdsa_key,
    shared_key,
    signing_keys,
    verify_sendgrid,
    verify_shared,
)
from genie_connect.webhooks.signatures.public_keys import SENDGRID_SIGNATURE

KINDS: Final = {
    "processed": Means(EventKind.QUEUED),
    "dropped": Means(EventKind.REJECTED),
    "delivered": Means(EventKind.DELIVERED),
    "deferred": Means(EventKind.DEFERRED),
    "bounce": Means(EventKind.BOUNCED),
    "open": Means(EventKind.OPENED),
    "click": Means(EventKind.CLICKED),
    "spamreport": Means(EventKind.COMPLAINED),
    "unsubscribe": Means(EventKind.UNSUBSCRIBED),
    "group_unsubscribe": Means(EventKind.UNSUBSCRIBED),
    "group_resubscribe": Means(EventKind.SUBSCRIBED),
}
BOUNCES: Final = {"bounce": BounceClass.HARD, "blocked": BounceClass.BLOCKED}
"""The field ``type`` of a bounce: what is blocked is not put on SendGrid's list of bounces."""
DROPPED: Final = {
    "Bounced Address": Reason.SUPPRESSED,
    "Unsubscribed Address": Reason.SUPPRESSED,
    "Spam Reporting Address": Reason.SUPPRESSED,
    "Invalid": Reason.RECIPIENT_REJECTED,
    "Invalid SMTPAPI header": Reason.INTERNAL,
    "Spam Content (if Spam Checker app is enabled)": Reason.CONTENT_REJECTED,
    "Recipient List over Package Quota": Reason.THROTTLED,
}
CLASSES: Final = {
    "Invalid Address": Reason.RECIPIENT_REJECTED,
    "Technical Failure": Reason.TEMPORARY,
    "Content": Reason.CONTENT_REJECTED,
    "Reputation": Reason.POLICY,
    "Frequency or Volume Too High": Reason.THROTTLED,
}
"""The field ``bounce_classification``; what is unavailable or unclassified says nothing."""
# Custom arguments stand among its own fields: what is none of these is one of ours.
_OWN: Final = frozenset(
    {
        "asm_group_id",
        "attempt",
        "bounce_classification",
        "category",
        "cert_err",
        "content_type",
        "email",
        "event",
        "ip",
        "ips",
        "marketing_campaign_id",
        "marketing_campaign_name",
        "marketing_campaign_split_id",
        "marketing_campaign_version",
        "newsletter",
        "nlvx_campaign_id",
        "nlvx_campaign_split_id",
        "nlvx_user_id",
        "phase_id",
        "pool",
        "post_type",
        "reason",
        "resp_code",
        "response",
        "send_at",
        "sg_content_type",
        "sg_event_id",
        "sg_machine_open",
        "sg_message_id",
        "sg_template_id",
        "sg_template_name",
        "sg_user_id",
        "singlesend_id",
        "singlesend_name",
        "smtp-id",
        "status",
        "template_hash",
        "template_id",
        "template_version_id",
        "timestamp",
        "tls",
        "type",
        "url",
        "url_offset",
        "useragent",
    }
)
_ID_END: Final = re.compile(r"\.(?:filter|recvd)")


def parse_webhook(
    keys: Sequence[Secret | None], inbound_secrets: Sequence[Secret | None], request: WebhookRequest
) -> tuple[Event, ...]:
    """The events of a webhook that one of the keys verifies, or a message of Inbound Parse.

    That one is signed where a security policy says so; where it is not, one of ``inbound_secrets`` has to come with it,
    and whoever has that can post nothing but messages. Raises ``WebhookRejected``, and nothing else.
    """
    multipart = is_form(request, multipart=True)
    if multipart and SENDGRID_SIGNATURE not in request.headers:
        verify_shared(request, signing_keys(inbound_secrets, shared_key))
    else:
        verify_sendgrid(request, signing_keys(keys, ecdsa_key))
    if multipart:
        return (_arrived(Form.of(request), request),)
    return events_of(json_body(request), _event, request)


def _event(item: Fields) -> Event:
    word, said = item.word("event"), item.text("reason")
    dropped, bounced = word == "dropped", word == "bounce"
    reason = chosen_reason(said or "", DROPPED) if dropped else CLASSES.get(item.word("bounce_classification"))
    provider_id = item.word("sg_message_id")
    if (end := _ID_END.search(provider_id)) is not None:
        provider_id = provider_id[: end.start()]
    return item.event(
        KINDS.get(word, UNKNOWN),
        id=item.text("sg_event_id"),
        time=item.seconds("timestamp"),
        recipient=item.address("email"),
        # Mail by SMTP has no custom arguments of ours, and here the Message-ID that it came with.
        message_id=None if "genie_message_id" in item.data else item.text("smtp-id"),
        provider_id=provider_id or None,
        bounce=BOUNCES.get(item.word("type")) if bounced else None,
        reason=reason,
        enhanced=item.text("status") if bounced else None,
        text=said if dropped else None,
        reply=None if dropped else said or item.text("response"),
        url=item.text("url"),
        user_agent=item.text("useragent"),
        machine=item.flag("sg_machine_open"),
        tags=item.texts("category"),
        metadata=item.metadata_beside(_OWN),
    )


def _arrived(form: Form, request: WebhookRequest) -> Event:
    # Whoever posts the parts again may do it with another boundary.
    digest = digest_of(*[content for part in form.parts for content in (part.name.encode(), part.content)])
    return arrived(_message(form), id=digest, time=request.received_at)


def _message(form: Form) -> InboundMessage:
    envelope = Fields(form.mapping("envelope"))
    sender, recipients = envelope.get("from"), envelope.get("to")
    score = Fields({"score": form.text("spam_score")})
    more: Mapping[str, Any] = {
        "envelope_from": sender if isinstance(sender, str) else None,
        "envelope_to": [each for each in recipients if isinstance(each, str)] if isinstance(recipients, list) else (),
        "spam_score": _number(score),
    }
    raw = form.part("email")
    if raw is not None:
        return parse_mime(raw.content, **more)
    charsets = form.mapping("charsets")
    text, html = [form.text(name, str(charsets.get(name, "utf-8"))) for name in ("text", "html")]
    return inbound_message(header_pairs(form.text("headers") or ""), text=text, html=html, files=_files(form), **more)


def _number(fields: Fields) -> float | None:
    try:
        return fields.number("score")
    except ValueError:
        return None


def _files(form: Form) -> Iterator[InboundFile]:
    for name, about in form.mapping("attachment-info").items():
        part = form.part(name)
        if part is not None:
            content_id = about.get("content-id") if isinstance(about, Mapping) else None
            cid = content_id if isinstance(content_id, str) else None
            yield file_named(part.filename, part.content, part.content_type, cid)
