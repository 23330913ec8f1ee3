"""Mailgun's webhooks and routes.

https://documentation.mailgun.com/docs/mailgun/user-manual/tracking-messages/
https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/

The signature covers a time and a token and nothing else, so the token is the id of the event: a second body under it is
known already, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.inbound import InboundFile
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.forms import Form, is_form
from genie_connect.webhooks.inbound import arrived, file_named, header_pairs, inbound_message, parse_mime
from genie_connect.webhooks.signatures import raw_key, signing_keys, verify_mailgun

KINDS: Final = {
    "accepted": Means(EventKind.QUEUED),
    "rejected": Means(EventKind.REJECTED, reason=Reason.OTHER),
    "delivered": Means(EventKind.DELIVERED),
    "failed": Means(EventKind.BOUNCED),
    "opened": Means(EventKind.OPENED),
    "clicked": Means(EventKind.CLICKED),
    "unsubscribed": Means(EventKind.UNSUBSCRIBED),
    "complained": Means(EventKind.COMPLAINED),
}
FAILED: Final = {
    "temporary": Means(EventKind.DEFERRED, reason=Reason.TEMPORARY),
    "permanent": Means(EventKind.BOUNCED),
    "suppress-bounce": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
    "suppress-complaint": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
    "suppress-unsubscribe": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
    "old": Means(EventKind.BOUNCED, bounce=BounceClass.SOFT, reason=Reason.EXPIRED),
    "bounce": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
}
"""A failure by its ``reason``, or else by its ``severity``. ``temporary`` is tried again."""


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The event of a webhook, or the message of a route. Raises ``WebhookRejected``, and nothing else."""
    keys = signing_keys(secrets, raw_key)
    if is_form(request) or is_form(request, multipart=True):
        form = Form.of(request)
        # Header fields of the mail stand in the form, too, before what Mailgun adds: the last one is Mailgun's.
        token = verify_mailgun(request, {name: form.last(name) for name in ("timestamp", "token", "signature")}, keys)
        return (_arrived(form, token, request),)
    data = json_body(request)
    signed = data.get("signature") if isinstance(data, dict) else None
    if not isinstance(signed, dict):
        raise WebhookRejected("it is not signed", field="signature", hint="timestamp, token and signature are needed")
    token = verify_mailgun(request, signed, keys)
    return events_of(data.get("event-data"), lambda item: _event(item, token), request)


def _event(item: Fields, token: str) -> Event:
    status, message, client = [item.within(name) for name in ("delivery-status", "message.headers", "client-info")]
    word = item.word("event")
    means = KINDS.get(word, UNKNOWN)
    if word == "failed":
        temporary = item.word("severity") == "temporary"
        means = FAILED["temporary"] if temporary else FAILED.get(item.word("reason"), means)
    code = status.whole("code")
    return item.event(
        means,
        id=token,
        time=item.seconds("timestamp"),
        recipient=item.address("recipient"),
        provider_id=(message.text("message-id") or "").strip("<>") or None,
        # Codes from 600 are Mailgun's own.
        code=code if code is not None and code < 600 else None,
        text=item.within("reject").text("reason") if "reject" in item.data else None,
        reply=status.text("message") or status.text("description"),
        url=item.text("url"),
        user_agent=client.text("user-agent"),
        machine=client.flag("bot"),
        tags=item.texts("tags"),
        metadata=item.metadata("user-variables"),
    )


def _arrived(form: Form, token: str, request: WebhookRequest) -> Event:
    headers = header_pairs(form.json("message-headers"))
    named = {name.lower(): value for name, value in headers}
    flag, recipient = named.get("x-mailgun-sflag"), form.text("recipient")
    more: Mapping[str, Any] = {
        "envelope_from": form.text("sender"),
        "envelope_to": recipient.split(",") if recipient else (),
        "reply_text": form.text("stripped-text"),
        "spam": None if flag is None else flag.lower() == "yes",
    }
    raw = form.part("body-mime")
    if raw is not None:
        message = parse_mime(raw.content, **more)
    else:
        text, html = form.text("body-plain"), form.text("body-html")
        message = inbound_message(headers, text=text, html=html, files=_files(form), **more)
    return arrived(message, id=token, time=request.received_at)


def _files(form: Form) -> Iterator[InboundFile]:
    ids = {field: name for name, field in form.mapping("content-id-map").items() if isinstance(field, str)}
    for part in form.parts:
        if part.name.startswith("attachment-") and part.name != "attachment-count":
            yield file_named(part.filename, part.content, part.content_type, ids.get(part.name))
