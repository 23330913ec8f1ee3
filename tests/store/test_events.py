"""Events in the store: each once, and what they prove of copies in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import sqlalchemy as sa

from genie_connect.delivery.kept_events import Taken
from genie_connect.model.address import Address
from genie_connect.model.event import Event, EventKind
from genie_connect.store import bitmap, id_packing, matching, packing, schema
from genie_connect.store import events as events_module
from genie_connect.store import unknown as unknown_module
from genie_connect.store.database import Database, driver_of
from genie_connect.store.events import EventLog
from genie_connect.store.id_packing import pack_ids
from genie_connect.store.message_ids import MessageIds
from genie_connect.store.packing import Packed, pack, pack_addresses
from genie_connect.store.unknown import Unknown
from genie_connect.store.writer import Writer
from tests.store.ledger import new_send, opened
from tests.store.rows import row
from tests.support.clock import START

SALT = b"s" * 16
ADA = "ada@example.com"


def event(kind: EventKind = EventKind.DELIVERED, *, id_: str = "e1", **more: Any) -> Event:
    """What a provider reports."""
    return Event(id=id_, kind=kind, time=START, **{"recipient": ADA, **more})


@asynccontextmanager
async def heard(database: Database) -> AsyncIterator[list[str]]:
    """The statements by which rows are read and written in here, in their order."""
    statements: list[str] = []

    def hear(*told: Any) -> None:
        # The driver of SQLite tells the statement alone; SQLAlchemy the connection and the cursor before it.
        statement = told[0] if len(told) == 1 else told[2]
        if statement.startswith(("SELECT", "WITH", "INSERT", "UPDATE")):
            statements.append(statement)

    if database.is_sqlite:
        async with database.read() as reads, database.begin() as writes:
            drivers = [driver_of(connection) for connection in (reads, writes)]
        for driver in drivers:
            await driver.set_trace_callback(hear)
        yield statements
        for driver in drivers:
            await driver.set_trace_callback(None)
        return
    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


class Store:
    """An event log, and copies in doubt to be told by it."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self.database = database
        self.unknown = Unknown(database, writer)
        self.log = EventLog(database, self.unknown)

    async def doubtful_send(self, message_id: str = "<send@example.com>") -> int:
        """A send to one recipient, whose fate is not known."""
        return await self._put(1, schema.sends, message_id=message_id, recipients=pack([Packed(ADA)]))

    async def doubtful_chunk(self) -> tuple[int, str]:
        """A chunk of two whose second copy is in doubt, and its Message-ID."""
        async with self.database.begin() as connection:
            broadcast = row(
                schema.broadcasts, id=7, tenant=self.database.tenant, salt=SALT, sender_domain="example.com"
            )
            await connection.execute(sa.insert(schema.broadcasts), broadcast)
        unit = await self._put(2, schema.chunks, position=1, recipients=pack([Packed("a@example.com"), Packed(ADA)]))
        return unit, MessageIds(SALT, "example.com").of(unit, 1)

    async def _put(self, kind: int, table: sa.Table, *, position: int = 0, **values: Any) -> int:
        mine, unit = {"tenant": self.database.tenant}, 40 + kind
        facts: dict[str, Any] = {
            "id": unit,
            "kind": kind,
            "state": 2,
            "unknown": 1,
            "size": position + 1,
            "intent": b"",
            "done": bitmap.dump(bitmap.full(position + 1)),
        }
        facts["broadcast_id"] = 7 if kind == 2 else None
        async with self.database.begin() as connection:
            await connection.execute(sa.insert(schema.units), row(schema.units, **mine) | facts)
            await connection.execute(sa.insert(table), row(table, **mine, unit_id=unit, **values))
            doubt = {"unit_id": unit, "position": position, "recipient": ADA, "state": "unknown", "retry": "never"}
            await connection.execute(sa.insert(schema.outcomes), row(schema.outcomes, **mine, **doubt))
            attempt = {"id": f"a{kind}", "connection": "primary", "positions": bitmap.dump(bitmap.full(position + 1))}
            await connection.execute(sa.insert(schema.attempts), row(schema.attempts, **mine, unit_id=unit, **attempt))
        return unit

    async def attempt(self, unit: int, id_: str) -> None:
        """Another hand-over of a chunk of two."""
        facts = {"tenant": self.database.tenant, "unit_id": unit, "id": id_, "connection": "primary"}
        async with self.database.begin() as connection:
            done = row(schema.attempts, **facts, positions=bitmap.dump(bitmap.full(2)), accepted=1)
            await connection.execute(sa.insert(schema.attempts), done)

    async def given_ids(self, unit: int, attempt: str, ids: dict[int, str]) -> None:
        """The ids that the provider gave in a hand-over."""
        facts = {"tenant": self.database.tenant, "unit_id": unit, "attempt_id": attempt}
        async with self.database.begin() as connection:
            given = row(schema.accepted_ids, **facts, packed=pack_ids(ids))
            await connection.execute(sa.insert(schema.accepted_ids), given)

    async def outcome(self, unit: int) -> tuple[str, str | None, int]:
        """State, who told it, and how many the unit counts in doubt."""
        outcomes, units = schema.outcomes.c, schema.units.c
        chosen = (
            sa.select(outcomes.state, outcomes.resolved_by, units.unknown)
            .join_from(schema.outcomes, schema.units, units.id == outcomes.unit_id)
            .where(outcomes.unit_id == unit, outcomes.tenant == self.database.tenant)
            .where(units.tenant == self.database.tenant)
        )
        async with self.database.read() as connection:
            return tuple((await connection.execute(chosen)).one())  # type: ignore[return-value]

    async def kept(self) -> list[Any]:
        """The events that are kept."""
        async with self.database.read() as connection:
            table = schema.events.c
            return list(
                await connection.execute(
                    sa.select(table.kind, table.unit_id, table.position).where(table.tenant == self.database.tenant)
                )
            )


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """An open one."""
    async with Writer(database) as writer:
        yield Store(database, writer)


