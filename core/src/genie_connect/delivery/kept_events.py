"""Where events are kept: each once, with the copy that it is about."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import attrs

from genie_connect.delivery.journal import Leaving
from genie_connect.model.event import Event, EventKind
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect.model.same import bracketed, same_mailbox

K = TypeVar("K")
V = TypeVar("V")
MOST_IDS: Final = 100_000
MOST_MESSAGES: Final = 20_000
MOST_OF_A_COPY: Final = 100
"""So many opens and clicks of each recipient are kept, which robots make by the thousand, and of all twice as many."""
REPEATED: Final = frozenset({EventKind.OPENED, EventKind.CLICKED})
"""What happens to a copy again and again, and of which the first says nearly all."""
MOST_EARLY: Final = 10_000
"""So many of a provider's ids under which nothing is known to have been sent are kept with their events, in memory."""


@attrs.frozen(kw_only=True)
class Match:
    """The copy that an event is about: whom it went to, where that is who the event names, and its place in the store.

    ``address`` is ``None`` where the event names somebody else: then it says nothing about the one we wrote to.
    ``message_id`` is given where there is no store.
    """

    address: str | None = None
    message_id: str | None = None
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

    async def attach(self, connection: str, events: Sequence[Event], matches: Sequence[Match]) -> int:
        """Say of events that are kept which copies they are about after all; how many unknown copies that settles."""
        ...

    async def told(self, message_id: str, recipient: str | None = None) -> list[Event]:
        """The events of a copy, in the order of their coming."""
        ...


