"""Mailtrap's events."""

from __future__ import annotations

from genie_connect_contrib.mailtrap import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, MESSAGE_ID, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import text_key

_BASE = {
    "message_id": "4b1c2d3e-0000-11ee-9c2f-000000000000",
    "sending_stream": "transactional",
    "email": ADA,
    "timestamp": 1764064800,
    "event_id": "e1",
    "category": "receipt",
    "custom_variables": {"order": 7, "genie_message_id": MESSAGE_ID},
}
_KNOWN = {
    "id": "e1",
    "recipient": ADA,
    "provider_id": "4b1c2d3e-0000-11ee-9c2f-000000000000",
    "message_id": MESSAGE_ID,
    "tags": ("receipt",),
    "metadata": {"order": "7"},
}

HOOK = Hook(
    connector=connector,
    settings={"api_token": SECRET},
    keyed=pair("webhook_secret", text_key),
    post=MAKERS["mailtrap"],
    wrapped=lambda items: {"events": items},
    id_field="event_id",
    samples=(
        ({**_BASE, "event": "delivery"}, {**_KNOWN, "kind": "delivered"}),
        (
            {**_BASE, "event": "bounce", "response": "550 5.1.1 User unknown", "response_code": 550},
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected", "code": 550},
        ),
        (
            {**_BASE, "event": "bounce", "response": "550 No", "bounce_category": "spam"},
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "content_rejected"},
        ),
        (
            {**_BASE, "event": "soft bounce", "response": "452 4.2.2 Mailbox full", "response_code": 452},
            {**_KNOWN, "kind": "bounced", "bounce": "soft", "reason": "mailbox_full"},
        ),
        ({**_BASE, "event": "soft_bounce"}, {**_KNOWN, "kind": "bounced", "bounce": "soft"}),
        ({**_BASE, "event": "spam"}, {**_KNOWN, "kind": "complained"}),
        ({**_BASE, "event": "unsubscribe"}, {**_KNOWN, "kind": "unsubscribed"}),
        ({**_BASE, "event": "suspension", "reason": "s"}, {**_KNOWN, "kind": "rejected", "text": "s"}),
        ({**_BASE, "event": "reject", "reason": "r"}, {**_KNOWN, "kind": "rejected", "text": "r"}),
        ({**_BASE, "event": "open", "user_agent": "x"}, {**_KNOWN, "kind": "opened", "user_agent": "x"}),
        ({**_BASE, "event": "click", "url": "https://e.com/"}, {**_KNOWN, "kind": "clicked", "url": "https://e.com/"}),
    ),
)
