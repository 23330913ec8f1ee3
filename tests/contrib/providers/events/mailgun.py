"""Mailgun's events."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect_contrib.mailgun import connector
from tests.contrib.providers.events.hook import ADA, MESSAGE_ID, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import request, text_key

_BASE = {
    "id": "G9Bn5sl1TC6nu79C8C0bwg",
    "timestamp": 1764064800.25,
    "recipient": ADA,
    "message": {"headers": {"message-id": "20261125.1@mg.example.com", "to": ADA}},
    "tags": ["receipt"],
    "user-variables": {"order": "7", "genie_message_id": MESSAGE_ID},
}
_KNOWN = {
    "recipient": ADA,
    "message_id": MESSAGE_ID,
    "provider_id": "20261125.1@mg.example.com",
    "tags": ("receipt",),
    "metadata": {"order": "7"},
}


def signature(at: datetime, number: int, token: str) -> dict[str, str]:
    """What Mailgun signs."""
    timestamp = str(int(at.timestamp()))
    digest = hmac.new(text_key(number).encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    return {"timestamp": timestamp, "token": token, "signature": digest}


def _post(body: bytes, at: datetime, number: int) -> WebhookRequest:
    # The token is signed, and the event is not: it is put beside whatever stands in the body.
    token = hashlib.sha256(body).hexdigest()[:50]
    return request(
        {}, b'{"signature": ' + json.dumps(signature(at, number, token)).encode() + b', "event-data": ' + body + b"}"
    )


def _with(given: WebhookRequest, **said: Any) -> WebhookRequest:
    data = json.loads(given.body)
    signed = {name: value for name, value in {**data["signature"], **said}.items() if value is not None}
    return attrs.evolve(given, body=json.dumps({**data, "signature": signed}).encode())


def _altered(given: WebhookRequest) -> list[WebhookRequest]:
    # It covers the time and the token, and nothing of the event.
    changed = ({"token": "b" * 50}, {"timestamp": "1764064801"}, {"signature": "0" * 64}, {"token": ""})
    return [_with(given, **each) for each in changed]


def _failed(severity: str, reason: str, code: int, said: str) -> dict[str, Any]:
    status = {"code": code, "message": said, "description": ""}
    return {**_BASE, "event": "failed", "severity": severity, "reason": reason, "delivery-status": status}


HOOK = Hook(
    connector=connector,
    settings={"api_key": SECRET, "domain": "mg.example.com"},
    keyed=pair("webhook_secret", text_key),
    post=_post,
    window_s=9 * 3600,
    unsigned=lambda given: _with(given, timestamp=None, token=None, signature=None),
    altered=_altered,
    samples=(
        ({**_BASE, "event": "accepted"}, {**_KNOWN, "kind": "queued"}),
        (
            {**_BASE, "event": "rejected", "reject": {"reason": "Sandbox subdomains are for test purposes only"}},
            {**_KNOWN, "kind": "rejected", "reason": "other", "text": "Sandbox subdomains are for test purposes only"},
        ),
        (
            {**_BASE, "event": "delivered", "delivery-status": {"code": 250, "message": "OK"}},
            {**_KNOWN, "kind": "delivered", "code": 250, "text": "OK"},
        ),
        (
            _failed("temporary", "generic", 452, "4.2.2 Over quota"),
            {**_KNOWN, "kind": "deferred", "reason": "mailbox_full", "code": 452},
        ),
        (
            _failed("permanent", "bounce", 550, "5.1.1 The email account does not exist"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"},
        ),
        (
            _failed("permanent", "bounce", 550, "5.7.1 blocked using zen.spamhaus.org"),
            {"bounce": "blocked", "kind": "bounced"},
        ),
        (_failed("permanent", "generic", 550, "No"), {"kind": "bounced", "bounce": "undetermined"}),
        (
            _failed("permanent", "suppress-bounce", 605, ""),
            {**_KNOWN, "kind": "rejected", "reason": "suppressed", "code": None},
        ),
        (_failed("permanent", "old", 602, "Too old"), {"kind": "bounced", "bounce": "soft", "reason": "expired"}),
        (
            {**_BASE, "event": "opened", "client-info": {"user-agent": "x", "bot": ""}},
            {**_KNOWN, "kind": "opened", "user_agent": "x", "machine": False},
        ),
        (
            {**_BASE, "event": "clicked", "url": "https://example.com/a"},
            {**_KNOWN, "kind": "clicked", "url": "https://example.com/a"},
        ),
        ({**_BASE, "event": "unsubscribed"}, {**_KNOWN, "kind": "unsubscribed"}),
        ({**_BASE, "event": "complained"}, {**_KNOWN, "kind": "complained"}),
        ({**_BASE, "event": "stored"}, {**_KNOWN, "kind": "unknown"}),
    ),
)
