"""The sandbox provider's webhooks: verified over the raw bytes, then read event by event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.address import Address
from genie_connect.model.event import BounceClass, Event, EventKind
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.secret import Secret
from genie_connect.model.text import clean_reply
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.signatures import signing_key, signing_keys, verify_standard

KINDS = {
    "delivered": EventKind.DELIVERED,
    "deferred": EventKind.DEFERRED,
    "bounced": EventKind.BOUNCED,
    "complained": EventKind.COMPLAINED,
    "opened": EventKind.OPENED,
    "clicked": EventKind.CLICKED,
    "unsubscribed": EventKind.UNSUBSCRIBED,
}
"""The provider's types of event; any other is kept as ``unknown``."""

BOUNCES = {"hard": BounceClass.HARD, "soft": BounceClass.SOFT, "blocked": BounceClass.BLOCKED}


def parse_webhook(secrets: Iterable[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a webhook that one of the secrets has signed, each by itself: a bad one is ``unknown``.

    Raises ``WebhookRejected``, and nothing else.
    """
    verify_standard(request, signing_keys(secrets, signing_key))
    data = json_body(request)
    events = data.get("events") if isinstance(data, dict) else None
    if not isinstance(events, list):
        raise WebhookRejected("its body has no list of events", status=400)
    return tuple(_event(given, request.received_at) for given in events)


def _event(given: Any, received_at: datetime) -> Event:
    raw = FrozenMap(given if isinstance(given, dict) else {"value": given})
    try:
        return _known(raw)
    except (ValueError, TypeError, OverflowError):
        return Event(id=_digest(raw), kind=EventKind.UNKNOWN, time=received_at, raw=raw)


def _known(raw: FrozenMap[Any]) -> Event:
    kind = KINDS.get(_text(raw, "type") or "", EventKind.UNKNOWN)
    bounce = BOUNCES.get(_text(raw, "bounce") or "", BounceClass.UNDETERMINED) if kind is EventKind.BOUNCED else None
    recipient = _text(raw, "recipient")
    return Event(
        id=_text(raw, "id") or _digest(raw),
        kind=kind,
        time=_time(raw.get("time")),
        recipient=None if recipient is None else Address.parse(recipient).email,
        message_id=_text(raw, "message_id"),
        provider_id=_text(raw, "provider_id"),
        bounce=bounce,
        reason=_text(raw, "reason"),
        code=_whole(raw, "code"),
        enhanced=_text(raw, "enhanced"),
        text=_text(raw, "text"),
        url=_text(raw, "url"),
        user_agent=_text(raw, "user_agent"),
        machine=raw.get("machine") is True,
        tags=tuple(_strings(raw.get("tags", []))),
        metadata=_metadata(raw.get("metadata", {})),
        raw=raw,
    )


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(name)
    return clean_reply(value, limit=2000) or None


def _whole(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(name)
    return value


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("time")
    return time.astimezone(UTC)


def _strings(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("tags")
    return [clean_reply(value) for value in values]


def _metadata(values: Any) -> FrozenMap[str]:
    if not isinstance(values, dict):
        raise TypeError("metadata")
    return FrozenMap(zip(values, _strings(list(values.values())), strict=True))


def _digest(raw: Mapping[str, Any]) -> str:
    # The same event has the same id however often and in whatever batch it comes.
    canonical = json.dumps(dict(raw), sort_keys=True).encode()
    return "sha256:" + hashlib.sha256(canonical).hexdigest()
