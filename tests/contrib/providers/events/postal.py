"""Postal's events."""

from __future__ import annotations

from typing import Any

from genie_connect_contrib.postal import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import rsa_public

_MESSAGE = {
    "id": 12345,
    "token": "abcdef123",
    "direction": "outgoing",
    "message_id": "5817a64332f44@rp.postal.example.com",
    "to": ADA,
    "from": "shop@example.com",
    "subject": "Hi",
    "timestamp": 1764064700.1,
    "spam_status": "NotChecked",
    "tag": "receipt",
}


def _event(word: str, **payload: Any) -> dict[str, Any]:
    return {"event": word, "timestamp": 1764064800.25, "uuid": "0fcc8ed9", "payload": {"message": _MESSAGE, **payload}}


def _delivery(word: str, status: str, said: str) -> dict[str, Any]:
    return _event(word, status=status, details=said, output=said, time=0.2, sent_with_ssl=True, timestamp=1764064800.2)


_KNOWN = {"id": "0fcc8ed9", "recipient": ADA, "provider_id": "12345", "tags": ("receipt",)}
_INBOUND = {"id": 7, "rcpt_to": "shop@example.com", "mail_from": ADA, "size": 57}
_ARRIVED = {"kind": "inbound", "id": "Inbound-7", "recipient": "shop@example.com", "inbound.subject": "Hello"}

HOOK = Hook(
    connector=connector,
    settings={"server": "https://postal.example.com", "api_key": SECRET},
    keyed=pair("webhook_public_key", rsa_public),
    post=MAKERS["postal"],
    samples=(
        (_delivery("MessageSent", "Sent", "250 OK"), {**_KNOWN, "kind": "delivered", "text": "250 OK"}),
        (
            _delivery("MessageDelayed", "SoftFail", "451 4.7.1 Greylisted"),
            {**_KNOWN, "kind": "deferred", "reason": "greylisted"},
        ),
        (
            _delivery("MessageDeliveryFailed", "HardFail", "550 5.1.1 user unknown"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"},
        ),
        (
            _delivery("MessageDeliveryFailed", "HardFail", "554 5.7.1 blocked using zen.spamhaus.org"),
            {**_KNOWN, "kind": "bounced", "bounce": "blocked"},
        ),
        (_delivery("MessageHeld", "Held", "Credential is held"), {**_KNOWN, "kind": "queued"}),
        (
            {
                "event": "MessageBounced",
                "timestamp": 1764064800.25,
                "uuid": "0fcc8ed9",
                "payload": {"original_message": _MESSAGE, "bounce": {"id": 12346, "to": "x@rp.example.com"}},
            },
            {**_KNOWN, "kind": "bounced", "bounce": "undetermined"},
        ),
        (
            _event("MessageLinkClicked", url="https://e.com/", token="t", user_agent="x"),
            {**_KNOWN, "kind": "clicked", "url": "https://e.com/", "user_agent": "x"},
        ),
        (_event("MessageLoaded", user_agent="x"), {**_KNOWN, "kind": "opened", "user_agent": "x"}),
        (
            {"event": "DomainDNSError", "timestamp": 1764064800.25, "uuid": "0fcc8ed9", "payload": {"domain": "x"}},
            {"kind": "unknown"},
        ),
        (
            {
                **_INBOUND,
                "message": "RnJvbTogYWRhQGV4YW1wbGUuY29tDQpTdWJq\nZWN0OiBIZWxsbw0KDQpIaQ==\n",
                "base64": True,
            },
            {**_ARRIVED, "inbound.text": "Hi", "inbound.envelope_from": ADA},
        ),
        (
            {
                **_INBOUND,
                "from": f"Ada <{ADA}>",
                "to": "shop@example.com",
                "subject": "Hello",
                "message_id": "9@example.org",
                "spam_status": "NotSpam",
                "plain_body": "Hi",
                "replies_from_plain_body": None,
                "html_body": "<p>Hi</p>",
                "attachments": [{"filename": "../a.png", "content_type": "image/png", "data": "AAAA\n"}],
            },
            {
                **_ARRIVED,
                "inbound.text": "Hi",
                "inbound.message_id": "<9@example.org>",
                "inbound.spam": False,
                "inbound.files[0].filename": "_a.png",
                "inbound.files[0].content": b"\0\0\0",
            },
        ),
    ),
)
