"""A webhook and what it changes, on a host with a store and on one without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from genie_connect import (
    Attempt,
    Event,
    Host,
    Message,
    Outcome,
    Purpose,
    Recipient,
    State,
    WebhookRequest,
    WebhookResult,
    hookimpl,
)
from genie_connect.delivery import kept_events
from genie_connect.delivery.intake import BLOCKS_BEFORE_PAUSE
from genie_connect.delivery.journal import Leaving
from genie_connect.delivery.kept_events import MemoryEvents
from genie_connect.delivery.suppression import MemorySuppressions
from genie_connect.errors import StoreUnavailable
from genie_connect.model.fate import Stage
from genie_connect.model.suppression import Suppression
from genie_connect_contrib.sandbox.behaviour import Behaviour, Reply
from genie_connect_contrib.sandbox.provider import SandboxProvider
from tests.bounces.corpus import MESSAGE_ID, REPLIES, postfix
from tests.contrib.providers.harness import batch_of
from tests.support.clock import START, FakeClock

ADA, BOB = "ada@example.com", "bob@example.com"


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.degraded: list[str] = []

    @hookimpl
    def event_received(self, connection: str, event: Event) -> None:
        """An event."""
        self.events.append(event)

    @hookimpl
    def connection_degraded(self, connection: str, reason: str, hint: str) -> None:
        """A connection that is paused."""
        self.degraded.append(reason)


@attrs.define
class World:
    """A host, the provider that it sends through, and its webhooks."""

    host: Host
    provider: SandboxProvider
    clock: FakeClock
    listener: Listener

    async def send(self, *to: str, **more: Any) -> str:
        """Send, and say under which Message-ID."""
        message = Message(to=list(to or (ADA,)), subject="Hi", text="There.", from_="shop@example.com", **more)
        return (await self.host.send(message)).message_id

    def request(self, events: Iterable[Mapping[str, Any]]) -> WebhookRequest:
        """What the provider posts."""
        headers, body = self.provider.webhook(events, now=self.clock.now())
        return WebhookRequest(method="POST", path="/api", headers=headers, body=body, received_at=self.clock.now())

    async def report(self, *events: Mapping[str, Any]) -> WebhookResult:
        """The provider posts these."""
        return await self.host.webhook("api", self.request(events))

    async def suppressed(self, address: str, purpose: Purpose = Purpose.TRANSACTIONAL) -> str | None:
        """Why an address is not written to."""
        found = await self.host.suppressions.check(address, purpose)
        return None if found is None else found.reason.value


@pytest.fixture(params=["memory", "store"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """One with a store, and one without."""
    clock, listener = FakeClock(), Listener()
    async with SandboxProvider(api_key="k") as provider:
        config: dict[str, Any] = {
            "connections": {
                "api": {
                    "connector": "sandbox",
                    "settings": {
                        "api_key": "k",
                        "base_url": provider.base_url,
                        "webhook_secret": provider.webhook_secret,
                    },
                }
            }
        }
        if request.param == "store":
            config["store"] = {"url": f"sqlite:///{tmp_path / 'mail.db'}"}
        async with Host.open(config, clock=clock, work=False) as host:
            host.observers.add(listener)
            yield World(host, provider, clock, listener)


async def test_an_event_of_our_copy_is_kept_once(world: World) -> None:
    """Whoever listens hears of it once, however often it comes, alone or in a batch."""
    message_id = await world.send()
    delivered = {"id": "e1", "type": "delivered", "recipient": ADA, "message_id": message_id}
    opened = {"id": "e2", "type": "opened", "recipient": ADA, "message_id": message_id.strip("<>")}
    assert await world.report(delivered) == WebhookResult(accepted=1)
    assert await world.report(delivered, opened, opened, delivered) == WebhookResult(accepted=1, duplicates=3)
    assert [event.id for event in world.listener.events] == ["e1", "e2"]
    fate = await world.host.fate(message_id)
    assert (fate.word, fate.stage, fate.opened) == ("delivered", Stage.DELIVERED, START)


@pytest.mark.parametrize(
    ("event", "transactional", "marketing"),
    [
        ({"type": "bounced", "bounce": "hard", "reason": "no_mailbox"}, "hard_bounce", "hard_bounce"),
        ({"type": "bounced", "bounce": "hard"}, "hard_bounce", "hard_bounce"),
        ({"type": "complained"}, "complaint", "complaint"),
        ({"type": "unsubscribed"}, None, "unsubscribe"),
        ({"type": "bounced", "bounce": "soft"}, None, None),
        ({"type": "bounced", "bounce": "blocked"}, None, None),
        ({"type": "bounced", "bounce": "hard", "reason": "blocked"}, None, None),
        ({"type": "bounced", "bounce": "hard", "reason": "spam"}, None, None),
        ({"type": "bounced"}, None, None),
        ({"type": "delivered"}, None, None),
    ],
)
async def test_what_suppresses_whom(
    world: World, event: dict[str, Any], transactional: str | None, marketing: str | None
) -> None:
    """A bad address and a complaint everything, an unsubscribe marketing; what is about us or the message nobody."""
    message_id = await world.send(ADA, BOB)
    result = await world.report({**event, "recipient": ADA.upper(), "message_id": message_id})
    assert (result.accepted, result.unmatched, result.suppressed) == (1, 0, int(marketing is not None))
    assert await world.suppressed(ADA) == transactional
    assert await world.suppressed(ADA, Purpose.MARKETING) == marketing
    assert await world.suppressed(BOB, Purpose.MARKETING) is None


async def test_an_event_about_nothing_we_sent_suppresses_nobody(world: World) -> None:
    """It is kept as unmatched: a stranger's Message-ID, one without, or one of ours with somebody else's address."""
    message_id = await world.send()
    complaint = {"type": "complained"}
    result = await world.report(
        {**complaint, "recipient": ADA, "message_id": "<0123.89abcdef01234567@example.com>"},
        {**complaint, "recipient": ADA},
        {**complaint, "recipient": BOB, "message_id": message_id},
    )
    assert (result.accepted, result.suppressed) == (3, 0)
    assert result.unmatched >= 2
    assert await world.suppressed(ADA) is None
    assert await world.suppressed(BOB) is None
    assert len(world.listener.events) == 3


async def test_a_removed_suppression_does_not_come_back_with_a_repetition(world: World) -> None:
    """The event is known; what a person decided since then stays."""
    message_id = await world.send()
    bounce = {"id": "b", "type": "bounced", "bounce": "hard", "recipient": ADA, "message_id": message_id}
    await world.report(bounce)
    await world.host.suppressions.remove(ADA)
    assert (await world.report(bounce)).duplicates == 1
    assert await world.suppressed(ADA) is None


async def test_one_bad_event_of_five_hundred_loses_no_other(world: World) -> None:
    """499 are taken in, and that one is kept with the reason."""
    message_id = await world.send()
    good = [{"type": "opened", "recipient": ADA, "message_id": message_id} for _ in range(499)]
    result = await world.report(*good[:250], {"type": "opened", "time": "yesterday"}, *good[250:])
    assert (result.status, result.accepted, result.unreadable) == (200, 500, 1)


async def test_what_is_not_signed_changes_nothing(world: World) -> None:
    """A typed result, with the status to answer and the reason for the log."""
    request = attrs.evolve(world.request([{"type": "complained", "recipient": ADA}]), body=b'{"events": []}')
    result = await world.host.webhook("api", request)
    assert (result.status, result.accepted) == (401, 0)
    assert "no signature of it is right" in (result.rejected or "")
    assert world.listener.events == []


async def test_an_unknown_connection_is_no_exception(world: World) -> None:
    """Its name comes from a URL."""
    assert (await world.host.webhook("nobody", world.request([]))).status == 404


async def test_the_same_webhook_many_times_at_once_counts_once(world: World) -> None:
    """A provider that is answered late sends again."""
    message_id = await world.send()
    request = world.request([{"id": "e", "type": "delivered", "recipient": ADA, "message_id": message_id}])
    results = await asyncio.gather(*[world.host.webhook("api", request) for _ in range(20)])
    assert sum(result.accepted for result in results) == 1
    assert {result.status for result in results} == {200}
    assert len(world.listener.events) == 1


async def test_many_refusals_because_of_us_pause_the_connection(world: World) -> None:
    """And suppress nobody; a delivery in between says that it is not so bad."""
    message_id = await world.send()
    blocked = {
        "type": "bounced",
        "bounce": "blocked",
        "recipient": ADA,
        "message_id": message_id,
        "text": "550 5.7.1 on our block list",
    }
    half = [blocked] * (BLOCKS_BEFORE_PAUSE // 2)
    await world.report(*half)
    await world.report({"type": "delivered", "recipient": ADA, "message_id": message_id}, *half)
    assert world.listener.degraded == []
    await world.report(*half)
    assert ["block list" in reason for reason in world.listener.degraded] == [True]
    assert world.host.connection("api").breaker.pause_s > 0
    assert await world.suppressed(ADA) is None


async def test_events_in_any_order_give_one_fate(world: World) -> None:
    """The complaint came first, the delivery last."""
    message_id = await world.send()
    mine = {"recipient": ADA, "message_id": message_id}
    for kind in ("complained", "opened", "deferred", "delivered"):
        await world.report({"type": kind, **mine})
    fate = await world.host.fate(message_id, ADA)
    assert (fate.word, fate.stage) == ("complained", Stage.DELIVERED)
    assert (await world.host.fate("<nobody@example.com>")).stage is Stage.UNHEARD


async def test_a_mail_that_came_back_is_an_event_too(world: World) -> None:
    """So a connection without webhooks has events: the bounce suppresses, once, and only the one that it is about."""
    message_id = await world.send(ADA, BOB)
    raw = postfix(REPLIES[0]).replace(MESSAGE_ID.encode(), message_id.encode())
    result = await world.host.take_mail("api", raw)
    assert (result.accepted, result.suppressed) == (1, 1)
    assert (await world.host.take_mail("api", raw)).duplicates == 1
    assert (await world.suppressed(ADA), await world.suppressed(BOB)) == ("hard_bounce", None)
    strange = await world.host.take_mail("api", postfix(REPLIES[1]))
    assert (strange.unmatched, strange.suppressed) == (1, 0)


async def test_an_event_settles_a_copy_in_doubt(tmp_path: Path) -> None:
    """The answer was lost; the delivery proves that it was taken."""
    async with SandboxProvider(api_key="k") as provider:
        settings = {"api_key": "k", "base_url": provider.base_url, "webhook_secret": provider.webhook_secret}
        config = {
            "connections": {"api": {"connector": "sandbox", "settings": settings}},
            "store": {"url": f"sqlite:///{tmp_path / 'mail.db'}"},
        }
        async with Host.open(config, work=False) as host:
            provider.behave(Behaviour(reply=Reply.CLOSED, accept=True))
            receipt = await host.send(Message(to=[ADA], subject="Hi", text="There.", from_="shop@example.com"))
            assert receipt.outcomes[ADA].state.value == "unknown"
            headers, body = provider.webhook(
                [{"type": "delivered", "recipient": ADA, "message_id": receipt.message_id}]
            )
            request = WebhookRequest(method="POST", path="/", headers=headers, body=body, received_at=host._clock.now())
            assert (await host.webhook("api", request)).resolved == 1
            assert await host.unknown() == ()
            settled = await host.receipt(receipt.id or 0)
    assert settled is not None
    assert settled.outcomes[ADA].state.value == "accepted"


class FailingList(MemorySuppressions):
    """A list that cannot be written for a while."""

    fault: Exception | None = None

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Fail, if that is its turn."""
        if self.fault is not None:
            raise self.fault
        await super().put(suppressions)


