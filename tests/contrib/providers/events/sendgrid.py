"""SendGrid's events."""

from __future__ import annotations

from genie_connect_contrib.sendgrid import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, MESSAGE_ID, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import ecdsa_public

_BASE = {
    "email": ADA,
    "timestamp": 1764064800,
    "sg_event_id": "e1",
    "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
    "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
    "category": ["receipt"],
    "genie_message_id": MESSAGE_ID,
    "genie_attempt": "a1",
    "order": "7",
}
_KNOWN = {
    "id": "e1",
    "recipient": ADA,
    "provider_id": "14c5d75ce93.dfd.64b469",
    "message_id": MESSAGE_ID,
    "tags": ("receipt",),
    "attempt_id": "a1",
    "metadata": {"order": "7"},
}
_NO_USER = "550 5.1.1 The email account that you tried to reach does not exist"

HOOK = Hook(
    connector=connector,
    settings={"api_key": SECRET},
    keyed=pair("webhook_public_key", ecdsa_public),
    post=MAKERS["sendgrid"],
    wrapped=lambda items: items,
    window_s=25 * 3600,
    id_field="sg_event_id",
    samples=(
        ({**_BASE, "event": "processed"}, {**_KNOWN, "kind": "queued"}),
        ({**_BASE, "event": "delivered", "response": "250 OK"}, {**_KNOWN, "kind": "delivered", "text": "250 OK"}),
        (
            {**_BASE, "event": "deferred", "response": "451 4.7.1 Greylisted", "attempt": "5"},
            {**_KNOWN, "kind": "deferred", "reason": "greylisted", "code": 451},
        ),
        (
            {**_BASE, "event": "bounce", "type": "bounce", "status": "5.1.1", "reason": _NO_USER},
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected", "enhanced": "5.1.1"},
        ),
        (
            {**_BASE, "event": "bounce", "type": "bounce", "reason": "554 5.7.1 blocked using zen.spamhaus.org"},
            {**_KNOWN, "kind": "bounced", "bounce": "blocked", "reason": "policy"},
        ),
        (
            {**_BASE, "event": "bounce", "type": "blocked", "reason": "550 No", "bounce_classification": "Content"},
            {**_KNOWN, "kind": "bounced", "bounce": "blocked", "reason": "content_rejected"},
        ),
        (
            {**_BASE, "event": "dropped", "reason": "Bounced Address"},
            {**_KNOWN, "kind": "rejected", "reason": "suppressed", "text": "Bounced Address"},
        ),
        (
            {**_BASE, "event": "open", "useragent": "Apple", "sg_machine_open": True},
            {**_KNOWN, "kind": "opened", "machine": True, "user_agent": "Apple"},
        ),
        (
            {**_BASE, "event": "click", "url": "https://example.com/a", "url_offset": {"index": 0, "type": "html"}},
            {**_KNOWN, "kind": "clicked", "url": "https://example.com/a"},
        ),
        ({**_BASE, "event": "spamreport"}, {**_KNOWN, "kind": "complained"}),
        ({**_BASE, "event": "unsubscribe"}, {**_KNOWN, "kind": "unsubscribed"}),
        ({**_BASE, "event": "group_unsubscribe", "asm_group_id": 9}, {**_KNOWN, "kind": "unsubscribed"}),
        ({**_BASE, "event": "group_resubscribe", "asm_group_id": 9}, {**_KNOWN, "kind": "subscribed"}),
        ({**_BASE, "event": "brand_new"}, {**_KNOWN, "kind": "unknown", "error": None}),
        (
            {"email": ADA, "timestamp": 1764064800, "event": "open", "smtp-id": MESSAGE_ID, "sg_message_id": "x"},
            {"kind": "opened", "message_id": MESSAGE_ID, "provider_id": "x"},
        ),
    ),
)
