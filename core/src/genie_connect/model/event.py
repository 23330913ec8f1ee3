"""What a provider reports after the hand-over."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import attrs

from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.inbound import InboundMessage

ATTEMPT: Final = "genie_attempt"
MESSAGE_ID: Final = "genie_message_id"
"""Names under which a connector may keep an attempt's id and a copy's Message-ID in a provider's metadata, so that
events and look-ups find the copy: by its Message-ID, or by the attempt and the recipient."""


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


class Reason(StrEnum):
    """Why a message was put off, refused or returned: the words of an outcome's ``reason``, and a few more."""

    RECIPIENT_REJECTED = "recipient_rejected"
    """the mailbox or its domain does not exist"""
    MAILBOX_FULL = "mailbox_full"
    SENDER_REJECTED = "sender_rejected"
    CONTENT_REJECTED = "content_rejected"
    TOO_LARGE = "too_large"
    POLICY = "policy"
    """because of who we are: reputation, block list, SPF, DKIM, DMARC"""
    AUTH = "auth"
    THROTTLED = "throttled"
    GREYLISTED = "greylisted"
    TEMPORARY = "temporary"
    CONNECT = "connect"
    TLS = "tls"
    PROTOCOL = "protocol"
    PERMANENT = "permanent"
    EXPIRED = "expired"
    """tried until there was no time left"""
    SUPPRESSED = "suppressed"
    """the provider has the recipient on a list of its own"""
    INTERNAL = "internal"
    """the provider could not put the message together"""
    OTHER = "other"
    """the provider gave a reason that has no word here; ``text`` has its own"""


ABOUT_US: Final = frozenset({Reason.POLICY, Reason.AUTH, Reason.SENDER_REJECTED, Reason.THROTTLED})
"""Reasons that say something of the sender, and nothing of the recipient."""


def _utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        raise ValueError("an event's time needs a time zone")
    return value.astimezone(UTC)


def _kind(value: EventKind | str) -> EventKind:
    return value if type(value) is EventKind else EventKind(value)


def _reason(value: Reason | str | None) -> Reason | None:
    return value if value is None or type(value) is Reason else Reason(value)


def _bounce(value: BounceClass | str | None) -> BounceClass | None:
    return value if value is None or type(value) is BounceClass else BounceClass(value)


def _not_empty(_instance: Event, _attribute: attrs.Attribute[str], value: str) -> None:
    if not value or not isinstance(value, str):
        raise ValueError("an event's id is empty, or no text")


# Without slots: a frozen class with them takes twice as long to be made, and events come by the thousand.
@attrs.frozen(kw_only=True, slots=False)
class Event:
    """A normalised event.

    ``id`` is never empty, and the same however often the event comes: the host keeps each once. ``time`` is in UTC,
    ``recipient`` a bare address. Which copy it is about is said by ``message_id``, our own Message-ID, or by
    ``attempt_id``, the hand-over by which it left, with the recipient, or by ``provider_id``, the provider's. ``text``
    is what the other side said, ``machine`` whether a program opened or clicked, ``inbound`` the message of an inbound
    event, ``raw`` the provider's own payload. ``error`` says why an event of kind ``unknown`` could not be read.

    Raises ``ValueError`` for a time without a zone, an empty id, and words that are none of the vocabulary.
    """

    id: str = attrs.field(validator=_not_empty)
    kind: EventKind = attrs.field(converter=_kind)
    time: datetime = attrs.field(converter=_utc)
    recipient: str | None = None
    message_id: str | None = None
    attempt_id: str | None = None
    provider_id: str | None = None
    bounce: BounceClass | None = attrs.field(default=None, converter=_bounce)
    reason: Reason | None = attrs.field(default=None, converter=_reason)
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    url: str | None = None
    user_agent: str | None = None
    machine: bool = False
    tags: tuple[str, ...] = ()
    metadata: FrozenMap[str] = EMPTY
    inbound: InboundMessage | None = None
    raw: FrozenMap[Any] = EMPTY
    error: str | None = None

    @property
    def address_is_bad(self) -> bool:
        """Whether it says that the mailbox does not exist: a hard bounce that is not about us or the message."""
        return (
            self.kind is EventKind.BOUNCED
            and self.bounce is BounceClass.HARD
            and self.reason in (None, Reason.RECIPIENT_REJECTED)
        )

    @property
    def about_us(self) -> bool:
        """Whether it says that somebody does not want mail from us, whoever it is for."""
        return self.bounce is BounceClass.BLOCKED or (
            self.kind in (EventKind.BOUNCED, EventKind.DEFERRED, EventKind.REJECTED) and self.reason in ABOUT_US
        )


def event_of(fields: dict[str, Any]) -> Event:
    """``Event(**fields)`` where all fields are given; far faster where each is already what it has to be.

    The dictionary becomes the event's own.
    """
    if not (
        fields["id"]
        and type(fields["id"]) is str
        and type(fields["kind"]) is EventKind
        and fields["time"].tzinfo is UTC
        and type(fields["bounce"]) in _NONE_OR_BOUNCE
        and type(fields["reason"]) in _NONE_OR_REASON
    ):
        return Event(**fields)
    event = object.__new__(Event)
    object.__setattr__(event, "__dict__", fields)
    return event


_NONE_OR_BOUNCE: Final = (type(None), BounceClass)
_NONE_OR_REASON: Final = (type(None), Reason)
