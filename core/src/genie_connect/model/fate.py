"""What became of one copy of a message, told by its events in whatever order they come.

Providers report late, twice, in batches and out of order. So a fate is a point of a lattice: two of them join by taking
of each field what says more, which is associative, commutative and idempotent. The same events give the same fate,
however they were ordered, repeated or grouped, and nothing that is known is lost: a late ``delivered`` never erases a
complaint.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, TypeVar

import attrs

from genie_connect.model.event import BounceClass, Event, EventKind, Reason

T = TypeVar("T")


class Stage(IntEnum):
    """How far a copy has come; a later one includes what the earlier ones say.

    A soft bounce stands below ``DELIVERED``, since providers report one for each try that failed. Any other bounce
    stands above it: servers take messages that they return an hour later.
    """

    UNHEARD = 0
    QUEUED = 1
    SENT = 2
    DEFERRED = 3
    REJECTED = 4
    SOFT_BOUNCED = 5
    DELIVERED = 6
    BOUNCED = 7


_STAGES: Final[Mapping[EventKind, Stage]] = {
    EventKind.QUEUED: Stage.QUEUED,
    EventKind.SENT: Stage.SENT,
    EventKind.DEFERRED: Stage.DEFERRED,
    EventKind.REJECTED: Stage.REJECTED,
    EventKind.DELIVERED: Stage.DELIVERED,
    # Nobody opens, answers or complains about what has not arrived.
    EventKind.OPENED: Stage.DELIVERED,
    EventKind.CLICKED: Stage.DELIVERED,
    EventKind.COMPLAINED: Stage.DELIVERED,
    EventKind.UNSUBSCRIBED: Stage.DELIVERED,
    EventKind.AUTORESPONDED: Stage.DELIVERED,
}
_BOUNCES: Final = (BounceClass.SOFT, BounceClass.UNDETERMINED, BounceClass.BLOCKED, BounceClass.HARD)
"""From the one that says least to the one that says most."""


@attrs.frozen(kw_only=True)
class Trouble:
    """Why a copy was put off, refused or returned. Of several the one of the highest stage counts, then the latest."""

    stage: Stage
    time: datetime
    event: str
    reason: Reason | None = None
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None

    @property
    def _rank(self) -> tuple[Any, ...]:
        # Down to the last field: two events of one id need not say the same.
        rest = (self.reason, self.code, self.enhanced, self.text)
        return (self.stage, self.time, self.event, *[(value is not None, value) for value in rest])


@attrs.frozen(kw_only=True)
class Fate:
    """What became of one copy. Times are those of the earliest event of their kind, or ``None``.

    ``opened`` and ``clicked`` are by people; what programs did is apart. ``at`` is the time of the latest event.
    """

    stage: Stage = Stage.UNHEARD
    bounce: BounceClass | None = None
    trouble: Trouble | None = None
    delivered: datetime | None = None
    complained: datetime | None = None
    opened: datetime | None = None
    opened_by_machine: datetime | None = None
    clicked: datetime | None = None
    clicked_by_machine: datetime | None = None
    autoresponded: datetime | None = None
    unsubscribed_at: datetime | None = None
    subscribed_at: datetime | None = None
    at: datetime | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> Fate:
        """The fate that these events tell of."""
        return functools.reduce(Fate.join, map(_told_by, events), cls())

    def join(self, other: Fate) -> Fate:
        """What both know together."""
        return Fate(**{name: choose(getattr(self, name), getattr(other, name)) for name, choose in _CHOICES.items()})

    @property
    def unsubscribed(self) -> bool:
        """Whether the last thing that was said about it was to unsubscribe."""
        if self.unsubscribed_at is None:
            return False
        return self.subscribed_at is None or self.unsubscribed_at >= self.subscribed_at

    @property
    def word(self) -> str:
        """One word for it: ``complained`` before anything else, then its stage."""
        return "complained" if self.complained is not None else self.stage.name.lower()


def _told_by(event: Event) -> Fate:
    time, kind = event.time, event.kind
    stage = _STAGES.get(kind, Stage.UNHEARD)
    bounce = None
    if kind is EventKind.BOUNCED:
        bounce = event.bounce or BounceClass.UNDETERMINED
        stage = Stage.SOFT_BOUNCED if bounce is BounceClass.SOFT else Stage.BOUNCED
    trouble = None
    if kind in (EventKind.DEFERRED, EventKind.REJECTED, EventKind.BOUNCED):
        trouble = Trouble(
            stage=stage,
            time=time,
            event=event.id,
            reason=event.reason,
            code=event.code,
            enhanced=event.enhanced,
            text=event.text,
        )

    def when(wanted: EventKind, *, machine: bool | None = None) -> datetime | None:
        return time if kind is wanted and machine in (None, event.machine) else None

    return Fate(
        stage=stage,
        bounce=bounce,
        trouble=trouble,
        delivered=when(EventKind.DELIVERED),
        complained=when(EventKind.COMPLAINED),
        opened=when(EventKind.OPENED, machine=False),
        opened_by_machine=when(EventKind.OPENED, machine=True),
        clicked=when(EventKind.CLICKED, machine=False),
        clicked_by_machine=when(EventKind.CLICKED, machine=True),
        autoresponded=when(EventKind.AUTORESPONDED),
        unsubscribed_at=when(EventKind.UNSUBSCRIBED),
        subscribed_at=when(EventKind.SUBSCRIBED),
        at=time,
    )


def _either(choose: Callable[[T, T], T]) -> Callable[[T | None, T | None], T | None]:
    def chosen(one: T | None, other: T | None) -> T | None:
        if one is None or other is None:
            return other if one is None else one
        return choose(one, other)

    return chosen


def _worse(one: BounceClass, other: BounceClass) -> BounceClass:
    return max(one, other, key=_BOUNCES.index)


def _graver(one: Trouble, other: Trouble) -> Trouble:
    return max(one, other, key=lambda trouble: trouble._rank)  # noqa: SLF001  # its own module


_earliest: Final = _either(min)
_latest: Final = _either(max)
_CHOICES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "stage": max,
    "bounce": _either(_worse),
    "trouble": _either(_graver),
    "delivered": _earliest,
    "complained": _earliest,
    "opened": _earliest,
    "opened_by_machine": _earliest,
    "clicked": _earliest,
    "clicked_by_machine": _earliest,
    "autoresponded": _earliest,
    "unsubscribed_at": _latest,
    "subscribed_at": _latest,
    "at": _latest,
}
"""Of each field, which of two values says more. Every one of them is associative, commutative and idempotent."""
