"""A provider that reports on a message before it has answered with the id that its reports name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from genie_connect import Batch, Event, Host, Message, Outcome, Recipient, Registry, SendContext, WebhookResult
from genie_connect.delivery import kept_events
from genie_connect.durable import early_events
from genie_connect.durable.early_events import EarlyEvents
from genie_connect.durable.ledger import Ledger
from genie_connect.model.event import BounceClass, EventKind
from genie_connect.store.events import EventLog
from tests.durable.conftest import MakeHost
from tests.support.clock import FakeClock
from tests.support.connector import ScriptedConnector, accepted

SOON_S = 30.0
ADA, BOB = "ada@example.com", "bob@example.com"
NEWS = Message(from_="Shop <shop@example.com>", subject="News", text="There is news.")


def bounce(provider_id: str, **more: Any) -> Event:
    """The mailbox does not exist, says an event that names the provider's id and nothing of ours."""
    facts = {
        "kind": EventKind.BOUNCED,
        "bounce": BounceClass.HARD,
        "reason": "recipient_rejected",
        "recipient": ADA,
    } | more
    return Event(id=f"e-{provider_id}", time=datetime(2026, 5, 1, tzinfo=UTC), provider_id=provider_id, **facts)


class Hasty:
    """Reports that a copy has bounced, and only then answers that it was taken."""

    def __init__(self) -> None:
        self.connector = ScriptedConnector("api")
        self.connector.sends_with(self.sends)
        self.host: Host | None = None
        self.said: list[WebhookResult] = []

    async def sends(self, batch: Batch, context: SendContext) -> Sequence[Outcome]:
        """Take in the events first."""
        assert self.host is not None
        outcomes = [accepted(recipient=each.email, provider_id=f"p-{each.email}") for each in batch.recipients]
        for each in batch.recipients:
            event = bounce(f"p-{each.email}", recipient=each.email)
            self.said.append(await self.host.take_events("api", [event]))
        return outcomes


async def suppressed(host: Host, *addresses: str) -> list[str | None]:
    """Why each is not written to."""
    found = [await host.suppressions.check(address) for address in addresses]
    return [None if each is None else each.reason.value for each in found]


async def test_without_a_store_the_answer_brings_the_event_to_its_copy() -> None:
    """It suppresses, and is told of the copy."""
    hasty, registry = Hasty(), Registry()
    registry.register("api", hasty.connector)
    async with Host.open({"connections": {"api": {"connector": "api"}}}, registry=registry) as host:
        hasty.host = host
        receipt = await host.send(Message(from_="shop@example.com", to=[ADA], subject="Hi", text="There."))
        assert [(each.unmatched, each.suppressed) for each in hasty.said] == [(1, 0)]
        assert await suppressed(host, ADA) == ["hard_bounce"]
        assert (await host.fate(receipt.message_id)).word == "bounced"


async def test_an_event_waits_for_the_answer_about_its_own_recipient() -> None:
    """Some providers give one id to all messages of a request: the answer about another one is not the last."""
    connector, registry = ScriptedConnector("api"), Registry()
    registry.register("api", connector)
    async with Host.open({"connections": {"api": {"connector": "api"}}}, registry=registry) as host:
        assert (await host.take_events("api", [bounce("p")])).unmatched == 1
        for address in (BOB, ADA):
            connector.script(address, accepted(recipient=address, provider_id="p"))
            assert await suppressed(host, ADA, BOB) == [None, None]
            await host.send(Message(from_="shop@example.com", to=[address], subject="Hi", text="There."))
        assert await suppressed(host, ADA, BOB) == ["hard_bounce", None]


