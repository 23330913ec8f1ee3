"""Events of Azure Communication Services, by Event Grid."""

from __future__ import annotations

from typing import Any

from genie_connect_contrib.azure import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, Hook, credentials, pair
from tests.contrib.providers.harness import SECRET

_ID = "950850f5-bcdf-4315-b77a-6447cf56fac9"
_VALIDATES = "https://rp-westeurope.eventgrid.azure.net:553/eventsubscriptions/x/validate?id=1&t=2"


def _event(word: str, **data: Any) -> dict[str, Any]:
    return {
        "id": "1b4a8c44-0000-4000-8000-000000000000",
        "topic": "/subscriptions/1/resourceGroups/2/providers/Microsoft.Communication/communicationServices/acme",
        "subject": f"sender/shop@example.com/message/{_ID}",
        "eventType": f"Microsoft.{word}",
        "eventTime": "2026-11-25T10:00:00.1234567Z",
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "data": data,
    }


def _report(status: str, said: str = "") -> dict[str, Any]:
    return _event(
        "Communication.EmailDeliveryReportReceived",
        sender="shop@example.com",
        recipient=ADA,
        messageId=_ID,
        internetMessageId="<x@azure>",
        status=status,
        deliveryStatusDetails={"statusMessage": said},
        deliveryAttemptTimeStamp="2026-11-25T10:00:00.1234567+00:00",
    )


def _engagement(kind: str, **more: Any) -> dict[str, Any]:
    return _event(
        "Communication.EmailEngagementTrackingReportReceived",
        sender="shop@example.com",
        recipient=ADA,
        messageId=_ID,
        userActionTimeStamp="2026-11-25T10:00:00.1234567+00:00",
        engagementType=kind,
        userAgent="x",
        **more,
    )


_KNOWN = {"recipient": ADA, "provider_id": _ID}
_VALIDATION = "EventGrid.SubscriptionValidationEvent"

HOOK = Hook(
    connector=connector,
    settings={"resource": "acme.europe", "access_key": SECRET},
    keyed=pair("webhook_secret", credentials),
    post=MAKERS["basic"],
    wrapped=lambda items: items,
    kind_field="eventType",
    id_field="id",
    samples=(
        (_report("Delivered"), {**_KNOWN, "kind": "delivered"}),
        (
            _report("Bounced", "550 5.1.1 user unknown"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected"},
        ),
        (
            _report("Failed", "452 4.2.2 mailbox full"),
            {**_KNOWN, "kind": "bounced", "bounce": "soft", "reason": "mailbox_full"},
        ),
        (_report("Failed"), {**_KNOWN, "kind": "bounced", "bounce": "undetermined"}),
        (_report("Suppressed"), {**_KNOWN, "kind": "rejected", "reason": "suppressed"}),
        (_report("FilteredSpam"), {**_KNOWN, "kind": "bounced", "bounce": "blocked", "reason": "content_rejected"}),
        (_report("Expanded"), {**_KNOWN, "kind": "unknown"}),
        (_engagement("view"), {**_KNOWN, "kind": "opened", "user_agent": "x"}),
        (
            _engagement("click", engagementContext="https://e.com/"),
            {**_KNOWN, "kind": "clicked", "url": "https://e.com/"},
        ),
        (_event(_VALIDATION, validationUrl=_VALIDATES), {"kind": "unknown", "url": _VALIDATES}),
        (
            _event(_VALIDATION, validationUrl="https://evil.example/.eventgrid.azure.net/"),
            {"kind": "unknown", "url": None},
        ),
        (
            {
                "specversion": "1.0",
                "type": "Microsoft.Communication.EmailDeliveryReportReceived",
                "source": "/subscriptions/1",
                "id": "c1",
                "time": "2026-11-25T10:00:00Z",
                "data": {"recipient": ADA, "messageId": _ID, "status": "Delivered"},
            },
            {**_KNOWN, "id": "c1", "kind": "delivered"},
        ),
    ),
)
