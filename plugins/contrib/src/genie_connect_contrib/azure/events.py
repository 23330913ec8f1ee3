"""Events of Azure Communication Services, which Event Grid posts.

https://learn.microsoft.com/azure/event-grid/communication-services-email-events

A list of events in Event Grid's schema, or one or several in that of CloudEvents. Event Grid signs nothing. It asks
first whether the endpoint wants its events: in its own schema with an event that holds a URL, which is never fetched
here, and in that of CloudEvents by OPTIONS with its name
(https://learn.microsoft.com/azure/event-grid/cloud-event-schema#endpoint-validation-with-cloudevents-v10).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookChallenge, WebhookRejected
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.secret import Secret
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.signatures import shared_key, signing_keys, verify_shared

DELIVERY: Final = "Microsoft.Communication.EmailDeliveryReportReceived"
ENGAGEMENT: Final = "Microsoft.Communication.EmailEngagementTrackingReportReceived"
VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"
STATUSES: Final = {
    "Delivered": Means(EventKind.DELIVERED),
    "Bounced": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
    "Failed": Means(EventKind.BOUNCED),
    "Suppressed": Means(EventKind.REJECTED, reason=Reason.SUPPRESSED),
    "Quarantined": Means(EventKind.BOUNCED, bounce=BounceClass.BLOCKED, reason=Reason.CONTENT_REJECTED),
    "FilteredSpam": Means(EventKind.BOUNCED, bounce=BounceClass.BLOCKED, reason=Reason.CONTENT_REJECTED),
}
"""The field ``status`` of a delivery report. ``Expanded`` (a list was taken apart) says nothing of a delivery."""
ENGAGEMENTS: Final = {"view": Means(EventKind.OPENED), "click": Means(EventKind.CLICKED)}
ORIGIN: Final = "webhook-request-origin"
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}\Z")
_CODE: Final = re.compile(r"[!-~]{1,200}\Z")
_VALIDATES: Final = re.compile(
    r"https://[a-z0-9.-]{1,100}\.eventgrid\.azure\.(?:net|us|cn)(?::[0-9]{2,5})?/[!-~]{1,1000}\Z"
)


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a webhook that comes with one of the secrets. Raises ``WebhookRejected``, and nothing else.

    A new subscription raises ``WebhookChallenge``, whose answer confirms it. Where it gives no code, or comes with
    other events, there is an event of kind ``unknown`` whose ``url`` confirms it, for a person to open.
    """
    verify_shared(request, signing_keys(secrets, shared_key))
    if request.method == "OPTIONS":
        raise _permission(request)
    data = json_body(request)
    code = _asked(data)
    if code is not None:
        raise WebhookChallenge(json.dumps({"validationResponse": code}))
    return events_of(data, _event, request)


def _permission(request: WebhookRequest) -> WebhookRejected:
    """The answer that whoever knows the secret may post, as often as it likes."""
    origin = request.headers.get(ORIGIN, "")
    if not _HOST.match(origin):
        return WebhookRejected("it names no host that asks", status=400, field=ORIGIN)
    return WebhookChallenge(headers={"webhook-allowed-origin": origin, "webhook-allowed-rate": "*"})


def _asked(data: Any) -> str | None:
    """The code in an event that asks for it, and comes alone."""
    alone = data[0] if isinstance(data, list) and len(data) == 1 else data
    if not isinstance(alone, dict) or alone.get("eventType") != VALIDATION or not isinstance(alone.get("data"), dict):
        return None
    code = alone["data"].get("validationCode")
    return code if isinstance(code, str) and _CODE.match(code) else None


def _event(item: Fields) -> Event:
    word, data = item.word("eventType") or item.word("type"), item.within("data")
    means, url = UNKNOWN, data.text("engagementContext")
    if word == DELIVERY:
        means = STATUSES.get(data.word("status"), UNKNOWN)
    elif word == ENGAGEMENT:
        means = ENGAGEMENTS.get(data.word("engagementType").lower(), UNKNOWN)
    elif word == VALIDATION:
        url = data.text("validationUrl")
        url = url if url and _VALIDATES.match(url) else None
    times = (data, "deliveryAttemptTimeStamp"), (data, "deliveryAttemptTimestamp"), (data, "userActionTimeStamp")
    more = (data, "userActionTimestamp"), (item, "eventTime")
    place, name = next(
        ((place, name) for place, name in (*times, *more) if place.get(name) is not None), (item, "time")
    )
    return item.event(
        means,
        id=item.text("id"),
        time=place.iso(name),
        recipient=data.address("recipient"),
        provider_id=data.text("messageId"),
        text="an event subscription asks to be confirmed" if word == VALIDATION else None,
        reply=data.within("deliveryStatusDetails").text("statusMessage"),
        url=url if means.kind is EventKind.CLICKED or word == VALIDATION else None,
        user_agent=data.text("userAgent"),
    )