async def test_suppressions_that_cannot_be_written_are_no_trouble_of_the_send(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The message was taken; that its bounce had no effect is in the log."""
    hasty, registry = Hasty(), Registry()
    registry.register("api", hasty.connector)
    async with Host.open({"connections": {"api": {"connector": "api"}}}, registry=registry) as host:
        hasty.host = host

        monkeypatch.setattr(host.suppressions, "add", _full)
        receipt = await host.send(Message(from_="shop@example.com", to=[ADA], subject="Hi", text="There."))
    assert receipt.accepted
    assert "that came early had no effect" in caplog.text


async def test_without_a_store_the_latest_early_events_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of others' messages, whose answer never comes, the oldest are forgotten."""
    monkeypatch.setattr(kept_events, "MOST_EARLY", 2)
    looked: list[str] = []

    async def look(connection: str, events: Sequence[Event]) -> None:
        looked.extend(event.id for event in events)

    memory = kept_events.MemoryEvents()
    memory.look_again = look
    for number in range(3):
        event = bounce(f"p{number}")
        await memory.append("api", [event], [None])
    # Nobody's answer brings a copy to a message that came in.
    await memory.append("api", [Event(id="in", kind=EventKind.INBOUND, time=event.time, provider_id="p1")], [None])
    connector = ScriptedConnector("api")
    registry = Registry()
    registry.register("api", connector)
    async with Host.open({"connections": {"api": {"connector": "api"}}}, registry=registry) as host:
        for number in range(3):
            connector.script(ADA, accepted(provider_id=f"p{number}"))
            receipt = await host.send(Message(from_="shop@example.com", to=[ADA], subject="Hi", text="There."))
            (attempt,) = receipt.attempts
            await memory.answered(attempt, [*receipt.outcomes.values()])
    assert looked == ["e-p1", "e-p2"]


@pytest.mark.parametrize("how", ["send", "durable send", "broadcast"])
async def test_with_a_store_it_is_looked_at_again(hosted: MakeHost, how: str) -> None:
    """Whatever the way of sending; once, and it suppresses and is told of the copy as if it had come in time."""
    hasty = Hasty()
    async with hosted(hasty.connector) as host:
        hasty.host = host
        message_id = None
        if how == "broadcast":
            handle = await host.broadcast(NEWS, [Recipient(address=ADA), Recipient(address=BOB)])
            await handle.wait(timeout_s=SOON_S)
        else:
            message = Message(from_="shop@example.com", to=[ADA, BOB], subject="Hi", text="There.")
            receipt = await host.send(message, durable=how == "durable send")
            message_id = receipt.message_id
            await host.settled(receipt.id or 0, timeout_s=SOON_S)
        assert [(each.unmatched, each.suppressed) for each in hasty.said] == [(1, 0), (1, 0)]
        assert await suppressed(host, ADA, BOB) == [None, None]
        await host.reconcile()
        assert await suppressed(host, ADA, BOB) == ["hard_bounce", "hard_bounce"]
        if message_id is not None:
            assert (await host.fate(message_id, ADA)).word == "bounced"
        await host.suppressions.remove(ADA)
        await host.reconcile()
        assert await suppressed(host, ADA, BOB) == [None, "hard_bounce"]


class Looked:
    """What is looked at again at which moment. It never matches anything."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def again(self, connection: str, events: Sequence[Event]) -> WebhookResult:
        """Note them."""
        self.ids += [f"{connection}/{event.provider_id}" for event in events]
        return WebhookResult(duplicates=len(events), unmatched=len(events))

    def taken(self) -> list[str]:
        """What was looked at since the last time."""
        ids, self.ids = self.ids, []
        return ids


async def test_an_event_is_looked_at_a_few_times_and_no_more(database_url: str) -> None:
    """At once, and at each age; by a process that begins as well, and not if it came more than a day before."""
    clock, looked = FakeClock(), Looked()
    async with Ledger(database_url, clock=clock) as ledger:
        early = EarlyEvents(ledger, looked.again)
        await early.look()
        clock.move(1.0)
        inbound = bounce("route", kind=EventKind.INBOUND, bounce=None, reason=None)
        await ledger.events.append("api", [bounce("p1"), inbound], [None, None])
        times = []
        for second in range(2, 4_000, 7):
            clock.move(7.0)
            await early.look()
            times += [second for _ in looked.taken()]
        assert len(times) == len(early_events.AGES_S)
        clock.move(early_events.FIRST_S - 5_000.0)
        await EarlyEvents(ledger, looked.again).look()
        assert looked.taken() == ["api/p1"]
        clock.move(5_000.0)
        await EarlyEvents(ledger, looked.again).look()
        assert looked.taken() == []


async def test_what_could_not_be_looked_at_is_looked_at_the_next_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away for a moment hides no event; and of a flood the latest are looked at."""
    clock, looked = FakeClock(), Looked()
    monkeypatch.setattr(early_events, "MOST", 2)
    async with Ledger(database_url, clock=clock) as ledger:
        early = EarlyEvents(ledger, looked.again)
        await early.look()
        for number in range(3):
            clock.move(1.0)
            await ledger.events.append("api", [bounce(f"p{number}")], [None])
        with monkeypatch.context() as away:
            away.setattr(EventLog, "unmatched", _away)
            with pytest.raises(ConnectionError):
                await early.look()
        await early.look()
        assert looked.taken() == ["api/p2", "api/p1"]


async def _full(*given: Any, **more: Any) -> None:
    raise OSError(28, "No space left on device")


async def _away(*given: Any, **more: Any) -> dict[str, list[Event]]:
    raise ConnectionError("away")
