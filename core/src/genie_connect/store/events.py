"""Reports from after the hand-over, each kept once, and what they prove.

Where the copy is ``unknown``, because no answer came or the process died, an event that only a message that was taken
can have settles it, and so does one that says it was refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import sqlalchemy as sa

from genie_connect.delivery.kept_events import Match, Taken
from genie_connect.errors import NothingUnknown
from genie_connect.model.codec import structure, unstructure
from genie_connect.model.event import Event, EventKind
from genie_connect.model.outcome import State
from genie_connect.model.same import bracketed
from genie_connect.store.database import Database
from genie_connect.store.matching import Matching
from genie_connect.store.schema import events as table
from genie_connect.store.schema import outcomes
from genie_connect.store.statements import Dialect
from genie_connect.store.unknown import Resolution, ResolvedBy, Unknown

PROOF: Final[Mapping[EventKind, Resolution]] = {
    EventKind.QUEUED: Resolution.ACCEPTED,
    EventKind.SENT: Resolution.ACCEPTED,
    EventKind.DEFERRED: Resolution.ACCEPTED,
    EventKind.DELIVERED: Resolution.ACCEPTED,
    EventKind.BOUNCED: Resolution.ACCEPTED,
    EventKind.COMPLAINED: Resolution.ACCEPTED,
    EventKind.OPENED: Resolution.ACCEPTED,
    EventKind.CLICKED: Resolution.ACCEPTED,
    EventKind.UNSUBSCRIBED: Resolution.ACCEPTED,
    EventKind.AUTORESPONDED: Resolution.ACCEPTED,
    EventKind.REJECTED: Resolution.REJECTED,
}
"""What each kind says of the hand-over: a bounce, too, was taken first. The others are about no copy of ours."""
MOST_AT_ONCE: Final = 1_000
IDS_AT_ONCE: Final = 500
_ID_LENGTH: Final = 128


class EventLog:
    """The events of one tenant."""

    def __init__(self, database: Database, unknown: Unknown) -> None:
        self._database = database
        self._unknown = unknown
        self._matching = Matching(database, unknown)

    async def fresh(self, connection: str, events: Sequence[Event]) -> list[Event]:
        """Those that are not kept yet, each id once."""
        by_id: dict[str, Event] = {}
        for event in events:
            by_id.setdefault(_id(connection, event.id), event)
        known: set[str] = set()
        ids = list(by_id)
        async with self._database.read() as opened:
            for start in range(0, len(ids), IDS_AT_ONCE):
                chosen = sa.select(table.c.id).where(
                    table.c.tenant == self._database.tenant, table.c.id.in_(ids[start : start + IDS_AT_ONCE])
                )
                known |= set(await opened.scalars(chosen))
        return [event for name, event in by_id.items() if name not in known]

    async def match(self, connection: str, events: Sequence[Event]) -> list[Match | None]:
        """The copy that each of them is about, or ``None`` where we sent no such copy."""
        return await self._matching.of(connection, events)

    async def append(
        self, connection: str, events: Sequence[Event], matches: Sequence[Match | None] | None = None
    ) -> Taken:
        """Keep what a connection's provider reported, and settle what it proves. One that is known changes nothing.

        Raises ``StoreUnavailable``; the provider is then to report it again.
        """
        found = await self.match(connection, events) if matches is None else matches
        # Settled before it is kept: a process that dies in between gets the event again, and settles nothing twice.
        proven = [
            (_place(match), event)
            for event, match in zip(events, found, strict=True)
            if match is not None and event.kind in PROOF
        ]
        # Nearly all of them are about copies whose fate is known. One that is in doubt from now on is reconciled.
        in_doubt = await self._unknown.among({place for place, _ in proven})
        resolved = sum(
            [await self._settle(place, event.kind, event.text) for place, event in proven if place in in_doubt]
        )
        once: dict[str, tuple[Event, Match | None]] = {}
        for event, match in zip(events, found, strict=True):
            once.setdefault(_id(connection, event.id), (event, match))
        kept = await self._insert([self._row(connection, event, match) for event, match in once.values()])
        new = tuple([event for name, (event, _) in once.items() if name in kept])
        return Taken(new=len(new), resolved=resolved, events=new)

    async def _insert(self, rows: Sequence[dict[str, Any]]) -> set[str]:
        """Keep these; the ids of those that were not kept before."""
        if not rows:
            return set()
        insert = Dialect(self._database).ignore(table).returning(table.c.id)
        async with self._database.begin() as opened:
            return set(await opened.scalars(insert, rows))

    async def told(self, message_id: str, recipient: str | None = None) -> list[Event]:
        """The events of a copy, in the order of their coming; none where it is no copy of ours."""
        copy = await self._unknown.find(bracketed(message_id), recipient)
        if copy is None:
            return []
        chosen = (
            sa.select(table.c.data)
            .where(table.c.tenant == self._database.tenant, table.c.unit_id == copy[0], table.c.position == copy[1])
            .order_by(table.c.received, table.c.id)
        )
        async with self._database.read() as opened:
            found = (await opened.scalars(chosen)).all()
        return [structure(Event, json.loads(data)) for data in found]

    async def reconcile(self) -> int:
        """Settle copies that became unknown after their event had come in; how many.

        An event may be quicker than the answer, and the process may die between the two.
        """
        mine = self._database.tenant
        proving = [kind.value for kind in PROOF]
        same = (table.c.unit_id == outcomes.c.unit_id) & (table.c.position == outcomes.c.position)
        chosen = (
            sa.select(outcomes.c.unit_id, outcomes.c.position, table.c.kind)
            .select_from(sa.join(outcomes, table, same))
            .where(outcomes.c.tenant == mine, outcomes.c.state == sa.literal_column(f"'{State.UNKNOWN.value}'"))
            .where(table.c.tenant == mine, table.c.kind.in_(proving))
            .order_by(table.c.received)
            .limit(MOST_AT_ONCE)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(chosen)).all()
        return sum([await self._settle((unit, position), EventKind(kind)) for unit, position, kind in found])

    async def _settle(self, copy: tuple[int, int], kind: EventKind, text: str | None = None) -> bool:
        note = f"the provider reported: {kind}" + (f" ({text})" if text else "")
        try:
            await self._unknown.resolve(*copy, PROOF[kind], ResolvedBy.EVENT, note=note)
        except NothingUnknown:
            return False
        return True

    def _row(self, connection: str, event: Event, match: Match | None) -> dict[str, Any]:
        return {
            "tenant": self._database.tenant,
            "id": _id(connection, event.id),
            "connection": connection,
            "kind": event.kind.value,
            "recipient": event.recipient,
            "message_id": event.message_id,
            "provider_id": event.provider_id,
            "unit_id": None if match is None else match.unit,
            "position": None if match is None else match.position,
            "at": event.time.timestamp(),
            "received": self._database.now(),
            "data": json.dumps(unstructure(event), ensure_ascii=False),
        }


def _place(match: Match) -> tuple[int, int]:
    if match.unit is None or match.position is None:
        raise AssertionError("a match of the store has its place there")
    return match.unit, match.position


def _id(connection: str, event: str) -> str:
    """Two providers may number alike."""
    whole = f"{connection}/{event}"
    return whole if len(whole) <= _ID_LENGTH else blake2b(whole.encode(), digest_size=32).hexdigest()
