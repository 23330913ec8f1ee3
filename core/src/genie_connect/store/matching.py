"""Which copies events are about: asked once for many, however many they are.

By our Message-ID first, then by the attempt's id with the recipient, then by the provider's id for the connection that
sent it. Those of single sends are indexed. Those of broadcasts are not, as an index of them would cost as much as all
else that is kept of a recipient: they are searched from the latest on, for events that name nothing else of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.delivery.kept_events import Match, addressed
from genie_connect.errors import ValidationError
from genie_connect.model.address import Address
from genie_connect.model.event import Event, EventKind
from genie_connect.model.same import bracketed
from genie_connect.store import bitmap, packing
from genie_connect.store.database import Database
from genie_connect.store.id_packing import Wanted
from genie_connect.store.schema import accepted_ids, attempts, chunks, outcomes, sends, units
from genie_connect.store.statements import Dialect, Found, of_each_name
from genie_connect.store.unknown import Unknown

MOST_OF_AN_ID: Final = 1_000
"""So many recipients of one provider's id are looked at: some providers call every message alike."""
UNITS_AT_ONCE: Final = 200
HAND_OVERS_AT_ONCE: Final = 100
MOST_COPIES: Final = 100_000
"""So many of the latest copies of broadcasts are searched for a provider's id."""
LEAST_OF_A_HAND_OVER: Final = 50
"""For so many a hand-over counts at least: to read one costs as much as to look through so many ids."""
ABOUT_AN_ADDRESS: Final = frozenset({EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED})
Place: TypeAlias = tuple[int, int]
"""Unit and position."""
HandOver: TypeAlias = tuple[int, int]
"""Unit, and the bitmap of the positions that are meant."""


class Matching:
    """Finds the copies of one tenant."""

    def __init__(self, database: Database, unknown: Unknown) -> None:
        self._database = database
        self._unknown = unknown
        dialect = Dialect(database)
        self._values = dialect.values
        tenant: sa.BindParameter[str] = sa.bindparam("tenant")
        connection: sa.BindParameter[str] = sa.bindparam("connection")
        self._of_attempts = Found(
            database,
            sa.select(attempts.c.id, attempts.c.unit_id, attempts.c.positions).where(
                dialect.among(attempts.c.id, "ids"),
                attempts.c.tenant == tenant,
                attempts.c.connection == connection,
            ),
        )
        self._of_provider = Found(
            database,
            sa.select(outcomes.c.provider_id, outcomes.c.unit_id, outcomes.c.position, outcomes.c.recipient)
            .where(
                outcomes.c.tenant == tenant,
                dialect.among(outcomes.c.provider_id, "ids"),
                outcomes.c.connection == connection,
            )
            .limit(MOST_OF_AN_ID + 1),
        )
        self._recipients = Found(database, _recipients(dialect.among(units.c.id, "units"), tenant))
        self._given = Found(database, _given(tenant, connection))

    async def of(self, connection: str, events: Sequence[Event]) -> list[Match | None]:
        """The copy that each of them is about, or ``None`` where we sent no such copy by that connection."""
        return await self._database.ask(lambda opened: _Question(self, opened, connection, events).answer())

    async def named(self, opened: AsyncConnection, names: Sequence[tuple[str, str | None]]) -> list[Place | None]:
        """By Message-ID and recipient."""
        return await self._unknown.find_all(opened, names)

    async def handed_over(self, opened: AsyncConnection, connection: str, ids: Iterable[str]) -> dict[str, HandOver]:
        """By attempt, who left."""
        bound = self._bound(connection) | {"ids": self._values(sorted(ids))}
        rows = await self._of_attempts.rows(opened, bound)
        return {id_: (unit, bitmap.load(positions)) for id_, unit, positions in rows}

    async def given(
        self, opened: AsyncConnection, connection: str, ids: Sequence[str]
    ) -> list[tuple[str, int, int, str]]:
        """Provider's id, unit, position and recipient of the single sends that have one of these."""

        async def ask(some: Sequence[str]) -> list[tuple[str, int, int, str]]:
            rows = await self._of_provider.rows(opened, self._bound(connection) | {"ids": self._values(some)})
            return [(id_, unit, position, recipient) for id_, unit, position, recipient in rows]

        return await of_each_name(ask, ids, most=MOST_OF_AN_ID)

    async def given_to_copies(
        self, opened: AsyncConnection, connection: str, ids: Iterable[str]
    ) -> dict[str, HandOver]:
        """By provider's id, the copies of broadcasts that have it, of the latest hand-over in which there are any."""
        wanted, found = Wanted(ids), dict[str, HandOver]()
        last, searched = (_LAST, ""), 0
        while wanted and searched < MOST_COPIES:
            bound = self._bound(connection) | {"unit": last[0], "attempt": last[1]}
            rows = list(await self._given.rows(opened, bound))
            for unit, _, packed, copies in rows:
                searched += max(copies, LEAST_OF_A_HAND_OVER)
                here: dict[str, list[int]] = {}
                for position, id_ in wanted.found_in(packed).items():
                    here.setdefault(id_, []).append(position)
                found |= {id_: (unit, bitmap.of(positions)) for id_, positions in here.items()}
                wanted.forget(here)
            if len(rows) < HAND_OVERS_AT_ONCE:
                break
            last = rows[-1][:2]
        return found

    async def recipients(self, opened: AsyncConnection, units: Sequence[int]) -> dict[int, list[str]]:
        """The bare addresses of these units, by their places. ``in_parts`` are what memory has room for."""
        bound = {"tenant": self._database.tenant, "units": self._values(units)}
        rows = await self._recipients.rows(opened, bound)
        return {unit: [packing.email(address) for address in packing.addresses(packed)] for unit, packed in rows}

    def _bound(self, connection: str) -> dict[str, Any]:
        return {"tenant": self._database.tenant, "connection": connection}