@pytest.mark.parametrize("fault", [StoreUnavailable("locked"), OSError("disk full")])
async def test_what_cannot_be_written_asks_the_provider_to_come_back(fault: Exception) -> None:
    """503, and nothing of it is kept, so that the repetition is no duplicate."""
    listed = FailingList()
    async with SandboxProvider(api_key="k") as provider:
        settings = {"api_key": "k", "base_url": provider.base_url, "webhook_secret": provider.webhook_secret}
        config = {"connections": {"api": {"connector": "sandbox", "settings": settings}}}
        async with Host.open(config, suppressions=listed, clock=FakeClock()) as host:
            message = Message(to=[ADA], subject="Hi", text="There.", from_="shop@example.com")
            message_id = (await host.send(message)).message_id
            headers, body = provider.webhook(
                [{"type": "complained", "recipient": ADA, "message_id": message_id}], now=START
            )
            request = WebhookRequest(method="POST", path="/", headers=headers, body=body, received_at=START)
            listed.fault = fault
            result = await host.webhook("api", request)
            assert (result.status, result.accepted) == (503, 0)
            listed.fault = None
            assert (await host.webhook("api", request)).suppressed == 1


async def test_an_event_finds_its_send_by_the_providers_id(tmp_path: Path) -> None:
    """Where no Message-ID of ours comes back: by the connection that sent it, and by no other one of that provider."""
    clock = FakeClock()
    async with SandboxProvider(api_key="k") as provider:
        settings = {"api_key": "k", "base_url": provider.base_url, "webhook_secret": provider.webhook_secret}
        connection = {"connector": "sandbox", "settings": settings}
        config: dict[str, Any] = {
            "connections": {"api": {**connection, "priority": 1}, "other": connection},
            "store": {"url": f"sqlite:///{tmp_path / 'mail.db'}"},
        }
        async with Host.open(config, clock=clock, work=False) as host:
            message = Message(to=[ADA, BOB], subject="Hi", text="There.", from_="shop@example.com")
            receipt = await host.send(message, connection="api")
            outcome = receipt.outcomes[BOB]
            world = World(host, provider, clock, Listener())
            bounce = {
                "id": "e1",
                "type": "bounced",
                "bounce": "hard",
                "recipient": BOB,
                "provider_id": outcome.provider_id,
            }
            given = world.request([bounce])
            assert (await host.webhook("other", given)).unmatched == 1
            assert await world.suppressed(BOB) is None
            found = await host.webhook("api", given)
            assert (found.accepted, found.unmatched, found.suppressed) == (1, 0, 1)
            assert await world.suppressed(BOB) == "hard_bounce"
            assert await world.suppressed(ADA) is None
            assert (await host.fate(receipt.message_id, BOB)).word == "bounced"


