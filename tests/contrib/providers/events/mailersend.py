"""MailerSend's events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect_contrib.mailersend import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, MESSAGE_ID, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import text_key


def _post(body: bytes, at: datetime, number: int) -> WebhookRequest:
    signed = MAKERS["mailtrap"](body, at, number)
    return attrs.evolve(signed, headers={"Signature": signed.headers["mailtrap-signature"]})


def _event(kind: str, **morph: Any) -> dict[str, Any]:
    data = {
        "object": "activity",
        "id": "62f114f8165fe0d8db0288e3",
        "type": kind,
        "created_at": "2026-11-25T10:00:00.000000Z",
        "email": {
            "object": "email",
            "id": "62f114f8",
            "message": {"object": "message", "id": "62f114f7165fe0d8db0288e5"},
            "recipient": {"object": "recipient", "email": ADA},
            "tags": ["receipt", f"genie_message_id:{MESSAGE_ID}"],
        },
        "morph": {"object": "m", **morph} if morph else None,
    }
    return {"type": f"activity.{kind}", "domain_id": "yv69oxl5", "created_at": "2026-11-25T10:00:00Z", "data": data}


_KNOWN = {
    "id": "62f114f8165fe0d8db0288e3",
    "recipient": ADA,
    "message_id": MESSAGE_ID,
    "provider_id": "62f114f7165fe0d8db0288e5",
    "tags": ("receipt",),
}

HOOK = Hook(
    connector=connector,
    settings={"api_token": SECRET},
    keyed=pair("webhook_secret", text_key),
    post=_post,
    kind_field="data.type",
    samples=(
        (_event("sent"), {**_KNOWN, "kind": "sent"}),
        (_event("delivered"), {**_KNOWN, "kind": "delivered"}),
        (_event("deferred", reason="451 4.7.1 Greylisted"), {**_KNOWN, "kind": "deferred", "reason": "greylisted"}),
        (
            _event("hard_bounced", reason="550 5.1.1 user unknown"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"},
        ),
        (_event("soft_bounced", reason="552 5.2.2 full"), {**_KNOWN, "kind": "bounced", "bounce": "soft"}),
        (_event("opened", ip="192.0.2.1"), {**_KNOWN, "kind": "opened"}),
        (_event("opened_unique"), {**_KNOWN, "kind": "opened"}),
        (_event("clicked", url="https://e.com/"), {**_KNOWN, "kind": "clicked", "url": "https://e.com/"}),
        (_event("unsubscribed"), {**_KNOWN, "kind": "unsubscribed"}),
        (_event("spam_complaint"), {**_KNOWN, "kind": "complained"}),
        (
            {
                "type": "inbound.message",
                "data": {
                    "id": "i1",
                    "recipients": {"rcptTo": [{"email": "shop@example.com"}]},
                    "sender": {"email": ADA},
                    "raw": "From: Ada <ada@example.com>\r\nSubject: Hello\r\n\r\nHi",
                    "created_at": "2026-11-25T10:00:00.000000Z",
                },
            },
            {"kind": "inbound", "id": "i1", "recipient": "shop@example.com", "inbound.text": "Hi"},
        ),
    ),
)
