"""Brevo's events."""

from __future__ import annotations

from genie_connect_contrib.brevo import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, MESSAGE_ID, Hook, credentials, pair
from tests.contrib.providers.harness import SECRET

_ID = "<202611251000.1@smtp-relay.mailin.fr>"
_BASE = {
    "email": ADA,
    "id": 26224,
    "date": "2026-11-25 11:00:00",
    "ts": 1764061200,
    "ts_event": 1764061200,
    "ts_epoch": 1764064800250,
    "message-id": _ID,
    "subject": "Hi",
    "tags": ["receipt"],
    "X-Mailin-custom": '{"order": "7", "genie_message_id": "<1@example.com>"}',
}
_KNOWN = {
    "recipient": ADA,
    "message_id": MESSAGE_ID,
    "provider_id": _ID,
    "tags": ("receipt",),
    "metadata": {"order": "7"},
}

HOOK = Hook(
    connector=connector,
    settings={"api_key": SECRET},
    keyed=pair("webhook_secret", credentials),
    post=MAKERS["basic"],
    wrapped=lambda items: items,
    samples=(
        ({**_BASE, "event": "request"}, {**_KNOWN, "kind": "queued"}),
        ({**_BASE, "event": "delivered"}, {**_KNOWN, "kind": "delivered"}),
        (
            {**_BASE, "event": "deferred", "reason": "451 4.7.1 Greylisted"},
            {**_KNOWN, "kind": "deferred", "reason": "greylisted"},
        ),
        (
            {**_BASE, "event": "hard_bounce", "reason": "550 5.1.1 user unknown"},
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"},
        ),
        (
            {**_BASE, "event": "hard_bounce", "reason": "554 5.7.1 blocked using zen.spamhaus.org"},
            {**_KNOWN, "kind": "bounced", "bounce": "blocked"},
        ),
        (
            {**_BASE, "event": "soft_bounce", "reason": "552 5.2.2 mailbox full"},
            {**_KNOWN, "kind": "bounced", "bounce": "soft", "reason": "mailbox_full"},
        ),
        ({**_BASE, "event": "invalid_email"}, {"kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"}),
        ({**_BASE, "event": "blocked"}, {**_KNOWN, "kind": "rejected", "reason": "suppressed"}),
        ({**_BASE, "event": "error", "reason": "x"}, {**_KNOWN, "kind": "rejected", "reason": "internal"}),
        ({**_BASE, "event": "spam"}, {**_KNOWN, "kind": "complained"}),
        ({**_BASE, "event": "unique_opened"}, {**_KNOWN, "kind": "opened", "machine": False}),
        ({**_BASE, "event": "proxy_open"}, {**_KNOWN, "kind": "opened", "machine": True}),
        ({**_BASE, "event": "click", "link": "https://e.com/"}, {**_KNOWN, "kind": "clicked", "url": "https://e.com/"}),
        ({**_BASE, "event": "unsubscribe", "X-Mailin-custom": "no"}, {"kind": "unsubscribed", "metadata": {}}),
    ),
)

INBOUND = {
    "Uuid": ["8d79aaed"],
    "Recipients": ["shop@example.com"],
    "Headers": {"From": f"Ada <{ADA}>", "Subject": "Hello", "Received": ["a", "b"], "Return-Path": f"<{ADA}>"},
    "RawTextBody": "Hi\nthere",
    "RawHtmlBody": None,
    "ExtractedMarkdownMessage": "Hi",
    "SpamScore": 1.5,
    "Attachments": [],
}
