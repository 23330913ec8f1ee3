"""Events of Amazon SES, in messages of SNS."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect_contrib.ses import connector
from tests.contrib.providers.events.hook import ADA, MESSAGE_ID, Hook
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import TOPIC, sns_data, sns_request

_MAIL = {
    "timestamp": "2026-11-25T09:59:59.000Z",
    "messageId": "0107019-id",
    "destination": [ADA],
    "tags": {
        "ses:caller-identity": ["x"],
        "receipt": ["1"],
        "order": ["7"],
        "genie_message_id": ["PDFAZXhhbXBsZS5jb20-"],
    },
}
_KNOWN = {
    "recipient": ADA,
    "message_id": MESSAGE_ID,
    "provider_id": "0107019-id",
    "tags": ("receipt",),
    "metadata": {"order": "7"},
}
_AT = "2026-11-25T10:00:00.000Z"


def _event(kind: str, name: str, about: dict[str, Any], by: str = "eventType") -> dict[str, Any]:
    return {by: kind, "mail": _MAIL, name: {"timestamp": _AT, **about}}


def _bounce(kind: str, sub: str, said: str = "") -> dict[str, Any]:
    people = [{"emailAddress": ADA, "diagnosticCode": said}]
    return _event("Bounce", "bounce", {"bounceType": kind, "bounceSubType": sub, "bouncedRecipients": people})


def _keyed(number: int, previous: int | None) -> Mapping[str, Any]:
    # A key is a topic here: what is signed is for one of them.
    return {"webhook_topics": [f"{TOPIC}{each}" for each in (number, previous) if each is not None]}


def _post(body: bytes, at: datetime, number: int) -> WebhookRequest:
    name = hashlib.sha256(body).hexdigest()[:36]
    text = body.decode("utf-8", "replace")
    return sns_request(sns_data(text, at, 1, TopicArn=f"{TOPIC}{number}", MessageId=name))


def _with(given: WebhookRequest, **said: str | None) -> WebhookRequest:
    data = {name: value for name, value in {**json.loads(given.body), **said}.items() if value is not None}
    return attrs.evolve(given, body=json.dumps(data).encode())


def _altered(given: WebhookRequest) -> list[WebhookRequest]:
    data = json.loads(given.body)
    moved = data["Timestamp"].replace("T", " ")
    changed = ({"Message": data["Message"] + " "}, {"MessageId": "x"}, {"Timestamp": moved}, {"Signature": "AAAA"})
    return [_with(given, **each) for each in changed]


HOOK = Hook(
    connector=connector,
    settings={"access_key_id": "AKIA", "secret_access_key": SECRET, "region": "eu-central-1"},
    keyed=_keyed,
    post=_post,
    window_s=7200,
    unsigned=lambda given: _with(given, Signature=None),
    altered=_altered,
    kind_field="eventType",
    samples=(
        (_event("Send", "send", {}), {**_KNOWN, "kind": "sent"}),
        (
            _event("Delivery", "delivery", {"recipients": [ADA], "smtpResponse": "250 OK"}),
            {**_KNOWN, "kind": "delivered", "text": "250 OK"},
        ),
        (_event("Delivery", "delivery", {"recipients": [ADA]}, "notificationType"), {**_KNOWN, "kind": "delivered"}),
        (
            _bounce("Permanent", "General", "smtp; 550 5.1.1 user unknown"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected", "code": 550},
        ),
        (
            _bounce("Transient", "MailboxFull"),
            {**_KNOWN, "kind": "bounced", "bounce": "soft", "reason": "mailbox_full"},
        ),
        (_bounce("Undetermined", "Undetermined"), {**_KNOWN, "kind": "bounced", "bounce": "undetermined"}),
        (
            _bounce("Permanent", "OnAccountSuppressionList"),
            {**_KNOWN, "kind": "rejected", "bounce": None, "reason": "suppressed"},
        ),
        (
            _event("Complaint", "complaint", {"complainedRecipients": [{"emailAddress": ADA}], "userAgent": "x"}),
            {**_KNOWN, "kind": "complained", "user_agent": "x"},
        ),
        (
            _event(
                "DeliveryDelay",
                "deliveryDelay",
                {"delayType": "TransientCommunicationFailure", "delayedRecipients": [{"emailAddress": ADA}]},
            ),
            {**_KNOWN, "kind": "deferred", "reason": "connect"},
        ),
        (_event("Reject", "reject", {"reason": "Bad content"}), {**_KNOWN, "kind": "rejected", "text": "Bad content"}),
        (
            _event("Rendering Failure", "failure", {"errorMessage": "no such value"}),
            {**_KNOWN, "kind": "rejected", "reason": "internal", "text": "no such value"},
        ),
        (_event("Open", "open", {"userAgent": "x"}), {**_KNOWN, "kind": "opened", "user_agent": "x"}),
        (_event("Click", "click", {"link": "https://e.com/"}), {**_KNOWN, "kind": "clicked", "url": "https://e.com/"}),
        (
            _event("Subscription", "subscription", {"newTopicPreferences": {"unsubscribeAll": True}}),
            {**_KNOWN, "kind": "unsubscribed"},
        ),
        (
            {
                "notificationType": "Received",
                "mail": {"timestamp": _AT, "source": ADA, "messageId": "r1"},
                "receipt": {
                    "recipients": ["shop@example.com"],
                    "spamVerdict": {"status": "PASS"},
                    "action": {"type": "SNS", "encoding": "BASE64"},
                },
                "content": base64.b64encode(b"From: ada@example.com\r\nSubject: Hello\r\n\r\nHi").decode(),
            },
            {
                "kind": "inbound",
                "id": "r1",
                "recipient": "shop@example.com",
                "inbound.text": "Hi",
                "inbound.spam": False,
            },
        ),
    ),
)