class MemoryEvents:
    """Events of a host without a store: bounded, and gone with the process.

    Only what this process sent is known as sent, and of that the latest messages: an event about another one matches
    nothing. It is the journal of such a host, which tells it what leaves, and the ids that providers give.

    ``look_again`` is called with the connection and events that came before the id that they name: a provider may be
    quicker with them than with its answer.
    """

    def __init__(self, *, most_messages: int = MOST_MESSAGES) -> None:
        self._most = most_messages
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._sent: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._told: dict[str, list[Event]] = {}
        self._attempts: dict[str, tuple[tuple[str, str], ...]] = {}
        self._by_attempt: dict[tuple[str, str], dict[str, None]] = {}
        self._provider_ids: dict[str, tuple[tuple[str, str], ...]] = {}
        self._by_provider_id: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
        self._early: OrderedDict[tuple[str, str], list[Event]] = OrderedDict()
        self.look_again: Callable[[str, Sequence[Event]], Awaitable[None]] | None = None

    async def leaving(self, leaving: Leaving) -> None:
        """These copies leave now."""
        attempt = (leaving.connection, leaving.attempt_id)
        named, attempts = self._by_attempt.setdefault(attempt, {}), (attempt,)
        for delivery in leaving.batch.deliveries:
            name = bracketed(delivery.message_id)
            recipients = tuple([address.email for address in delivery.addresses])
            earlier = self._sent.get(name)
            self._sent[name] = recipients if earlier is None else tuple(dict.fromkeys(earlier + recipients))
            # One tuple for all of them: twenty thousand messages are kept.
            self._attempts[name] = attempts if earlier is None else self._attempts[name] + attempts
            named[name] = None
        while len(self._sent) > self._most:
            self._forget(*self._sent.popitem(last=False))

    async def answered(self, attempt: Attempt, outcomes: Sequence[Outcome]) -> None:
        """The provider gave ids to those that it took."""
        given = {each.recipient: each.provider_id for each in outcomes if each.provider_id is not None}
        if not given:
            return
        for name in self._by_attempt.get((attempt.connection, attempt.id), ()):
            for email in self._sent[name]:
                if email in given:
                    key = (attempt.connection, given[email])
                    self._provider_ids[name] = (*self._provider_ids.get(name, ()), key)
                    self._by_provider_id.setdefault(key, {})[name, email] = None
        ids = dict.fromkeys(given.values()) if self._early else ()
        early = [event for id_ in ids for event in self._early.get((attempt.connection, id_), ())]
        if early and self.look_again is not None:
            await self.look_again(attempt.connection, early)

    async def fresh(self, connection: str, events: Sequence[Event]) -> list[Event]:
        """Those that are not kept yet, each id once."""
        by_id: dict[str, Event] = {}
        for event in events:
            by_id.setdefault(event.id, event)
        return [event for name, event in by_id.items() if (connection, name) not in self._ids]

    async def match(self, connection: str, events: Sequence[Event]) -> list[Match | None]:
        """The copy that each of them is about."""
        return [self._match(connection, event) for event in events]

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
            if match is not None:
                self._tell(event, match)
            elif event.provider_id is not None and event.kind is not EventKind.INBOUND:
                self._keep_early((connection, event.provider_id), event)
        return Taken(new=len(new), events=tuple(new))

    async def attach(self, connection: str, events: Sequence[Event], matches: Sequence[Match]) -> int:
        """Keep them with the copies that they are about after all."""
        for event, match in zip(events, matches, strict=True):
            self._tell(event, match)
            self._early_no_longer((connection, event.provider_id or ""), event)
        return 0

    async def told(self, message_id: str, recipient: str | None = None) -> list[Event]:
        """The events of a copy, in the order of their coming."""
        events = self._told.get(bracketed(message_id), [])
        return [event for event in events if recipient is None or same_mailbox(event.recipient or recipient, recipient)]

    def _tell(self, event: Event, match: Match) -> None:
        name = match.message_id
        if name is not None and name in self._sent:
            told = self._told.setdefault(name, [])
            # What is repeated leaves room for the rest: a complaint may come after all of it.
            room = MOST_OF_A_COPY if event.kind in REPEATED else 2 * MOST_OF_A_COPY
            if len(told) < room * len(self._sent[name]):
                told.append(event)

    def _keep_early(self, key: tuple[str, str], event: Event) -> None:
        early = self._early.setdefault(key, [])
        if len(early) < MOST_OF_A_COPY:
            early.append(event)
        if len(self._early) > MOST_EARLY:
            self._early.popitem(last=False)

    def _early_no_longer(self, key: tuple[str, str], event: Event) -> None:
        """Those of the same id whose copy is not known yet stay: the provider may give it to another one."""
        self._early[key] = [each for each in self._early.get(key, ()) if each.id != event.id]
        if not self._early[key]:
            del self._early[key]

    def _match(self, connection: str, event: Event) -> Match | None:
        name = bracketed(event.message_id or "")
        if name not in self._sent:
            named = self._named(connection, event)
            if len(named) != 1:
                return None
            (name,) = named
        return Match(address=addressed(event, self._sent[name]), message_id=name)

    def _named(self, connection: str, event: Event) -> set[str]:
        """The messages that the attempt's id or the provider's stands for, with the event's recipient."""
        attempted = self._by_attempt.get((connection, event.attempt_id or ""), ())
        pairs = [(name, email) for name in attempted for email in self._sent[name]]
        pairs = pairs or list(self._by_provider_id.get((connection, event.provider_id or ""), ()))
        if event.recipient is not None:
            same = [name for name, email in pairs if email == event.recipient]
            return set(same or [name for name, email in pairs if same_mailbox(email, event.recipient)])
        return {name for name, _ in pairs}

    def _forget(self, name: str, recipients: tuple[str, ...]) -> None:
        self._told.pop(name, None)
        for attempt in self._attempts.pop(name, ()):
            _without(self._by_attempt, attempt, name)
        for key in self._provider_ids.pop(name, ()):
            for email in recipients:
                _without(self._by_provider_id, key, (name, email))


def _without(table: dict[K, dict[V, None]], key: K, value: V) -> None:
    """Take one of a key's values out, and the key with the last of them."""
    values = table.get(key, {})
    values.pop(value, None)
    if not values:
        table.pop(key, None)


def addressed(event: Event, recipients: Sequence[str]) -> str | None:
    """Which of a copy's recipients an event is about; the only one, where it names nobody."""
    if event.recipient is None:
        return recipients[0] if len(recipients) == 1 else None
    return next((each for each in recipients if same_mailbox(each, event.recipient)), None)
