"""The door for embedders: what goes in, what comes out, and what the plan says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from genie_connect import (
    ConfigurationError,
    GenieConnectError,
    Host,
    Message,
    NoConnection,
    Outcome,
    Purpose,
    Registry,
    State,
    ValidationError,
    hookimpl,
)
from genie_connect.model.capability import host as by_the_host
from genie_connect.model.capability import no, yes
from genie_connect.model.features import estimated_size_bytes
from tests.support.clock import FakeClock
from tests.support.connector import (
    EVERYTHING,
    ScriptedConnector,
    accepted,
    letter,
    scripted_host,
    sign_in_refused,
    unknown,
    unreachable,
)

ADA = "ada@example.com"


def without(*names: str, extra: Any = ()) -> list[Any]:
    """All capabilities but these."""
    return [entry for entry in EVERYTHING if entry.name not in names] + list(extra)


class TestPlan:
    """Which connection, and why not the others; in words."""

    async def test_apis_before_smtp_then_priority_then_name(self) -> None:
        """Whatever order they stand in."""
        made = [
            ScriptedConnector("smtp", kind="smtp"),
            ScriptedConnector("zeta"),
            ScriptedConnector("beta"),
            ScriptedConnector("alpha"),
        ]
        same = {name: {"priority": 5} for name in ("smtp", "beta", "alpha")}
        async with scripted_host(*made, connections={**same, "zeta": {"priority": 1}}) as host:
            assert host.plan(letter()).order == ("zeta", "alpha", "beta", "smtp")
            assert host.plan(letter()).explain() == "send through zeta, then alpha, beta, smtp if it cannot"
            assert [connection.name for connection in host.connections()] == ["zeta", "alpha", "beta", "smtp"]

    async def test_every_reason_is_given(self) -> None:
        """Each connection with all that speaks against it."""
        made = [
            ScriptedConnector("off"),
            ScriptedConnector("marketing"),
            ScriptedConnector("restricted"),
            ScriptedConnector("poor", capabilities=without("send.html", extra=[no("send.html", "plain text only")])),
            ScriptedConnector(
                "small",
                capabilities=without("send.transactional", extra=[yes("send.transactional", max_message_bytes=9)]),
            ),
            ScriptedConnector("down"),
            ScriptedConnector("good"),
        ]
        message = letter(html="<p>Hi</p>")
        made[5].otherwise(unreachable(reason="auth", text="535 no", hint="Check."))
        connections = {
            "off": {"active": False},
            "marketing": {"purposes": ["marketing"]},
            "restricted": {"allowed_from": ["other.example", "news@example.com"]},
        }
        async with scripted_host(*made, clock=FakeClock(), connections=connections) as host:
            await host.send(letter(), connection="down")
            plan = host.plan(message)
        assert plan.order == ("good",)
        assert plan.explain().splitlines() == [
            "send through good",
            "passed over off: it is switched off",
            "passed over marketing: it is not for transactional messages",
            "passed over restricted: it may not send from shop@example.com",
            "passed over poor: it does not support HTML bodies (send.html): plain text only",
            f"passed over small: the message has about {estimated_size_bytes(message)} bytes and it takes at most 9",
            "passed over down: paused for 300 s after: 535 no. Check.",
        ]

    async def test_several_reasons_stand_together(self) -> None:
        """Not only the first."""
        poor = ScriptedConnector("poor", capabilities=[yes("send.transactional")])
        async with scripted_host(poor, connections={"poor": {"active": False}}) as host:
            plan = host.plan(letter(html="<p>Hi</p>", tags=["a"], from_=None))
        assert plan.explain() == (
            "nothing can carry this message\n"
            "passed over poor: it is switched off; the message has no From and the connection no default From; "
            "it does not support HTML bodies (send.html); it does not support Tags (send.tags)"
        )

    async def test_what_the_core_does_in_its_place_is_said(self) -> None:
        """Connection by connection."""
        kept = by_the_host("send.tags", "kept by the host")
        made = ScriptedConnector("made", capabilities=without("send.tags", "send.batch", extra=[kept]))
        async with scripted_host(made) as host:
            assert "made: kept by the host (send.tags)" in host.plan(letter(tags=["a"])).explain()
            broadcast = host.plan(Message(from_="shop@example.com", text="Hi"), broadcast=True)
        assert "made: one call for each copy (send.batch)" in broadcast.explain()
        assert broadcast.chunk == 1

    async def test_planning_sends_nothing(self) -> None:
        """Nor does it open a connection, or use up the one probe of a paused one."""
        clock, only = FakeClock(), ScriptedConnector("only")
        only.script(ADA, unreachable(reason="auth"))
        async with scripted_host(only, clock=clock) as host:
            host.plan(letter())
            assert only.opened == []
            await host.send(letter())
            clock.move(300)
            for _ in range(3):
                assert host.plan(letter()).order == ("only",)
            assert (await host.send(letter())).accepted

    async def test_an_own_order(self) -> None:
        """A host may prefer what it likes."""
        registry = Registry()
        for name in ("a", "b"):
            registry.register(name, ScriptedConnector(name))
        config = {"connections": {name: {"connector": name} for name in ("a", "b")}}
        async with Host.open(config, registry=registry, order=lambda each: -ord(each.name)) as host:
            assert host.plan(letter()).order == ("b", "a")

    @pytest.mark.parametrize(
        ("allowed", "may"),
        [
            (["example.com"], True),
            (["EXAMPLE.com"], True),
            (["shop@example.com"], True),
            (["Shop@Example.COM"], True),
            (["ample.com"], False),
            (["mail.example.com"], False),
            (["op@example.com"], False),
        ],
    )
    async def test_who_may_be_sent_from(self, allowed: list[str], may: bool) -> None:
        """A whole address or a whole domain."""
        only = ScriptedConnector("only")
        async with scripted_host(only, connections={"only": {"allowed_from": allowed}}) as host:
            assert bool(host.plan(letter()).order) is may

    async def test_a_default_from_is_used_and_another_never_replaces_the_messages(self) -> None:
        """From is never rewritten."""
        only = ScriptedConnector("only")
        async with scripted_host(only, connections={"only": {"default_from": "Desk <desk@example.org>"}}) as host:
            first = await host.send(letter(from_=None))
            await host.send(letter())
        assert [str(call.batch.sender) for call in only.calls] == [
            "Desk <desk@example.org>",
            "Shop <shop@example.com>",
        ]
        assert first.message_id.endswith("@example.org>")


class TestSend:
    """Through the door."""

    async def test_nobody_to_send_to(self) -> None:
        """It is said before anything is looked at."""
        async with scripted_host(ScriptedConnector("only")) as host:
            with pytest.raises(ValidationError, match="nobody to send to"):
                await host.send(Message(from_="shop@example.com", text="Hi"))
            with pytest.raises(ValidationError, match="leave out to, cc and bcc"):
                async for _ in host.send_each(letter(), [ADA]):
                    pass

    async def test_everybody_suppressed(self) -> None:
        """No connector is even opened."""
        only = ScriptedConnector("only")
        async with scripted_host(only) as host:
            await host.suppressions.add(ADA)
            receipt = await host.send(letter())
        assert receipt.outcomes[ADA].state is State.SUPPRESSED
        assert only.opened == []

    async def test_marketing_respects_an_unsubscribe(self) -> None:
        """And a receipt by mail does not."""
        only = ScriptedConnector("only")
        async with scripted_host(only) as host:
            await host.suppressions.add(ADA, reason="unsubscribe")
            stopped = await host.send(letter(purpose=Purpose.MARKETING))
            sent = await host.send(letter())
        assert stopped.outcomes[ADA].state is State.SUPPRESSED
        assert sent.outcomes[ADA].state is State.ACCEPTED

    async def test_an_idempotency_key_of_the_host_stays_the_same(self) -> None:
        """For the same recipients; others get another."""
        only = ScriptedConnector("only", idempotent=True)
        async with scripted_host(only) as host:
            for to in (ADA, ADA, "bob@example.com"):
                await host.send(letter(to), idempotency_key="order-1")
        first, second, third = (call.context.idempotency_key for call in only.calls)
        assert first == second != third

    async def test_a_connection_by_name(self) -> None:
        """That one or none."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        async with scripted_host(first, second) as host:
            assert (await host.send(letter(), connection="second")).connection == "second"
            with pytest.raises(ConfigurationError, match="there is no connection 'third'"):
                await host.send(letter(), connection="third")
        assert first.calls == []

    async def test_a_send_without_connections(self) -> None:
        """Refused, with the plan."""
        async with scripted_host() as host:
            with pytest.raises(NoConnection) as raised:
                await host.send(letter())
        assert raised.value.plan.order == ()

    async def test_each_mailbox_once(self) -> None:
        """However often it is named; the headers still show what was written."""
        only = ScriptedConnector("only")
        async with scripted_host(only) as host:
            receipt = await host.send(letter(ADA, "ADA@EXAMPLE.COM", cc=[ADA], bcc=[ADA]))
        assert only.handed_over == {ADA: 1}
        assert len(receipt.outcomes) == 1
        (delivery,) = only.calls[0].batch.deliveries
        assert delivery.bcc == ()


