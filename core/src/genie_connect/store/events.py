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
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.delivery.kept_events import REPEATED, Match, Taken
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
MOST_TOLD: Final = 1_000
"""So many events of one copy are told, opens and clicks the last of them: robots make thousands of these."""
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
        resolved = await self._settle_proven(events, found)
        once: dict[str, tuple[Event, Match | None]] = {}
        for event, match in zip(events, found, strict=True):
            once.setdefault(_id(connection, event.id), (event, match))
        # In one order, whoever writes them: two that wait for each other's rows would wait for ever.
        kept = await self._insert([self._row(connection, *once[id_]) for id_ in sorted(once)])
        new = tuple([event for name, (event, _) in once.items() if name in kept])
        return Taken(new=len(new), resolved=resolved, events=new)

    async def unmatched(self, since: float, until: float, *, most: int) -> dict[str, list[Event]]:
        """By connection, the latest events that came after one moment and not after another, and matched nothing.

        Only those that name the provider's id: what names nothing else we have given away is known before it leaves.
        """
        chosen = (
            sa.select(table.c.connection, table.c.data)
            .where(
                table.c.tenant == self._database.tenant,
                table.c.unit_id.is_(None),
                table.c.received > since,
                table.c.received <= until,
                table.c.provider_id.is_not(None),
                table.c.kind != EventKind.INBOUND.value,
            )
            .order_by(table.c.received.desc())
            .limit(most)
        )
        async with self._database.read() as opened:
            rows = (await opened.execute(chosen)).all()
        found: dict[str, list[Event]] = {}
        for connection, data in rows:
            found.setdefault(connection, []).append(structure(Event, json.loads(data)))
        return found

    async def attach(self, connection: str, events: Sequence[Event], matches: Sequence[Match]) -> int:
        """Say of events that are kept which copies they are about after all, and settle what they prove; how many."""
        resolved = await self._settle_proven(events, matches)
        places = {_id(connection, event.id): _place(match) for event, match in zip(events, matches, strict=True)}
        rows = [{"of": id_, "unit": unit, "place": place} for id_, (unit, place) in sorted(places.items())]
        attached = (
            sa.update(table)
            .where(table.c.tenant == self._database.tenant, table.c.id == sa.bindparam("of"))
            .values(unit_id=sa.bindparam("unit"), position=sa.bindparam("place"))
        )

        async def attach_all(opened: AsyncConnection) -> None:
            await opened.execute(attached, rows)

        await self._database.carry_out(attach_all)
        return resolved

    async def _settle_proven(self, events: Sequence[Event], matches: Sequence[Match | None]) -> int:
        proven = [
            (_place(match), event)
            for event, match in zip(events, matches, strict=True)
            if match is not None and event.kind in PROOF
        ]
        # Nearly all of them are about copies whose fate is known. One that is in doubt from now on is reconciled.
        in_doubt = await self._unknown.among({place for place, _ in proven})
        return sum([await self._settle(place, event.kind, event.text) for place, event in proven if place in in_doubt])

    async def _insert(self, rows: Sequence[dict[str, Any]]) -> set[str]:
        """Keep these; the ids of those that were not kept before."""
        if not rows:
            return set()
        insert = Dialect(self._database).ignore(table).returning(table.c.id)

        async def insert_all(opened: AsyncConnection) -> set[str]:
            return set(await opened.scalars(insert, rows))

        return await self._database.carry_out(insert_all)

    async def told(self, message_id: str, recipient: str | None = None) -> list[Event]:
        """The events of a copy, in the order of their coming, ``MOST_TOLD`` at most; none where it is not ours."""
        copy = await self._unknown.find(bracketed(message_id), recipient)
        if copy is None:
            return []
        chosen = (
            sa.select(table.c.received, table.c.id, table.c.data)
            .where(table.c.tenant == self._database.tenant, table.c.unit_id == copy[0], table.c.position == copy[1])
            .order_by(sa.case((table.c.kind.in_(sorted(REPEATED)), 1), else_=0), table.c.received, table.c.id)
            .limit(MOST_TOLD)
        )
        async with self._database.read() as opened:
            found = (await opened.execute(chosen)).all()
        return [structure(Event, json.loads(row.data)) for row in sorted(found, key=lambda row: row[:2])]

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