class _Question:
    """The events of one report, and what has been found of them so far."""

    def __init__(self, matching: Matching, opened: AsyncConnection, connection: str, events: Sequence[Event]) -> None:
        self._ask = matching
        self._opened = opened
        self._connection = connection
        self._events = events
        self._found: dict[int, Place] = {}
        self._addresses: dict[Place, str] = {}

    async def answer(self) -> list[Match | None]:
        await self._by_message_id()
        await self._by_attempt()
        await self._by_provider_id()
        await self._by_latest_ids()
        # The address is needed by those alone that suppress it, and is packed together with many.
        about = {place for index, place in self._found.items() if self._events[index].kind in ABOUT_AN_ADDRESS}
        await self._learn(about - self._addresses.keys())
        return [self._match(index, event) for index, event in enumerate(self._events)]

    def _match(self, index: int, event: Event) -> Match | None:
        place = self._found.get(index)
        if place is None:
            return None
        to = self._addresses.get(place) if event.kind in ABOUT_AN_ADDRESS else None
        return Match(unit=place[0], position=place[1], address=None if to is None else addressed(event, [to]))

    async def _by_message_id(self) -> None:
        named = {
            index: (bracketed(event.message_id), event.recipient)
            for index, event in enumerate(self._events)
            if event.message_id is not None
        }
        if named:
            places = await self._ask.named(self._opened, list(named.values()))
            self._keep(dict(zip(named, places, strict=True)))

    async def _by_attempt(self) -> None:
        named = self._unfound(lambda event: event.attempt_id)
        if not named:
            return
        left = await self._ask.handed_over(self._opened, self._connection, set(named.values()))
        await self._among(named, left)

    async def _by_provider_id(self) -> None:
        named = self._unfound(lambda event: event.provider_id)
        if not named:
            return
        rows: dict[str, list[tuple[Place, str]]] = {}
        for id_, unit, position, to in await self._ask.given(
            self._opened, self._connection, sorted(set(named.values()))
        ):
            rows.setdefault(id_, []).append(((unit, position), to))
        copies = {id_: _Copies(each) for id_, each in rows.items()}
        self._keep(
            {index: copies[id_].to(self._events[index].recipient) for index, id_ in named.items() if id_ in copies}
        )

    async def _by_latest_ids(self) -> None:
        """Copies of broadcasts, for events that name nothing but the provider's id."""
        named = self._unfound(lambda event: None if event.message_id or event.attempt_id else event.provider_id)
        if not named:
            return
        given = await self._ask.given_to_copies(self._opened, self._connection, named.values())
        await self._among(named, given)

    def _unfound(self, name: Callable[[Event], str | None]) -> dict[int, str]:
        """What those that are not found yet name, by index."""
        names = {index: name(event) for index, event in enumerate(self._events) if index not in self._found}
        return {index: given for index, given in names.items() if given is not None}

    def _keep(self, places: Mapping[int, Place | None]) -> None:
        self._found |= {index: place for index, place in places.items() if place is not None}

    async def _among(self, named: Mapping[int, str], hand_overs: Mapping[str, HandOver]) -> None:
        """Of the events that name these, find the copies that went to their recipients."""
        naming: dict[str, list[int]] = {}
        for index, id_ in named.items():
            naming.setdefault(id_, []).append(index)
        by_unit: dict[int, list[str]] = {}
        for id_, (unit, _) in hand_overs.items():
            by_unit.setdefault(unit, []).append(id_)
        for some in in_parts(by_unit):
            for unit, people in (await self._ask.recipients(self._opened, some)).items():
                for id_ in by_unit[unit]:
                    places = [each for each in bitmap.positions(hand_overs[id_][1]) if each < len(people)]
                    copies = _Copies([((unit, each), people[each]) for each in places])
                    found = {index: copies.to(self._events[index].recipient) for index in naming[id_]}
                    self._keep(found)
                    self._addresses |= {place: people[place[1]] for place in found.values() if place is not None}

    async def _learn(self, places: Iterable[Place]) -> None:
        """The addresses of these. Nothing else is kept of their units: a thousand for each event fills the memory."""
        by_unit: dict[int, list[int]] = {}
        for unit, position in places:
            by_unit.setdefault(unit, []).append(position)
        for some in in_parts(by_unit):
            for unit, people in (await self._ask.recipients(self._opened, some)).items():
                known = [each for each in by_unit[unit] if each < len(people)]
                self._addresses |= {(unit, each): people[each] for each in known}