async def test_an_event_finds_its_copy_without_our_message_id(world: World) -> None:
    """By the hand-over and the recipient, or by the provider's id: with a store and without one."""
    message = Message(to=[ADA, BOB], subject="Hi", text="There.", from_="shop@example.com")
    receipt = await world.host.send(message)
    (attempt,) = receipt.attempts
    told = [
        {"id": "e1", "type": "bounced", "bounce": "hard", "recipient": ADA, "metadata": {"genie_attempt": attempt.id}},
        {"id": "e2", "type": "bounced", "bounce": "hard", "recipient": BOB, "metadata": {"genie_attempt": "none"}},
        {"id": "e3", "type": "delivered", "recipient": BOB, "provider_id": receipt.outcomes[BOB].provider_id},
        {"id": "e4", "type": "delivered", "recipient": BOB, "provider_id": "none"},
    ]
    result = await world.report(*told)
    assert (result.accepted, result.unmatched, result.suppressed) == (4, 2, 1)
    assert [await world.suppressed(email) for email in (ADA, BOB)] == ["hard_bounce", None]
    assert [(await world.host.fate(receipt.message_id, email)).word for email in (ADA, BOB)] == ["bounced", "delivered"]


async def test_a_host_without_a_store_forgets_its_oldest_messages() -> None:
    """With all names by which a provider may speak of them."""
    memory, people = MemoryEvents(most_messages=2), [f"r{number}@example.com" for number in range(3)]
    batch = await batch_of(Message(text="Hi"), [Recipient(address=email) for email in people])
    outcomes = [Outcome(recipient=email, state=State.ACCEPTED, provider_id=f"p-{email}") for email in people]
    attempt = Attempt(id="a1", connection="api", stage="final", outcome="accepted")
    # All three together, then the last one alone, which is known as it was.
    for leaves in (batch, attrs.evolve(batch, deliveries=batch.deliveries[2:])):
        leaving = Leaving(attempt_id="a1", connection="api", idempotency_key="", started=START, batch=leaves)
        await memory.leaving(leaving)
        await memory.answered(attempt, outcomes)
    for email, delivery, known in zip(people, batch.deliveries, (False, True, True), strict=True):
        for number, name in enumerate(("message_id", "attempt_id", "provider_id")):
            value = (delivery.message_id, "a1", f"p-{email}")[number]
            event = Event(id="1", kind="delivered", time=START, recipient=email, **{name: value})
            (match,) = await memory.match("api", [event])
            assert (match is not None) is known, (email, name)
            (match,) = await memory.match("other", [event])
            assert (match is not None) is (known and name == "message_id"), (email, name)
    # Of two messages it says nothing that names neither of their recipients.
    assert await memory.match("api", [Event(id="2", kind="delivered", time=START, attempt_id="a1")]) == [None]


async def test_a_host_without_a_store_hears_of_a_complaint_after_many_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """What robots repeat is bounded by itself."""
    monkeypatch.setattr(kept_events, "MOST_OF_A_COPY", 2)
    memory = MemoryEvents()
    batch = await batch_of(Message(text="Hi"), [Recipient(address=ADA)])
    await memory.leaving(Leaving(attempt_id="a1", connection="api", idempotency_key="", started=START, batch=batch))
    name = batch.deliveries[0].message_id
    for number, kind in enumerate(["opened"] * 5 + ["complained"] * 5):
        event = Event(id=str(number), kind=kind, time=START, message_id=name)
        await memory.append("api", [event], await memory.match("api", [event]))
    assert [each.id for each in await memory.told(name)] == ["0", "1", "5", "6"]
