"""AhaSend's events."""

from __future__ import annotations

from typing import Any

from genie_connect_contrib.ahasend import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import text_key


def _event(kind: str, **more: Any) -> dict[str, Any]:
    data = {
        "account_id": "c0ffee00-0000-4000-8000-000000000000",
        "event": f"on_{kind}",
        "from": "shop@example.com",
        "recipient": ADA,
        "subject": "Hi",
        "message_id_header": "<a1@ahasend.example>",
        "id": "407926766d2711f09b30960002cafe7c",
        **more,
    }
    return {"type": f"message.{kind}", "webhook_id": "w1", "timestamp": "2026-11-25T10:00:00.687031577Z", "data": data}


_KNOWN = {"id": "msg_1", "recipient": ADA, "provider_id": "a1@ahasend.example"}
_SUPPRESSED = {"type": "suppression.created", "timestamp": "2026-11-25T10:00:00Z"}

HOOK = Hook(
    connector=connector,
    settings={"api_key": SECRET, "account_id": "c0ffee00-0000-4000-8000-000000000000"},
    keyed=pair("webhook_secret", text_key),
    post=MAKERS["ahasend"],
    window_s=300,
    kind_field="type",
    samples=(
        (_event("reception"), {**_KNOWN, "kind": "queued"}),
        (_event("delivered"), {**_KNOWN, "kind": "delivered"}),
        (_event("transient_error"), {**_KNOWN, "kind": "deferred", "reason": "temporary"}),
        (_event("failed"), {**_KNOWN, "kind": "bounced", "bounce": "undetermined"}),
        (_event("bounced"), {**_KNOWN, "kind": "bounced", "bounce": "undetermined"}),
        (_event("suppressed"), {**_KNOWN, "kind": "rejected", "reason": "suppressed"}),
        (
            _event("opened", user_agent="x", is_bot=True),
            {**_KNOWN, "kind": "opened", "user_agent": "x", "machine": True},
        ),
        (
            _event("clicked", url="https://e.com/", is_bot=False),
            {**_KNOWN, "kind": "clicked", "url": "https://e.com/", "machine": False},
        ),
        (
            {**_SUPPRESSED, "data": {"recipient": ADA, "reason": "Too many hard bounces"}},
            {"kind": "unknown", "recipient": ADA, "text": "Too many hard bounces"},
        ),
        (
            {
                "type": "message.routing",
                "route_id": "r1",
                "timestamp": "2026-11-25T10:00:00Z",
                "data": {
                    "id": "route-1",
                    "from": f"Ada <{ADA}>",
                    "to": "shop@example.com",
                    "cc": "",
                    "subject": "Hello",
                    "message_id": "<9@example.org>",
                    "spam_score": 0.1,
                    "plain_body": "Hi\nthere",
                    "html_body": "<p>Hi</p>",
                    "reply_from_plain_body": "Hi",
                    "attachments": [{"filename": "../a.png", "content_type": "image/png", "data": "AAAA"}],
                    "headers": {"X-Mailer": "x"},
                },
            },
            {
                "kind": "inbound",
                "id": "route-1",
                "recipient": "shop@example.com",
                "inbound.text": "Hi\nthere",
                "inbound.reply_text": "Hi",
                "inbound.message_id": "<9@example.org>",
                "inbound.spam_score": 0.1,
                "inbound.files[0].filename": "_a.png",
                "inbound.files[0].content": b"\0\0\0",
            },
        ),
    ),
)
