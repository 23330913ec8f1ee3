"""What a provider reports after the hand-over."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from genie_connect.model.frozen import EMPTY, FrozenMap


class EventKind(StrEnum):
    """The kinds of event, one vocabulary for all providers."""

    QUEUED = "queued"
    SENT = "sent"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    REJECTED = "rejected"
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    SUBSCRIBED = "subscribed"
    AUTORESPONDED = "autoresponded"
    INBOUND = "inbound"
    UNKNOWN = "unknown"


class BounceClass(StrEnum):
    """Whose fault a bounce is: ``blocked`` is about the sender, never a reason to suppress the recipient."""

    HARD = "hard"
    SOFT = "soft"
    BLOCKED = "blocked"
    UNDETERMINED = "undetermined"


@attrs.frozen(kw_only=True)
class Event:
    """A normalised event. ``id`` is never empty, ``time`` is in UTC, ``raw`` is the provider's own payload."""

    id: str = attrs.field(validator=attrs.validators.min_len(1))
    kind: EventKind
    time: datetime
    recipient: str | None = None
    message_id: str | None = None
    provider_id: str | None = None
    bounce: BounceClass | None = None
    reason: str | None = None
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    url: str | None = None
    user_agent: str | None = None
    machine: bool = False
    tags: tuple[str, ...] = ()
    metadata: FrozenMap[str] = EMPTY
    raw: FrozenMap[Any] = EMPTY