class _Copies:
    """The copies that have an id: where they are, and whom they went to. Many events may name the same id."""

    def __init__(self, copies: Sequence[tuple[Place, str]]) -> None:
        self._copies = copies
        self._spelled: dict[str, list[Place]] = {}
        for place, to in copies:
            self._spelled.setdefault(to, []).append(place)

    def to(self, recipient: str | None) -> Place | None:
        """The one that went to an event's recipient; the only one, where the event names nobody."""
        if recipient is None:
            places = [place for place, _ in self._copies]
        else:
            places = self._spelled.get(recipient) or self._mailboxes.get(_key(recipient), [])
        return places[0] if len(places) == 1 else None

    @cached_property
    def _mailboxes(self) -> dict[str | None, list[Place]]:
        # To read an address takes a thousand times as long as to compare it, so it is done once, and seldom.
        found: dict[str | None, list[Place]] = {}
        for place, to in self._copies:
            found.setdefault(_key(to), []).append(place)
        found.pop(None, None)
        return found


def _key(email: str) -> str | None:
    """The spelling that an address is found under; ``None`` where it is none."""
    try:
        return Address.parse(email).key
    except ValidationError:
        return None


def in_parts(units: Iterable[int]) -> Iterable[list[int]]:
    """Units, as many at a time as their recipients are to be in memory together."""
    numbers = sorted(units)
    return (numbers[start : start + UNITS_AT_ONCE] for start in range(0, len(numbers), UNITS_AT_ONCE))


def _recipients(these: sa.ColumnElement[bool], tenant: sa.BindParameter[str]) -> sa.Select[Any]:
    """Whom units go to, packed. From the units on, or SQLite looks through all sends of the tenant."""
    joined: sa.FromClause = units
    for table in (chunks, sends):
        joined = sa.outerjoin(joined, table, sa.and_(table.c.unit_id == units.c.id, table.c.tenant == units.c.tenant))
    packed = sa.func.coalesce(chunks.c.recipients, sends.c.recipients)
    return sa.select(units.c.id, packed).select_from(joined).where(these, units.c.tenant == tenant)


def _given(tenant: sa.BindParameter[Any], connection: sa.BindParameter[Any]) -> sa.Select[Any]:
    """The ids of broadcasts' copies, the latest hand-overs first."""
    joined = sa.join(
        accepted_ids,
        attempts,
        sa.and_(
            attempts.c.unit_id == accepted_ids.c.unit_id,
            attempts.c.id == accepted_ids.c.attempt_id,
            attempts.c.tenant == accepted_ids.c.tenant,
        ),
    )
    place = sa.tuple_(accepted_ids.c.unit_id, accepted_ids.c.attempt_id)
    return (
        sa.select(accepted_ids.c.unit_id, accepted_ids.c.attempt_id, accepted_ids.c.packed, attempts.c.accepted)
        .select_from(joined)
        .where(
            accepted_ids.c.tenant == tenant,
            attempts.c.connection == connection,
            place < sa.tuple_(sa.bindparam("unit", type_=sa.BigInteger), sa.bindparam("attempt", type_=sa.Text)),
        )
        .order_by(accepted_ids.c.unit_id.desc(), accepted_ids.c.attempt_id.desc())
        .limit(HAND_OVERS_AT_ONCE)
    )


_LAST: Final = 2**63 - 1
