"""Mandrill's events."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any

from genie_connect.contract import WebhookRequest
from genie_connect_contrib.mandrill import connector
from tests.contrib.providers.events.hook import ADA, MESSAGE_ID, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import request, text_key

HOOK_URL = "https://mail.example.com/hooks/mandrill?x=1"


def _post(body: bytes, at: datetime, number: int) -> WebhookRequest:
    signed = HOOK_URL.encode() + b"mandrill_events" + body
    signature = base64.b64encode(hmac.new(text_key(number).encode(), signed, hashlib.sha1).digest()).decode()
    form = b"mandrill_events=" + b"".join([b"%%%02X" % byte for byte in body])
    headers = {"X-Mandrill-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    return request(headers, form)


def _event(kind: str, message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    about = {
        "ts": 1764064700,
        "_id": "exampleaaaaaaaaaaaaaaaaaaaaaaaaa",
        "email": ADA,
        "sender": "shop@example.com",
        "subject": "Hi",
        "tags": ["receipt"],
        "metadata": {"order": 7, "genie_attempt": "a1", "genie_message_id": MESSAGE_ID},
        "opens": [],
        "clicks": [],
        **(message or {}),
    }
    return {"event": kind, "_id": "exampleaaaaaaaaaaaaaaaaaaaaaaaaa", "ts": 1764064800, "msg": about, **more}


def _bounce(kind: str, said: str, diagnosis: str) -> dict[str, Any]:
    return _event(kind, {"state": "bounced", "bounce_description": said, "diag": diagnosis})


_KNOWN = {
    "recipient": ADA,
    "message_id": MESSAGE_ID,
    "provider_id": "exampleaaaaaaaaaaaaaaaaaaaaaaaaa",
    "tags": ("receipt",),
    "metadata": {"order": "7"},
    "attempt_id": "a1",
}
_INBOUND = {"email": "shop@example.com", "sender": ADA, "spam_report": {"score": 0.5}}

HOOK = Hook(
    connector=connector,
    settings={"api_key": SECRET, "webhook_url": HOOK_URL},
    keyed=pair("webhook_key", text_key),
    post=_post,
    wrapped=lambda items: items,
    samples=(
        (_event("send"), {**_KNOWN, "kind": "sent"}),
        (_event("delivered"), {**_KNOWN, "kind": "delivered"}),
        (
            _event("deferral", {"smtp_events": [{"diag": "451 4.7.1 Greylisted"}]}),
            {**_KNOWN, "kind": "deferred", "reason": "greylisted"},
        ),
        (
            _bounce("hard_bounce", "bad_mailbox", "smtp;550 5.1.1 The account does not exist"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected", "code": 550},
        ),
        (
            _bounce("hard_bounce", "policy_related", "554 5.7.1 blocked using zen.spamhaus.org"),
            {**_KNOWN, "kind": "bounced", "bounce": "blocked", "reason": "policy"},
        ),
        (
            _bounce("soft_bounce", "mailbox_full", "552 5.2.2 full"),
            {**_KNOWN, "kind": "bounced", "bounce": "soft", "reason": "mailbox_full"},
        ),
        (_event("open", user_agent="x"), {**_KNOWN, "kind": "opened", "user_agent": "x"}),
        (_event("click", url="https://e.com/"), {**_KNOWN, "kind": "clicked", "url": "https://e.com/"}),
        (_event("spam"), {**_KNOWN, "kind": "complained"}),
        (_event("unsub"), {**_KNOWN, "kind": "unsubscribed"}),
        (_event("reject", {"state": "rejected"}), {**_KNOWN, "kind": "rejected", "reason": "suppressed"}),
        (
            {
                "type": "blacklist",
                "action": "add",
                "ts": 1764064800,
                "reject": {"email": ADA, "reason": "hard-bounce"},
            },
            {"kind": "unknown", "recipient": ADA, "text": "hard-bounce"},
        ),
        (
            _event("inbound", {**_INBOUND, "raw_msg": "From: ada@example.com\r\nSubject: Hello\r\n\r\nHi"}),
            {
                "kind": "inbound",
                "recipient": "shop@example.com",
                "inbound.text": "Hi",
                "inbound.spam_score": 0.5,
                "inbound.envelope_from": ADA,
            },
        ),
        (
            _event(
                "inbound",
                {
                    **_INBOUND,
                    "headers": {"From": ADA, "Subject": "Hello", "Received": ["a", "b"]},
                    "text": "Hi",
                    "attachments": {
                        "a.b.png": {"name": "../a.b.png", "type": "image/png", "content": "AAAA", "base64": True}
                    },
                },
            ),
            {
                "kind": "inbound",
                "inbound.subject": "Hello",
                "inbound.files[0].filename": "_a.b.png",
                "inbound.files[0].content": b"\0\0\0",
            },
        ),
    ),
)