async def test_an_event_is_kept_once(store: Store) -> None:
    """A provider that reports it again, as all of them do, changes nothing; another provider may number alike."""
    assert await store.log.append("primary", [event(), event(id_="e2"), event()]) == Taken(new=2)
    assert await store.log.append("primary", [event()]) == Taken(new=0)
    assert await store.log.append("secondary", [event(), event(id_="x" * 500)]) == Taken(new=2)
    assert await store.log.append("secondary", [event(id_="x" * 500)]) == Taken(new=0)
    assert len(await store.kept()) == 4


async def test_the_same_events_in_another_order_are_kept_at_the_same_time(database_url: str) -> None:
    """A provider that posts them twice at once, to two processes: neither waits for the other for ever."""
    events = [event(id_=f"e{number}") for number in range(3_000)]
    async with AsyncExitStack() as stack:
        logs = []
        for _ in range(2):
            database = await stack.enter_async_context(Database(database_url))
            logs.append(Store(database, await stack.enter_async_context(Writer(database))).log)
        orders = (events, events[::-1])
        taken = await asyncio.gather(
            *[log.append("primary", order, [None] * len(order)) for log, order in zip(logs, orders, strict=True)]
        )
    assert sum(each.new for each in taken) == len(events)


async def test_an_event_knows_its_copy(store: Store) -> None:
    """By the Message-ID, of a send and of a broadcast; another's Message-ID is no copy of ours."""
    send = await store.doubtful_send()
    chunk, message_id = await store.doubtful_chunk()
    opened = EventKind.INBOUND
    await store.log.append(
        "primary",
        [
            event(opened, message_id="<send@example.com>"),
            event(opened, id_="e2", message_id=message_id),
            event(opened, id_="e3", message_id=f"<{chunk:x}.1.0123456789abcdef@example.com>"),
            event(opened, id_="e4"),
        ],
    )
    assert sorted(map(tuple, await store.kept()), key=str) == [
        ("inbound", send, 0),
        ("inbound", chunk, 1),
        ("inbound", None, None),
        ("inbound", None, None),
    ]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EventKind.DELIVERED, "accepted"),
        (EventKind.BOUNCED, "accepted"),
        (EventKind.OPENED, "accepted"),
        (EventKind.REJECTED, "rejected"),
    ],
)
async def test_an_event_settles_a_copy_in_doubt(store: Store, kind: EventKind, state: str) -> None:
    """What only a message that was taken can have says that it was; the count of unknown ones goes down."""
    send = await store.doubtful_send()
    chunk, message_id = await store.doubtful_chunk()
    taken = await store.log.append(
        "primary", [event(kind, message_id="<send@example.com>"), event(kind, id_="e2", message_id=message_id)]
    )
    assert taken == Taken(new=2, resolved=2)
    assert await store.outcome(send) == (state, "event", 0)
    assert await store.outcome(chunk) == (state, "event", 0)


