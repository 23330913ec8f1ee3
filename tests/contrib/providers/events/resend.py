"""Resend's events."""

from __future__ import annotations

from typing import Any

from genie_connect_contrib.resend import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, Hook, pair
from tests.contrib.providers.harness import SECRET
from tests.webhooks.schemes import whsec

_ID = "56761188-7520-42d8-8898-ff6fc54ce618"


def _event(kind: str, **more: Any) -> dict[str, Any]:
    data = {
        "email_id": _ID,
        "created_at": "2026-11-25T09:00:00.000Z",
        "from": "Shop <shop@example.com>",
        "to": [f"Ada <{ADA}>"],
        "subject": "Hi",
        "tags": {"receipt": "1", "order": "7"},
        **more,
    }
    return {"type": f"email.{kind}", "created_at": "2026-11-25T10:00:00.000Z", "data": data}


def _bounce(kind: str, sub: str, said: str = "") -> dict[str, Any]:
    return _event("bounced", bounce={"type": kind, "subType": sub, "message": "m", "diagnosticCode": [said]})


_KNOWN = {"recipient": ADA, "provider_id": _ID, "tags": ("receipt",), "metadata": {"order": "7"}}

HOOK = Hook(
    connector=connector,
    settings={"api_key": SECRET},
    keyed=pair("webhook_secret", whsec),
    post=MAKERS["resend"],
    window_s=300,
    kind_field="type",
    samples=(
        (_event("scheduled"), {**_KNOWN, "kind": "queued"}),
        (_event("sent"), {**_KNOWN, "kind": "sent"}),
        (_event("delivered"), {**_KNOWN, "kind": "delivered"}),
        (_event("delivery_delayed"), {**_KNOWN, "kind": "deferred"}),
        (
            _bounce("Permanent", "General", "smtp; 550 5.1.1 user unknown"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected", "code": 550},
        ),
        (_bounce("Permanent", "NoEmail"), {"kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"}),
        (_bounce("Transient", "MailboxFull"), {"kind": "bounced", "bounce": "soft", "reason": "mailbox_full"}),
        (_bounce("Undetermined", "Undetermined"), {"kind": "bounced", "bounce": "undetermined"}),
        (_event("complained"), {**_KNOWN, "kind": "complained"}),
        (_event("opened"), {**_KNOWN, "kind": "opened"}),
        (
            _event("clicked", click={"link": "https://example.com/a", "userAgent": "x", "ipAddress": "192.0.2.1"}),
            {**_KNOWN, "kind": "clicked", "url": "https://example.com/a", "user_agent": "x"},
        ),
        (
            _event("failed", failed={"reason": "reached_daily_quota"}),
            {"kind": "rejected", "reason": "throttled", "text": "reached_daily_quota"},
        ),
        (
            _event("suppressed", suppressed={"message": "On a list", "reason": "previous_bounce"}),
            {"kind": "rejected", "reason": "suppressed", "text": "On a list"},
        ),
        (_event("opened", to=[ADA, "bob@example.com"]), {"kind": "opened", "recipient": None}),
        (
            _event("received", to=["shop@example.com"], cc=[], bcc=[], message_id="<9@example.org>", attachments=[]),
            {"kind": "inbound", "provider_id": _ID, "inbound.subject": "Hi", "inbound.message_id": "<9@example.org>"},
        ),
        ({"type": "domain.created", "created_at": "2026-11-25T10:00:00.000Z", "data": {}}, {"kind": "unknown"}),
    ),
)
