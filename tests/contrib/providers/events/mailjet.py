"""Mailjet's events."""

from __future__ import annotations

import json

from genie_connect_contrib.mailjet import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, MESSAGE_ID, Hook, credentials, pair
from tests.contrib.providers.harness import SECRET

_BASE = {
    "time": 1764064800,
    "MessageID": 19421777835146490,
    "Message_GUID": "1ab23cd4",
    "email": ADA,
    "CustomID": "a1",
    "Payload": json.dumps({"order": "7", "genie_message_id": MESSAGE_ID}),
    "customcampaign": "receipt",
}
_KNOWN = {
    "recipient": ADA,
    "provider_id": "19421777835146490",
    "message_id": MESSAGE_ID,
    "tags": ("receipt",),
    "attempt_id": "a1",
    "metadata": {"order": "7"},
}

HOOK = Hook(
    connector=connector,
    settings={"api_key": "public", "secret_key": SECRET},
    keyed=pair("webhook_secret", credentials),
    post=MAKERS["basic"],
    wrapped=lambda items: items,
    samples=(
        ({**_BASE, "event": "sent", "smtp_reply": "250 OK"}, {**_KNOWN, "kind": "delivered", "text": "250 OK"}),
        ({**_BASE, "event": "open", "agent": "x"}, {**_KNOWN, "kind": "opened", "user_agent": "x"}),
        ({**_BASE, "event": "click", "url": "https://e.com/"}, {**_KNOWN, "kind": "clicked", "url": "https://e.com/"}),
        (
            {**_BASE, "event": "bounce", "hard_bounce": True, "error": "user unknown"},
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"},
        ),
        (
            {**_BASE, "event": "bounce", "hard_bounce": True, "error": "policy issue"},
            {**_KNOWN, "kind": "bounced", "bounce": "blocked", "reason": "policy"},
        ),
        (
            {**_BASE, "event": "bounce", "hard_bounce": False, "error": "quota exceeded"},
            {**_KNOWN, "kind": "bounced", "bounce": "soft", "reason": "mailbox_full"},
        ),
        (
            {**_BASE, "event": "bounce", "hard_bounce": False, "error": "greylisted"},
            {**_KNOWN, "kind": "deferred", "reason": "greylisted", "bounce": None},
        ),
        ({**_BASE, "event": "blocked", "error": "preblocked"}, {**_KNOWN, "kind": "rejected", "reason": "suppressed"}),
        ({**_BASE, "event": "spam", "source": "JMRPP"}, {**_KNOWN, "kind": "complained"}),
        ({**_BASE, "event": "unsub", "Payload": ""}, {"kind": "unsubscribed", "attempt_id": "a1", "metadata": {}}),
        ({**_BASE, "event": "brand_new"}, {**_KNOWN, "kind": "unknown"}),
        (
            {
                "Sender": ADA,
                "Recipient": "shop@example.com",
                "Headers": {"From": f"Ada <{ADA}>", "Subject": "Hello", "Received": ["a", "b"]},
                "Parts": [
                    {"Headers": {"Content-Type": "text/plain"}, "ContentRef": "Text-part"},
                    {
                        "Headers": {
                            "Content-Type": 'image/png; name="a.png"',
                            "Content-Disposition": 'attachment; filename="a.png"',
                        },
                        "ContentRef": "Attachment1",
                    },
                ],
                "Text-part": "Hi\nthere",
                "Attachment1": "AAAA",
                "SpamAssassinScore": "0.6",
            },
            {
                "kind": "inbound",
                "recipient": "shop@example.com",
                "inbound.text": "Hi\nthere",
                "inbound.spam_score": 0.6,
                "inbound.files[0].filename": "a.png",
                "inbound.files[0].content": b"\0\0\0",
            },
        ),
    ),
)
