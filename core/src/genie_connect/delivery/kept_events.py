"""Where events are kept: each once, with the copy that it is about."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import attrs

from genie_connect.model.event import Event
from genie_connect.model.same import bracketed, same_mailbox

MOST_IDS: Final = 100_000
MOST_MESSAGES: Final = 20_000
MOST_OF_A_COPY: Final = 100


@attrs.frozen(kw_only=True)
class Match:
    """The copy that an event is about: whom it went to, where that is who the event names, and its place in the store.

    ``address`` is ``None`` where the event names somebody else: then it says nothing about the one we wrote to.
    """

    address: str | None = None
    unit: int | None = None
    position: int | None = None


@attrs.frozen(kw_only=True)
class Taken:
    """What became of events: those that were new, how many these were, and how many unknown copies they settled."""

    new: int = 0
    resolved: int = 0
    events: tuple[Event, ...] = attrs.field(default=(), eq=False, repr=False)


class EventKeeper(Protocol):
    """Where events are kept. Each method raises ``StoreUnavailable``; the provider is then to report them again."""

    async def fresh(self, connection: str, events: Sequence[Event]) -> list[Event]:
        """Those that are not kept yet, each id once."""
        ...

    async def match(self, connection: str, events: Sequence[Event]) -> list[Match | None]:
        """The copy that each of them is about, or ``None`` where we sent no such copy."""
        ...

    async def append(self, connection: str, events: Sequence[Event], matches: Sequence[Match | None]) -> Taken:
        """Keep them, and settle what they prove of unknown copies. One that is known changes nothing."""
        ...

    async def told(self, message_id: str, recipient: str | None = None) -> list[Event]:
        """The events of a copy, in the order of their coming."""
        ...


class MemoryEvents:
    """Events of a host without a store: bounded, and gone with the process.

    Only what this process sent is known as sent, and of that the latest messages: an event about another one matches
    nothing.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._sent: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._told: dict[str, list[Event]] = {}

    def sent(self, message_id: str, recipients: Iterable[str]) -> None:
        """A message leaves now, for these bare addresses."""
        name = bracketed(message_id)
        self._sent[name] = tuple(recipients)
        if len(self._sent) > MOST_MESSAGES:
            oldest, _ = self._sent.popitem(last=False)
            self._told.pop(oldest, None)

    async def fresh(self, connection: str, events: Sequence[Event]) -> list[Event]:
        """Those that are not kept yet, each id once."""
        by_id: dict[str, Event] = {}
        for event in events:
            by_id.setdefault(event.id, event)
        return [event for name, event in by_id.items() if (connection, name) not in self._ids]

    async def match(self, connection: str, events: Sequence[Event]) -> list[Match | None]:
        """The copy that each of them is about."""
        return [self._match(event) for event in events]

    async def append(self, connection: str, events: Sequence[Event], matches: Sequence[Match | None]) -> Taken:
        """Keep their ids, and those that are about a copy of ours."""
        new: list[Event] = []
        for event, match in zip(events, matches, strict=True):
            key = (connection, event.id)
            if key in self._ids:
                continue
            self._ids[key] = None
            if len(self._ids) > MOST_IDS:
                self._ids.popitem(last=False)
            new.append(event)
            if match is not None and event.message_id is not None:
                told = self._told.setdefault(bracketed(event.message_id), [])
                if len(told) < MOST_OF_A_COPY * len(self._sent[bracketed(event.message_id)]):
                    told.append(event)
        return Taken(new=len(new), events=tuple(new))

    async def told(self, message_id: str, recipient: str | None = None) -> list[Event]:
        """The events of a copy, in the order of their coming."""
        events = self._told.get(bracketed(message_id), [])
        return [event for event in events if recipient is None or same_mailbox(event.recipient or recipient, recipient)]

    def _match(self, event: Event) -> Match | None:
        recipients = self._sent.get(bracketed(event.message_id or ""))
        return None if recipients is None else Match(address=addressed(event, recipients))


def addressed(event: Event, recipients: Sequence[str]) -> str | None:
    """Which of a copy's recipients an event is about; the only one, where it names nobody."""
    if event.recipient is None:
        return recipients[0] if len(recipients) == 1 else None
    return next((each for each in recipients if same_mailbox(each, event.recipient)), None)
