"""Reports from after the hand-over, each kept once, and what they prove.

An event that carries our Message-ID says which copy it is about; so does the attempt's id with the recipient. Without
either, the provider's id of a single send does, for the connection that it was sent by. A broadcast's copies are not
found by the provider's id: an index of those would cost as much as all else that is kept of a recipient.

Where the copy is ``unknown``, because no answer came or the process died, an event that only a message that was taken
can have settles it, and so does one that says it was refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import sqlalchemy as sa

from genie_connect.delivery.kept_events import Match, Taken, addressed
from genie_connect.errors import NothingUnknown
from genie_connect.model.codec import structure, unstructure
from genie_connect.model.event import Event, EventKind
from genie_connect.model.outcome import State
from genie_connect.model.same import bracketed, same_mailbox
from genie_connect.store import bitmap, packing
from genie_connect.store.database import Database
from genie_connect.store.schema import attempts, chunks, outcomes, sends
from genie_connect.store.schema import events as table
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
ABOUT_AN_ADDRESS: Final = frozenset({EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED})
_ID_LENGTH: Final = 128


class EventLog:
    """The events of one tenant."""

    def __init__(self, database: Database, unknown: Unknown) -> None:
        self._database = database
        self._unknown = unknown

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
        return [await self._match(connection, event) for event in events]

    async def append(
        self, connection: str, events: Sequence[Event], matches: Sequence[Match | None] | None = None
    ) -> Taken:
        """Keep what a connection's provider reported, and settle what it proves. One that is known changes nothing.

        Raises ``StoreUnavailable``; the provider is then to report it again.
        """
        found = await self.match(connection, events) if matches is None else matches
        # Settled before it is kept: a process that dies in between gets the event again, and settles nothing twice.
        resolved = 0
        for event, match in zip(events, found, strict=True):
            if match is not None and event.kind in PROOF:
                resolved += await self._settle(_place(match), event.kind, event.text)
        new: list[Event] = []
        async with self._database.begin() as opened:
            insert = Dialect(self._database).ignore(table)
            for event, match in zip(events, found, strict=True):
                if (await opened.execute(insert, self._row(connection, event, match))).rowcount:
                    new.append(event)
        return Taken(new=len(new), resolved=resolved, events=tuple(new))

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

    async def _match(self, connection: str, event: Event) -> Match | None:
        copy: tuple[int, int] | None = None
        if event.message_id is not None:
            copy = await self._unknown.find(bracketed(event.message_id), event.recipient)
        if copy is None and event.attempt_id is not None:
            copy = await self._by_attempt(connection, event)
        if copy is None and event.provider_id is not None:
            copy = await self._by_provider_id(connection, event)
        if copy is None:
            return None
        unit, position = copy
        # The address is needed by those alone that suppress it, and is packed together with many.
        address = await self._address(event, unit, position) if event.kind in ABOUT_AN_ADDRESS else None
        return Match(unit=unit, position=position, address=address)

    async def _by_attempt(self, connection: str, event: Event) -> tuple[int, int] | None:
        """The copy to the event's recipient that this connection handed over in the attempt; the only one, if none."""
        bound = {"tenant": self._database.tenant, "id": event.attempt_id, "connection": connection}
        async with self._database.read() as opened:
            row = (await opened.execute(_OF_ATTEMPT, bound)).one_or_none()
            if row is None:
                return None
            packed = await opened.scalar(_RECIPIENTS, {"tenant": self._database.tenant, "unit": row.unit_id})
        positions = list(bitmap.positions(bitmap.load(row.positions)))
        if event.recipient is not None and packed is not None:
            people = packing.addresses(packed)
            emails = {each: packing.email(people[each]) for each in positions if each < len(people)}
            same = [each for each, email in emails.items() if email == event.recipient]
            # To compare spellings takes a thousand times as long.
            positions = same or [each for each, email in emails.items() if same_mailbox(email, event.recipient)]
        return (row.unit_id, positions[0]) if len(positions) == 1 else None

    async def _by_provider_id(self, connection: str, event: Event) -> tuple[int, int] | None:
        """The copy that this connection's provider gave the id; several recipients may share one."""
        bound = {"tenant": self._database.tenant, "provider_id": event.provider_id, "connection": connection}
        async with self._database.read() as opened:
            found = (await opened.execute(_OF_PROVIDER, bound)).all()
        if event.recipient is not None:
            found = [row for row in found if same_mailbox(row.recipient, event.recipient)]
        return (found[0].unit_id, found[0].position) if len(found) == 1 else None

    async def _address(self, event: Event, unit: int, position: int) -> str | None:
        bound = {"tenant": self._database.tenant, "unit": unit}
        async with self._database.read() as opened:
            packed = await opened.scalar(_RECIPIENTS, bound)
        if packed is None:
            return None
        people = packing.addresses(packed)
        return addressed(event, [packing.email(people[position])]) if position < len(people) else None

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


_OF_PROVIDER: Final = (
    sa.select(outcomes.c.unit_id, outcomes.c.position, outcomes.c.recipient)
    .where(
        outcomes.c.tenant == sa.bindparam("tenant"),
        outcomes.c.provider_id == sa.bindparam("provider_id"),
        outcomes.c.connection == sa.bindparam("connection"),
    )
    .limit(MOST_AT_ONCE)
)
_OF_ATTEMPT: Final = sa.select(attempts.c.unit_id, attempts.c.positions).where(
    attempts.c.id == sa.bindparam("id"),
    attempts.c.tenant == sa.bindparam("tenant"),
    attempts.c.connection == sa.bindparam("connection"),
)
_RECIPIENTS: Final = sa.union_all(
    sa.select(chunks.c.recipients).where(
        chunks.c.unit_id == sa.bindparam("unit"), chunks.c.tenant == sa.bindparam("tenant")
    ),
    sa.select(sends.c.recipients).where(
        sends.c.unit_id == sa.bindparam("unit"), sends.c.tenant == sa.bindparam("tenant")
    ),
)


def _place(match: Match) -> tuple[int, int]:
    if match.unit is None or match.position is None:
        raise AssertionError("a match of the store has its place there")
    return match.unit, match.position


def _id(connection: str, event: str) -> str:
    """Two providers may number alike."""
    whole = f"{connection}/{event}"
    return whole if len(whole) <= _ID_LENGTH else blake2b(whole.encode(), digest_size=32).hexdigest()