async def test_an_event_that_names_the_attempt_settles_a_copy_in_doubt(store: Store) -> None:
    """With the recipient, however it is spelt; not by another connection, nor for somebody who was not in it."""
    chunk, _ = await store.doubtful_chunk()
    named = {"attempt_id": "a2", "text": "250 queued"}
    for connection, given in (
        ("other", event(**named)),
        ("primary", event(**named, id_="e2", recipient="eve@example.com")),
        ("primary", event(**named, id_="e3", recipient=None)),
        ("primary", event(attempt_id="a9", id_="e4")),
    ):
        assert await store.log.append(connection, [given]) == Taken(new=1, resolved=0)
    # Of two copies it says nothing that names neither.
    assert await store.log.match("primary", [event(attempt_id="a2", recipient=None)]) == [None]
    found = event(**named, id_="e5", recipient="ada@EXAMPLE.com")
    assert await store.log.append("primary", [found]) == Taken(new=1, resolved=1)
    assert await store.outcome(chunk) == ("accepted", "event", 0)
    assert [place for _, *place in await store.kept()].count([chunk, 1]) == 1


async def test_an_event_that_names_the_providers_id_alone_finds_its_copy_in_a_broadcast(store: Store) -> None:
    """Of that connection, the latest hand-over first; an id that several copies share needs the recipient."""
    chunk, message_id = await store.doubtful_chunk()
    await store.given_ids(chunk, "a2", {0: "p0", 1: "p1"})
    await store.attempt(chunk, "a1")
    await store.given_ids(chunk, "a1", {0: "old", 1: "p1"})
    await store.attempt(chunk, "a3")
    await store.given_ids(chunk, "a3", {0: "all", 1: "all"})
    bounced = EventKind.BOUNCED

    async def found(connection: str = "primary", **facts: Any) -> tuple[int | None, int | None, str | None] | None:
        (match,) = await store.log.match(connection, [event(bounced, **facts)])
        return match and (match.unit, match.position, match.address)

    assert await found(provider_id="p1") == (chunk, 1, ADA)
    assert await found(provider_id="p0", recipient="A@example.com") == (chunk, 0, "a@example.com")
    assert await found(provider_id="old", recipient=None) == (chunk, 0, "a@example.com")
    assert await found(provider_id="all") == (chunk, 1, ADA)
    assert await found(provider_id="all", recipient=None) is None
    assert await found(provider_id="p0") is None
    assert await found(provider_id="p2") is None
    assert await found("other", provider_id="p1") is None
    # What names something of somebody else's is no copy of ours.
    assert await found(provider_id="p1", message_id="<nobody@example.com>") is None
    assert await found(provider_id="p1", message_id=message_id) == (chunk, 1, ADA)