class TestLife:
    """Opening and closing."""

    async def test_it_closes_what_it_opened(self) -> None:
        """Once each; what was never used is never opened."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        async with scripted_host(first, second) as host:
            await asyncio.gather(*(host.send(letter()) for _ in range(5)))
        assert (len(first.opened), first.closed) == (1, 1)
        assert (len(second.opened), second.closed) == (0, 0)

    async def test_one_that_fails_to_close_does_not_keep_the_others_open(self) -> None:
        """In strict mode it is raised after all have been closed."""

        async def fail(state: Any) -> None:
            raise RuntimeError("no")

        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        registry_host = scripted_host(first, second, strict=True)
        with pytest.raises(RuntimeError, match="no"):  # noqa: PT012  # it is raised at the end of the block
            async with registry_host as host:
                for name in ("first", "second"):
                    await host.send(letter(), connection=name)
                host.connection("first").handle.close = fail  # type: ignore[method-assign]  # what fails
        assert second.closed == 1

    async def test_a_host_that_is_not_open_says_so(self) -> None:
        """What needs its registry."""
        with pytest.raises(GenieConnectError, match="not open"):
            Host.open({}).connectors()

    async def test_a_broadcast_left_half_way_reads_no_more(self) -> None:
        """Nothing beyond the chunk is sent, and no task stays."""
        read: list[str] = []

        async def source() -> Any:
            for number in range(1000):
                read.append(f"r{number}@example.com")
                yield read[-1]

        only = ScriptedConnector("only")
        async with scripted_host(only) as host:
            running = host.send_each(Message(from_="shop@example.com", text="Hi"), source(), chunk=10)
            assert (await anext(running)).state is State.ACCEPTED
            await running.aclose()  # type: ignore[attr-defined]  # an async generator
            assert asyncio.all_tasks() == {asyncio.current_task()}
        assert sorted(only.handed_over) == read
        assert len(read) == 10

    async def test_an_effective_table_is_shown_once_the_server_was_asked(self) -> None:
        """Until then the declared one, and by connector what it can do at most."""
        only = ScriptedConnector("only")
        only.effective = only.table.replaced([yes("send.transactional", max_message_bytes=1000)], effective=True)

        async def answer(batch: Any, context: Any) -> list[Outcome]:
            return [accepted(recipient=ADA)]

        only.sends_with(answer)
        registry_host = scripted_host(only, connections={"mail": {"connector": "only"}})
        async with registry_host as host:
            assert not host.capabilities("mail").effective
            await host.send(letter(), connection="mail")
            assert host.capabilities("mail").limit("send.transactional", "max_message_bytes") == 1000
            assert not host.capabilities("only").effective


async def test_a_connection_without_its_connector_does_not_stop_the_others() -> None:
    """A package that is gone leaves the fall-back working; the plan and the observers say what is missing."""
    registry = Registry()
    registry.register("good", ScriptedConnector("good"))
    seen: list[tuple[str, str]] = []

    class Watching:
        @hookimpl
        def connection_degraded(self, connection: str, reason: str) -> None:
            seen.append((connection, reason))

    data = {"connections": {"first": {"connector": "gone"}, "second": {"connector": "good"}}}
    opening = Host.open(data, registry=registry)
    opening.observers.add(Watching())
    async with opening as host:
        receipt = await host.send(letter("ada@example.com"))
        assert receipt.outcomes["ada@example.com"].connection == "second"
        assert "first" in receipt.plan.explain()
        assert "no installed package offers it" in receipt.plan.explain()
        assert [name for name, _ in seen] == ["first"]
        with pytest.raises(ConfigurationError, match="cannot be used"):
            host.connection("first")


async def test_many_first_sends_make_one_sign_in() -> None:
    """A hundred messages at once over a connection with a wrong password: one attempt, and the breaker knows."""
    connector = ScriptedConnector("smtp", kind="smtp")
    connector.otherwise(sign_in_refused())
    async with scripted_host(connector) as host:
        receipts = await asyncio.gather(*(host.send(letter(f"user{n}@example.com")) for n in range(100)))
    assert len(connector.calls) == 1
    assert {outcome.state for receipt in receipts for outcome in receipt.outcomes.values()} == {State.DEFERRED}


async def test_lost_answers_in_a_row_pause_the_connection() -> None:
    """A provider that takes everything and answers nothing gets three messages, not all of them."""
    connector = ScriptedConnector("api")
    connector.otherwise(unknown())
    async with scripted_host(connector) as host:
        states = [
            (await host.send(letter(f"user{n}@example.com"))).outcomes[f"user{n}@example.com"].state for n in range(5)
        ]
    assert states == [State.UNKNOWN] * 3 + [State.DEFERRED] * 2