async def test_the_latest_copies_are_searched_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand-over by hand-over, over more than one statement, and to an end however many there are."""
    monkeypatch.setattr(matching, "HAND_OVERS_AT_ONCE", 2)
    chunk, _ = await store.doubtful_chunk()
    for number in range(1, 6):
        await store.attempt(chunk, f"b{number}")
        await store.given_ids(chunk, f"b{number}", {1: f"p{number}"})
    log = EventLog(store.database, store.unknown)
    wanted = [event(provider_id=f"p{number}") for number in range(1, 6)]
    assert [match and match.position for match in await log.match("primary", wanted)] == [1] * 5
    # Each of these hand-overs has one copy, and counts for more: they could be a million as well.
    monkeypatch.setattr(matching, "LEAST_OF_A_HAND_OVER", 3)
    monkeypatch.setattr(matching, "MOST_COPIES", 4 * 3)
    assert [match and match.position for match in await log.match("primary", wanted)] == [None, 1, 1, 1, 1]


async def test_many_events_are_matched_by_as_many_statements_as_few(store: Store) -> None:
    """Whatever they name: a Message-ID, an attempt, a provider's id, or nothing of ours."""
    await store.doubtful_send()
    chunk, message_id = await store.doubtful_chunk()
    await store.given_ids(chunk, "a2", {1: "p1"})
    kind = EventKind.COMPLAINED
    few = [
        event(kind, message_id="<send@example.com>"),
        event(kind, message_id=message_id),
        event(kind, attempt_id="a2"),
        event(kind, provider_id="p1"),
        event(kind, message_id="<nobody@example.com>", attempt_id="a9", provider_id="p9"),
    ]
    heard_of: list[int] = []
    for events in (few, few * 40):
        async with heard(store.database) as statements:
            matches = await store.log.match("primary", events)
        assert [match and match.address for match in matches] == [ADA, ADA, ADA, ADA, None] * (len(events) // 5)
        heard_of.append(len(statements))
    assert 5 <= heard_of[0] <= 8
    assert heard_of[1] == heard_of[0]


async def test_many_ids_are_spelled_out_once_however_many_hand_overs_are_searched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One webhook may name ten thousand that nobody gave, and a broadcast may have been handed over one by one."""
    chunk, _ = await store.doubtful_chunk()
    for number in range(30):
        await store.attempt(chunk, f"b{number}")
        await store.given_ids(chunk, f"b{number}", {1: f"{number:08x}"})
    spelled: list[str] = []
    spelling = id_packing._spelling
    monkeypatch.setattr(id_packing, "_spelling", lambda given: (spelled.append(given), spelling(given))[1])
    wanted = [event(provider_id=f"{number:08x}") for number in range(20, 70)]
    found = await store.log.match("primary", wanted)
    assert [match and match.position for match in found] == [1] * 10 + [None] * 40
    assert len(spelled) <= 2 * len(wanted)


@pytest.mark.parametrize("named", [{"attempt_id": "all"}, {"provider_id": "all"}])
async def test_many_events_that_name_one_hand_over_read_its_addresses_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    """However they are spelt, and whether or not they are among them."""
    people = [f"u{number}@example.com" for number in range(40)]
    facts = {"tenant": store.database.tenant, "unit_id": 77}
    async with store.database.begin() as connection:
        unit = row(schema.units, tenant=store.database.tenant, id=77, kind=2, size=40, intent=b"", done=b"")
        await connection.execute(sa.insert(schema.units), unit)
        packed = row(schema.chunks, **facts, recipients=pack_addresses(people))
        await connection.execute(sa.insert(schema.chunks), packed)
        left = {"id": "all", "connection": "primary", "positions": bitmap.dump(bitmap.full(40)), "accepted": 40}
        await connection.execute(sa.insert(schema.attempts), row(schema.attempts, **facts, **left))
    await store.given_ids(77, "all", dict.fromkeys(range(40), "all"))
    events = [event(**named, recipient=f"U{number}@EXAMPLE.com") for number in range(60)]
    parse, parsed = Address.parse, list[str]()
    monkeypatch.setattr(Address, "parse", lambda value: (parsed.append(value), parse(value))[1])
    matches = await store.log.match("primary", events)
    assert [match and match.position for match in matches] == [*range(40), *[None] * 20]
    assert len(parsed) <= len(people) + len(events)


async def test_many_events_about_one_send_unpack_its_recipients_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A send may go to a thousand, and a webhook may name it ten thousand times."""
    await store.doubtful_send()
    unpacked: list[bytes] = []
    addresses = packing.addresses
    monkeypatch.setattr(packing, "addresses", lambda data: (unpacked.append(data), addresses(data))[1])
    events = [event(message_id="<send@example.com>", recipient=f"{number}@example.com") for number in range(40)]
    matches = await store.log.match("primary", [*events, event(message_id="<send@example.com>")])
    assert [match and match.position for match in matches] == [*[None] * 40, 0]
    assert len(unpacked) == 1


async def test_addresses_of_more_units_than_are_read_at_once_are_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Message-ID, by attempt and by the provider's id."""
    monkeypatch.setattr(matching, "UNITS_AT_ONCE", 1)
    await store.doubtful_send()
    chunk, message_id = await store.doubtful_chunk()
    await store.given_ids(chunk, "a2", {1: "p1"})
    kind = EventKind.COMPLAINED
    for names in (
        [{"message_id": "<send@example.com>"}, {"message_id": message_id}],
        [{"attempt_id": "a1"}, {"attempt_id": "a2"}],
        [{"attempt_id": "a1"}, {"provider_id": "p1"}],
    ):
        matches = await store.log.match("primary", [event(kind, **name) for name in names])
        assert [match and match.address for match in matches] == [ADA, ADA]


async def test_many_events_are_kept_by_as_many_statements_as_few(store: Store) -> None:
    """Those that are about copies whose fate is known settle nothing, and cost nothing each."""
    await store.doubtful_send()
    _, message_id = await store.doubtful_chunk()
    await store.log.append("primary", [event(message_id="<send@example.com>"), event(id_="e2", message_id=message_id)])
    heard_of: list[int] = []
    for first, count in ((10, 5), (100, 200)):
        events = [event(id_=f"e{first + index}", message_id=message_id) for index in range(count)]
        matches = await store.log.match("primary", events)
        async with heard(store.database) as statements:
            taken = await store.log.append("primary", [*events, events[0]], [*matches, matches[0]])
        assert taken.events == tuple(events)
        heard_of.append(len(statements))
    assert 2 <= heard_of[0] <= 4
    assert heard_of[1] == heard_of[0]


async def test_a_message_id_with_a_number_that_no_unit_has_is_not_ours(store: Store) -> None:
    """Anybody can write one, and no database takes a number so great."""
    forged = f"<{2**64 - 1:x}.1.0123456789abcdef@example.com>"
    assert await store.log.match("primary", [event(message_id=forged)]) == [None]


async def test_an_event_that_proves_nothing_leaves_the_doubt(store: Store) -> None:
    """A reply that somebody wrote says nothing of the hand-over."""
    send = await store.doubtful_send()
    reply = event(EventKind.INBOUND, message_id="<send@example.com>")
    assert await store.log.append("primary", [reply]) == Taken(new=1)
    assert await store.outcome(send) == ("unknown", None, 1)


async def test_an_event_that_came_before_the_doubt_settles_it_too(store: Store) -> None:
    """A process may die between an event and its own record; ``reconcile`` puts the two together."""
    send = await store.doubtful_send()
    async with store.database.begin() as connection:
        early = row(
            schema.events, tenant=store.database.tenant, id="primary/e1", kind="delivered", unit_id=send, position=0
        )
        await connection.execute(sa.insert(schema.events), early)
    assert await store.log.reconcile() == 1
    assert await store.outcome(send) == ("accepted", "event", 0)
    assert await store.log.reconcile() == 0


async def test_another_tenants_events_settle_nothing(store: Store, database_url: str) -> None:
    """Even with a Message-ID that it has seen."""
    send = await store.doubtful_send()
    async with Database(database_url, tenant="other") as database, Writer(database) as writer:
        other = Store(database, writer)
        told = await other.log.append("primary", [event(message_id="<send@example.com>")])
        assert told == Taken(new=1)
        assert await other.log.reconcile() == 0
    assert await store.outcome(send) == ("unknown", None, 1)
    assert await store.kept() == []


async def test_a_complaint_names_the_address_that_its_copy_went_to(store: Store) -> None:
    """Of a broadcast and of a send; one that names somebody else is about the copy, and about no address of ours."""
    await store.doubtful_send()
    chunk, message_id = await store.doubtful_chunk()
    complained = EventKind.COMPLAINED
    matches = await store.log.match(
        "primary",
        [
            event(complained, message_id=message_id, recipient="ADA@example.com"),
            event(complained, message_id=message_id.strip("<>"), recipient=None),
            event(complained, message_id=message_id, recipient="a@example.com"),
            event(complained, message_id="<send@example.com>"),
            event(EventKind.OPENED, message_id=message_id),
            event(complained, message_id="<nobody@example.com>"),
        ],
    )
    assert [match and (match.unit == chunk, match.address) for match in matches] == [
        (True, ADA),
        (True, ADA),
        (True, None),
        (False, ADA),
        (True, None),
        None,
    ]


async def test_what_is_known_is_told_before_it_is_kept(store: Store) -> None:
    """Each id once, in their order; more of them than one statement takes."""
    many = [event(id_=f"e{index}") for index in range(1_200)]
    await store.log.append("primary", many[:600])
    fresh = await store.log.fresh("primary", [*many, *many[700:]])
    assert fresh == many[600:]
    assert len(await store.log.fresh("secondary", many)) == 1_200


async def test_the_events_of_a_copy_are_told(store: Store) -> None:
    """As they came in, and those of no other copy."""
    await store.doubtful_send()
    _, message_id = await store.doubtful_chunk()
    mine = event(message_id=message_id, raw={"a": [1]}, tags=("x",))
    await store.log.append("primary", [mine, event(id_="e2", message_id="<send@example.com>")])
    assert await store.log.told(message_id, ADA) == [mine]
    assert await store.log.told("<nobody@example.com>") == []


async def test_of_a_copy_that_robots_look_at_the_rest_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it was opened before it was complained of; in the order of their coming."""
    monkeypatch.setattr(events_module, "MOST_TOLD", 4)
    await store.doubtful_send()
    kinds = (EventKind.DELIVERED, *[EventKind.OPENED] * 3, *[EventKind.CLICKED] * 3, EventKind.COMPLAINED)
    for number, kind in enumerate(kinds):
        await store.log.append("primary", [event(kind, id_=f"e{number}", message_id="<send@example.com>")])
    told = await store.log.told("<send@example.com>")
    assert [each.id for each in told] == ["e0", "e1", "e2", "e7"]


async def test_a_message_id_that_a_host_gives_to_everything_hides_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest sends of each are looked at, and no more."""
    monkeypatch.setattr(unknown_module, "MOST_OF_A_MESSAGE_ID", 2)
    async with opened(database_url) as ledger:
        other = await ledger.send(message_id="<other@example.com>")
        people = [f"r{number}@example.com" for number in range(4)]
        same = new_send(message_id="<same@example.com>")
        new = [attrs.evolve(same, recipients=pack([Packed(to)])) for to in people]
        sends = [(await ledger.sends.accept(each)).unit for each in new]
        names = [("<same@example.com>", to) for to in people] + [("<other@example.com>", None)]
        found = await ledger.database.ask(lambda connection: ledger.unknown.find_all(connection, names))
        assert found == [None, None, (sends[2], 0), (sends[3], 0), (other, 0)]


async def test_many_sends_are_found_by_few_statements(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of more copies than are looked at of one name asks by parts, and not for each."""
    monkeypatch.setattr(unknown_module, "MOST_OF_A_MESSAGE_ID", 10)
    async with opened(database_url) as ledger:
        names = [f"<n{number}@example.com>" for number in range(40)]
        units = [await ledger.send(message_id=name) for name in names]
        events = [event(id_=name, message_id=name, recipient=None) for name in names]
        log = EventLog(ledger.database, ledger.unknown)
        async with heard(ledger.database) as statements:
            matches = await log.match("primary", events)
        assert [match.unit if match else None for match in matches] == units
        assert 4 < len(statements) < 10
