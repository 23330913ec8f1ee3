"""The attempt loop around the table: bounds, races, and what goes wrong beside the connectors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import pytest

from genie_connect import (
    Host,
    Message,
    NoConnection,
    Outcome,
    Recipient,
    Retry,
    Scope,
    SendPolicy,
    State,
    Suppression,
    hookimpl,
)
from genie_connect.delivery.breaker import BreakerState
from genie_connect.delivery.suppression import MemorySuppressions
from genie_connect.model.capability import CapabilityTable, conditional, host, no, yes
from tests.support.clock import FakeClock, ManualClock, settled
from tests.support.connector import (
    EVERYTHING,
    ScriptedConnector,
    accepted,
    deferred,
    letter,
    rejected,
    scripted_host,
    sign_in_refused,
    unknown,
    unreachable,
)

ADA, BOB, CY = "ada@example.com", "bob@example.com", "cy@example.com"


def everything_but(*entries: Any) -> list[Any]:
    """All capabilities, some of them otherwise."""
    changed = {entry.name: entry for entry in entries}
    return [changed.pop(entry.name, entry) for entry in EVERYTHING] + list(changed.values())


class TestBounds:
    """How long, and how often."""

    async def test_attempts_on_a_connection_are_bounded(self) -> None:
        """By the policy, each connection for itself."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.otherwise(deferred())
        second.otherwise(deferred())
        policy = SendPolicy(attempts_per_connection=2)
        async with scripted_host(first, second, clock=FakeClock(), policy=policy) as made:
            receipt = await made.send(letter())
        assert receipt.outcomes[ADA].state is State.DEFERRED
        assert (len(first.calls), len(second.calls)) == (2, 2)
        assert [attempt.connection for attempt in receipt.attempts] == ["first", "second", "first", "second"]

    async def test_who_had_no_turn_was_not_tried(self) -> None:
        """A connector that keeps to a pace uses up nobody's tries, as long as it says when to come."""
        only = ScriptedConnector("only")
        only.script(ADA, *[deferred(stage="plan", retry_after_s=10)] * 5)
        policy = SendPolicy(attempts_per_connection=1)
        async with scripted_host(only, clock=FakeClock(), policy=policy) as made:
            receipt = await made.send(letter())
        assert receipt.outcomes[ADA].state is State.ACCEPTED
        assert len(only.calls) == 6

    async def test_no_wait_is_longer_than_the_policy_allows(self) -> None:
        """The host keeps what is deferred and sends again."""
        only, clock = ScriptedConnector("only"), FakeClock()
        only.otherwise(deferred(retry_after_s=31))
        async with scripted_host(only, clock=clock, policy=SendPolicy(longest_wait_s=30)) as made:
            receipt = await made.send(letter())
        assert clock.slept == []
        assert receipt.outcomes[ADA].retry_after_s == 31

    async def test_no_wait_goes_beyond_the_deadline(self) -> None:
        """A wait that would is not begun."""
        only, clock = ScriptedConnector("only"), FakeClock()
        only.otherwise(deferred(retry_after_s=10))
        async with scripted_host(only, clock=clock) as made:
            await made.send(letter(), timeout_s=25)
        assert clock.slept == [10, 10]

    async def test_nothing_is_tried_after_the_deadline(self) -> None:
        """Everybody still has an outcome, which says why."""
        only, clock = ScriptedConnector("only"), FakeClock()
        async with scripted_host(only, clock=clock) as made:
            receipt = await made.send(letter(ADA, BOB), timeout_s=0)
        assert only.calls == []
        assert {(outcome.state, outcome.reason) for outcome in receipt.outcomes.values()} == {
            (State.DEFERRED, "deadline")
        }

    async def test_a_slow_attempt_leaves_no_time_for_the_next_copy(self) -> None:
        """Copies after the deadline are deferred, not lost."""
        clock = FakeClock()
        only = ScriptedConnector("only", capabilities=everything_but(no("send.batch")))

        async def slow(batch: Any, context: Any) -> list[Outcome]:
            clock.move(20)
            return only.answers(batch)

        only.sends_with(slow)
        async with scripted_host(only, clock=clock) as made:
            newsletter = letter()
            outcomes = [
                outcome
                async for outcome in made.send_each(attrs.evolve(newsletter, to=()), [ADA, BOB, CY], timeout_s=30)
            ]
        assert [outcome.state for outcome in outcomes] == [State.ACCEPTED, State.ACCEPTED, State.DEFERRED]

    async def test_a_connector_that_announces_no_room_at_all_does_not_stop_the_loop(self) -> None:
        """A limit of 0 recipients is tried with one."""
        only = ScriptedConnector("only", capabilities=everything_but(yes("send.transactional", max_recipients=0)))
        async with scripted_host(only, clock=FakeClock()) as made:
            assert (await made.send(letter(ADA, BOB))).accepted
        assert [len(call.recipients) for call in only.calls] == [1, 1]

    async def test_large_envelopes_are_split(self) -> None:
        """By the limit of the connection, with the same Message-ID and the same headers."""
        only = ScriptedConnector("only", capabilities=everything_but(yes("send.transactional", max_recipients=2)))
        to = [f"r{number}@example.com" for number in range(5)]
        async with scripted_host(only, clock=FakeClock()) as made:
            receipt = await made.send(letter(*to))
        assert receipt.accepted
        assert [len(call.recipients) for call in only.calls] == [2, 2, 1]
        assert {call.batch.deliveries[0].message_id for call in only.calls} == {receipt.message_id}
        assert {len(call.batch.deliveries[0].to) for call in only.calls} == {5}
        assert len({call.context.idempotency_key for call in only.calls}) == 3

    async def test_a_limit_that_the_server_announces_on_opening_counts_at_once(self) -> None:
        """The declared table had none."""
        only = ScriptedConnector("only")
        only.effective = only.table.replaced([yes("send.transactional", max_recipients=2)], effective=True)
        async with scripted_host(only, clock=FakeClock()) as made:
            await made.send(letter(ADA, BOB, CY))
        assert [len(call.recipients) for call in only.calls] == [2, 1]


class TestBreaker:
    """One connection in trouble."""

    async def test_a_hundred_sends_cost_one_refused_sign_in(self) -> None:
        """One after the other: the first opens the breaker."""
        only = ScriptedConnector("only")
        only.otherwise(sign_in_refused())
        async with scripted_host(only, clock=FakeClock()) as made:
            receipts = [await made.send(letter()) for _ in range(100)]
        assert len(only.calls) == 1
        for receipt in receipts[1:]:
            outcome = receipt.outcomes[ADA]
            assert (outcome.state, outcome.reason, outcome.text) == (State.DEFERRED, "paused", "535 5.7.8 refused")
            assert outcome.hint == "Check the password."
            assert receipt.attempts == ()

    async def test_a_hundred_sends_that_wait_their_turn_cost_one_refused_sign_in(self) -> None:
        """At once, on a connection with one place: those in the queue look again before they leave."""
        only = ScriptedConnector("only")
        only.otherwise(sign_in_refused())
        one_place = {"only": {"max_concurrent": 1}}
        async with scripted_host(only, clock=FakeClock(), connections=one_place) as made:
            receipts = await asyncio.gather(*(made.send(letter()) for _ in range(100)))
        assert len(only.calls) == 1
        assert {receipt.outcomes[ADA].state for receipt in receipts} == {State.DEFERRED}

    async def test_all_paused_is_deferred_with_the_reason(self) -> None:
        """Not an exception: nothing is wrong with the message."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.otherwise(sign_in_refused())
        second.otherwise(sign_in_refused())
        async with scripted_host(first, second, clock=FakeClock()) as made:
            await made.send(letter())
            receipt = await made.send(letter(ADA, BOB))
            with pytest.raises(NoConnection):
                await made.send(letter(from_=None))
        assert {outcome.state for outcome in receipt.outcomes.values()} == {State.DEFERRED}
        assert receipt.outcomes[ADA].retry_after_s == 300
        assert receipt.plan.order == ()

    async def test_three_failures_to_connect_open_it(self) -> None:
        """And a success in between starts the count anew."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.script(ADA, unreachable(), unreachable(), accepted(), *[unreachable()] * 3)
        async with scripted_host(first, second, clock=FakeClock()) as made:
            for _ in range(6):
                assert (await made.send(letter())).accepted
            assert made.connection("first").breaker.state is BreakerState.OPEN
            await made.send(letter())
        assert len(first.calls) == 6

    async def test_one_probe_goes_through_when_the_pause_is_over(self) -> None:
        """Of ten sends at once one tries it, the others go elsewhere."""
        clock = FakeClock()
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.script(ADA, sign_in_refused())
        probing = asyncio.Event()

        async def slow(batch: Any, context: Any) -> list[Outcome]:
            await probing.wait()
            return [accepted(recipient=ADA)]

        async with scripted_host(first, second, clock=clock) as made:
            await made.send(letter())
            clock.move(300)
            first.sends_with(slow)
            sends = [asyncio.create_task(made.send(letter())) for _ in range(10)]
            await settled()
            assert len(first.calls) == 2
            assert len(second.calls) == 10
            probing.set()
            receipts = await asyncio.gather(*sends)
            assert [receipt.connection for receipt in receipts].count("first") == 1
            assert made.connection("first").breaker.state is BreakerState.CLOSED

    async def test_a_late_answer_gives_no_second_probe(self) -> None:
        """An attempt from before the pause that ends during the probe is not taken for the probe."""
        clock = FakeClock()
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        gates = [asyncio.Event() for _ in range(4)]
        answers = [unreachable(recipient=ADA), sign_in_refused(recipient=ADA), *[accepted(recipient=ADA)] * 2]
        turns = iter(range(4))

        async def gated(batch: Any, context: Any) -> list[Outcome]:
            turn = next(turns)
            await gates[turn].wait()
            return [answers[turn]]

        first.sends_with(gated)
        async with scripted_host(first, second, clock=clock) as made:
            made.connection("first").proven()
            breaker = made.connection("first").breaker
            early, bad = (asyncio.create_task(made.send(letter())) for _ in range(2))
            await settled()
            gates[1].set()
            await bad
            clock.move(300)
            assert breaker.state is BreakerState.HALF_OPEN
            probe = asyncio.create_task(made.send(letter()))
            await settled()
            gates[0].set()
            await early
            other = await made.send(letter())
            assert other.connection == "second"
            assert len(first.calls) == 3
            gates[2].set()
            assert (await probe).connection == "first"
            assert breaker.state is BreakerState.CLOSED

    async def test_many_failures_at_once_are_one_pause(self) -> None:
        """Fifty sends that were under way when the line broke do not double it fifty times."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        broken = asyncio.Event()

        async def breaks(batch: Any, context: Any) -> list[Outcome]:
            await broken.wait()
            return [unreachable(recipient=ADA)]

        first.sends_with(breaks)
        async with scripted_host(first, second, clock=FakeClock()) as made:
            sends = [asyncio.create_task(made.send(letter())) for _ in range(50)]
            await settled()
            broken.set()
            assert all(receipt.accepted for receipt in await asyncio.gather(*sends))
            assert made.connection("first").breaker.pause_s == 5

    async def test_a_success_from_before_the_pause_does_not_end_it(self) -> None:
        """A session that was signed in already proves nothing of the password that is refused now."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        answered = asyncio.Event()
        turns = iter(range(2))

        async def mixed(batch: Any, context: Any) -> list[Outcome]:
            if next(turns) == 0:
                await answered.wait()
                return [accepted(recipient=ADA)]
            return [sign_in_refused(recipient=ADA)]

        first.sends_with(mixed)
        async with scripted_host(first, second, clock=FakeClock()) as made:
            made.connection("first").proven()
            signed_in = asyncio.create_task(made.send(letter()))
            await settled()
            await made.send(letter())
            answered.set()
            assert (await signed_in).connection == "first"
            assert made.connection("first").breaker.state is BreakerState.OPEN

    async def test_a_refused_recipient_is_no_trouble_of_the_connection(self) -> None:
        """However many."""
        only = ScriptedConnector("only")
        only.otherwise(rejected(code=550))
        async with scripted_host(only, clock=FakeClock()) as made:
            for _ in range(10):
                await made.send(letter())
            assert made.connection("only").breaker.state is BreakerState.CLOSED


class TestCancellation:
    """The host gives up in the middle."""

    async def test_a_cancelled_attempt_leaves_its_place(self) -> None:
        """Breaker and limiter work for the next one."""
        clock = FakeClock()
        only = ScriptedConnector("only")
        only.script(ADA, sign_in_refused())

        async def forever(batch: Any, context: Any) -> list[Outcome]:
            await asyncio.Event().wait()
            raise AssertionError

        async with scripted_host(only, clock=clock, connections={"only": {"max_concurrent": 1}}) as made:
            await made.send(letter())
            clock.move(300)
            only.sends_with(forever)
            probe = asyncio.create_task(made.send(letter()))
            await settled()
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            assert made.connection("only").breaker.state is BreakerState.HALF_OPEN
            only.sends_with(None)  # type: ignore[arg-type]  # by the script again
            assert (await made.send(letter())).accepted

    async def test_cancelled_while_the_suppressions_are_asked(self) -> None:
        """The probe's leave is given back."""
        clock, store = FakeClock(), Stalling()
        only = ScriptedConnector("only")
        only.script(ADA, sign_in_refused())
        async with scripted_host(only, clock=clock, suppressions=store) as made:
            await made.send(letter())
            clock.move(300)
            store.stall_at = store.asked + 2
            probe = asyncio.create_task(made.send(letter()))
            await settled()
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            assert made.connection("only").breaker.state is BreakerState.HALF_OPEN
            assert (await made.send(letter())).accepted

    async def test_whoever_gives_up_waiting_for_the_rate_leaves_the_room(self) -> None:
        """Else the next one would wait for those who are gone."""
        clock = ManualClock()
        only = ScriptedConnector("only")
        async with scripted_host(only, clock=clock, connections={"only": {"rate_per_s": 1.0}}) as made:
            await made.send(letter())
            waiting = [asyncio.create_task(made.send(letter(), timeout_s=900)) for _ in range(100)]
            await settled()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            patient = asyncio.create_task(made.send(letter(BOB)))
            await clock.advance(1.0)
            assert patient.done()
            assert (await patient).accepted
            assert len(only.calls) == 2


class TestLimiter:
    """The rates an owner has set."""

    async def test_the_rate_is_kept(self) -> None:
        """Two recipients a second, one second's worth at once."""
        clock, only = FakeClock(), ScriptedConnector("only")
        at: list[float] = []

        async def note(batch: Any, context: Any) -> list[Outcome]:
            at.append(clock.elapsed_s)
            return only.answers(batch)

        only.sends_with(note)
        async with scripted_host(only, clock=clock, connections={"only": {"rate_per_s": 2.0}}) as made:
            for _ in range(6):
                await made.send(letter())
        assert at == [0, 0, 0.5, 1.0, 1.5, 2.0]

    async def test_no_room_before_the_deadline_goes_elsewhere(self) -> None:
        """Our own limit is no fault of the connection."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        slow = {"first": {"rate_per_s": 0.001}}
        async with scripted_host(first, second, clock=FakeClock(), connections=slow) as made:
            assert (await made.send(letter(), timeout_s=60)).connection == "first"
            assert (await made.send(letter(), timeout_s=60)).connection == "second"
            assert made.connection("first").breaker.state is BreakerState.CLOSED

    async def test_attempts_at_a_time_are_bounded(self) -> None:
        """The others wait their turn."""
        only = ScriptedConnector("only")
        running, most = 0, 0

        async def count(batch: Any, context: Any) -> list[Outcome]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await settled(5)
            running -= 1
            return only.answers(batch)

        only.sends_with(count)
        async with scripted_host(only, clock=FakeClock(), connections={"only": {"max_concurrent": 3}}) as made:
            receipts = await asyncio.gather(*(made.send(letter()) for _ in range(20)))
        assert all(receipt.accepted for receipt in receipts)
        assert most == 3


class Stalling(MemorySuppressions):
    """A store that never answers the n-th question."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.stall_at = 0

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """Answer, or not."""
        self.asked += 1
        if self.asked == self.stall_at:
            await asyncio.Event().wait()
        return await super().find(keys)


class Failing(MemorySuppressions):
    """A store that fails from the n-th question on, and whenever it is written to."""

    def __init__(self, fails_at: int) -> None:
        super().__init__()
        self.asked = 0
        self.fails_at = fails_at

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """Answer, or fail."""
        self.asked += 1
        if self.asked >= self.fails_at:
            raise OSError("the disk is gone")
        return await super().find(keys)

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Fail."""
        raise OSError("the disk is full")


class TestSuppression:
    """Nobody who is suppressed is ever handed over."""

    async def test_who_is_suppressed_while_waiting_for_room_does_not_leave(self) -> None:
        """The list is asked when the bytes are about to leave, not when the queue began."""
        clock, only = ManualClock(), ScriptedConnector("only")
        async with scripted_host(only, clock=clock, connections={"only": {"rate_per_s": 1.0}}) as made:
            await made.send(letter(ADA))
            send = asyncio.create_task(made.send(letter(ADA, BOB)))
            await settled()
            await made.suppressions.add(BOB, reason="complaint")
            await clock.advance(2.0)
            receipt = await send
        assert receipt.outcomes[BOB].state is State.SUPPRESSED
        assert only.handed_over == {ADA: 2}

    async def test_who_is_suppressed_while_the_connector_opens_does_not_leave(self) -> None:
        """Opening takes time too."""
        only = ScriptedConnector("only")
        made = scripted_host(only, clock=FakeClock())

        class Slow(ScriptedConnector):
            @hookimpl
            async def connector_open(self) -> Any:  # type: ignore[override]  # without arguments
                await made.suppressions.add(ADA)

        slow = Slow("slow")
        made = scripted_host(slow, clock=FakeClock())
        async with made:
            receipt = await made.send(letter(ADA))
        assert receipt.outcomes[ADA].state is State.SUPPRESSED
        assert slow.calls == []
        assert receipt.attempts == ()

    async def test_who_is_suppressed_between_two_attempts_does_not_leave(self) -> None:
        """Neither on the same connection nor on another."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        made = scripted_host(first, second, clock=FakeClock())

        async def complain(batch: Any, context: Any) -> list[Outcome]:
            await made.suppressions.add(BOB, reason="complaint")
            return [deferred(recipient=address.email) for address in batch.recipients]

        first.sends_with(complain)
        async with made:
            receipt = await made.send(letter(ADA, BOB))
        assert receipt.outcomes[BOB].state is State.SUPPRESSED
        assert second.handed_over == {ADA: 1}

    async def test_a_connector_sees_nobody_but_those_it_may_reach(self) -> None:
        """The message it gets names no recipient; the copies name those who passed the gate."""
        only = ScriptedConnector("only")
        async with scripted_host(only, clock=FakeClock()) as made:
            await made.suppressions.add(BOB)
            message = letter(ADA, BOB, cc=["cy@example.com", "BOB@example.com"], bcc=["dee@example.com", BOB])
            receipt = await made.send(message)
        (call,) = only.calls
        assert call.recipients == (ADA, CY, "dee@example.com")
        assert "bob@" not in repr(call.batch.deliveries).lower()
        assert call.batch.message.recipients == ()
        assert attrs.evolve(call.batch.message, to=message.to, cc=message.cc, bcc=message.bcc) == message
        assert receipt.outcomes[BOB].state is State.SUPPRESSED

    @pytest.mark.parametrize("spelling", ["ADA@EXAMPLE.COM", "Ada Lovelace <ada@Example.com>", "aDa@example.COM"])
    async def test_any_spelling_is_the_same_mailbox(self, spelling: str) -> None:
        """Case and display name do not get round it."""
        only = ScriptedConnector("only")
        async with scripted_host(only, clock=FakeClock()) as made:
            await made.suppressions.add(spelling)
            receipt = await made.send(letter(ADA))
        assert receipt.outcomes[spelling].state is State.SUPPRESSED
        assert only.calls == []

    @pytest.mark.parametrize(
        ("outcome", "fed"),
        [
            (rejected(suppress=True), True),
            (rejected(), False),
            (rejected(suppress=True, scope=Scope.CONNECTION), False),
            (rejected(suppress=True, scope=Scope.MESSAGE), False),
            (deferred(suppress=True), False),
            (unknown(suppress=True), False),
            (accepted(suppress=True), False),
        ],
    )
    async def test_only_a_mailbox_that_does_not_exist_feeds_it(self, outcome: Outcome, fed: bool) -> None:
        """A refusal that is about us, or not for good, never does."""
        only = ScriptedConnector("only")
        only.otherwise(outcome)
        async with scripted_host(only, clock=FakeClock()) as made:
            await made.send(letter(ADA))
            assert bool(await made.suppressions.check(ADA)) is fed

    async def test_a_list_that_cannot_be_read_stops_everybody(self) -> None:
        """At the beginning the error is the caller's: nothing has been sent."""
        only = ScriptedConnector("only")
        async with scripted_host(only, clock=FakeClock(), suppressions=Failing(1)) as made:
            with pytest.raises(OSError, match="disk"):
                await made.send(letter(ADA))
        assert only.calls == []

    async def test_a_list_that_cannot_be_read_any_more_stops_the_rest(self) -> None:
        """Half-way the receipt still comes back, or the caller would send to the first half again."""
        only = ScriptedConnector("only", capabilities=everything_but(yes("send.transactional", max_recipients=1)))
        async with scripted_host(only, clock=FakeClock(), suppressions=Failing(3)) as made:
            receipt = await made.send(letter(ADA, BOB))
        assert receipt.outcomes[ADA].state is State.ACCEPTED
        assert receipt.outcomes[BOB].state is State.DEFERRED
        assert receipt.outcomes[BOB].reason == "suppressions_unavailable"
        assert only.handed_over == {ADA: 1}

    async def test_a_bounce_that_cannot_be_kept_does_not_lose_the_receipt(self) -> None:
        """The others were accepted, and the caller must learn it."""
        only = ScriptedConnector("only")
        only.script(BOB, rejected(suppress=True))
        async with scripted_host(only, clock=FakeClock(), suppressions=Failing(99)) as made:
            receipt = await made.send(letter(ADA, BOB))
        assert receipt.outcomes[ADA].state is State.ACCEPTED
        assert receipt.outcomes[BOB].state is State.REJECTED


class TestOpening:
    """A connector that does not open."""

    async def test_it_is_passed_by_and_says_why_by_type_alone(self) -> None:
        """The text of a stranger's exception may hold a secret."""

        class Fails(ScriptedConnector):
            @hookimpl
            async def connector_open(self) -> Any:  # type: ignore[override]  # without arguments
                raise ValueError("bad key sk_live_1")

        first, second = Fails("first"), ScriptedConnector("second")
        async with scripted_host(first, second, clock=FakeClock()) as made:
            receipt = await made.send(letter())
        assert receipt.connection == "second"
        assert receipt.attempts[0].reason == "open_failed"
        assert receipt.attempts[0].text == "ValueError"

    async def test_one_that_hangs_holds_up_nobody_beyond_the_deadline(self) -> None:
        """Neither the one who opens it nor those who wait for that."""

        class Hangs(ScriptedConnector):
            @hookimpl
            async def connector_open(self) -> Any:  # type: ignore[override]  # without arguments
                await asyncio.Event().wait()

        only = Hangs("only")
        async with scripted_host(only) as made:
            receipts = await asyncio.gather(*(made.send(letter(), timeout_s=0.05) for _ in range(3)))
        assert {receipt.outcomes[ADA].state for receipt in receipts} == {State.DEFERRED}

    async def test_a_connector_whose_state_is_hostile_harms_no_other(self) -> None:
        """The planner asks every connection what it supports."""

        class Odd:
            @property
            def capabilities(self) -> Any:
                raise RuntimeError("asked")

        class Opens(ScriptedConnector):
            @hookimpl
            async def connector_open(self) -> Any:  # type: ignore[override]  # without arguments
                return Odd()

            @hookimpl
            async def connector_send(self, batch: Any) -> Any:  # type: ignore[override]  # without arguments
                return [deferred(recipient=address.email) for address in batch.recipients]

        first, second = Opens("first"), ScriptedConnector("second")
        async with scripted_host(first, second, clock=FakeClock()) as made:
            for _ in range(2):
                assert (await made.send(letter())).connection == "second"

    async def test_a_connector_narrowed_by_its_server_is_passed_by(self) -> None:
        """The plan was made on the declared table; the effective one refuses before any byte leaves."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.effective = CapabilityTable(connector="first", entries=(yes("send.transactional"),), effective=True)
        async with scripted_host(first, second, clock=FakeClock()) as made:
            receipt = await made.send(letter(html="<p>Hi</p>"))
        assert receipt.connection == "second"
        assert first.calls == []


class TestBroadcast:
    """Copies of one message."""

    async def send(
        self, made: Host, *recipients: Recipient | str, text: str = "All of it.", **options: Any
    ) -> dict[str, Outcome]:
        """The outcomes by recipient; each comes once."""
        message = Message(from_="Shop <shop@example.com>", subject="News", text=text)
        found = [outcome async for outcome in made.send_each(message, recipients, **options)]
        assert len({outcome.recipient for outcome in found}) == len(found)
        return {outcome.recipient: outcome for outcome in found}

    async def test_one_copy_too_special_does_not_cost_the_others_theirs(self) -> None:
        """A connector without SMTPUTF8 is spared that one copy, which goes elsewhere."""
        first = ScriptedConnector("first", capabilities=everything_but(no("send.international_addresses")))
        second = ScriptedConnector("second")
        async with scripted_host(first, second, clock=FakeClock()) as made:
            outcomes = await self.send(made, ADA, "jörg@example.com", BOB)
        assert {email: outcome.connection for email, outcome in outcomes.items()} == {
            ADA: "first",
            BOB: "first",
            "jörg@example.com": "second",
        }

    async def test_a_copy_that_nobody_can_carry_is_refused_alone(self) -> None:
        """With the reason."""
        only = ScriptedConnector("only", capabilities=everything_but(no("send.headers")))
        async with scripted_host(only, clock=FakeClock()) as made:
            outcomes = await self.send(made, ADA, Recipient(address=BOB, headers={"X-Campaign": "1"}))
        assert outcomes[ADA].state is State.ACCEPTED
        assert outcomes[BOB].state is State.REJECTED
        assert "send.headers" in (outcomes[BOB].hint or "")

    @pytest.mark.parametrize("entry", [no("send.batch"), host("send.batch")])
    async def test_a_connector_without_batches_gets_one_copy_at_a_time(self, entry: Any) -> None:
        """Whether it says no or that the host does it."""
        only = ScriptedConnector("only", capabilities=everything_but(entry))
        async with scripted_host(only, clock=FakeClock()) as made:
            await self.send(made, ADA, BOB, CY)
            plan = made.plan(Message(from_="shop@example.com", text="All of it."), broadcast=True)
        assert [len(call.batch.deliveries) for call in only.calls] == [1, 1, 1]
        assert "one call for each copy" in plan.explain()

    async def test_batches_are_as_large_as_allowed(self) -> None:
        """And each copy has a Message-ID of its own."""
        only = ScriptedConnector("only", capabilities=everything_but(conditional("send.batch", "", max_batch=2)))
        async with scripted_host(only, clock=FakeClock()) as made:
            await self.send(made, ADA, BOB, CY)
        assert [len(call.batch.deliveries) for call in only.calls] == [2, 1]
        ids = [delivery.message_id for call in only.calls for delivery in call.batch.deliveries]
        assert len(set(ids)) == 3

    async def test_a_connector_for_broadcasts_alone_takes_the_last_copy_too(self) -> None:
        """A batch of one is no transactional send."""
        only = ScriptedConnector("only", capabilities=everything_but(no("send.transactional")))
        async with scripted_host(only, clock=FakeClock()) as made:
            assert (await self.send(made, ADA))[ADA].state is State.ACCEPTED

    async def test_a_mailbox_gets_one_copy(self) -> None:
        """In whatever spelling and however far apart it comes."""
        only = ScriptedConnector("only")
        async with scripted_host(only, clock=FakeClock()) as made:
            await self.send(made, ADA, BOB, "ADA@example.com", CY, ADA, chunk=2)
        assert sum(only.handed_over.values()) == 3

    async def test_merge_fields_go_only_where_they_are_filled_in(self) -> None:
        """A level of host for what the core does not do is no support."""
        first = ScriptedConnector("first", capabilities=everything_but(host("send.merge")))
        second = ScriptedConnector("second")
        async with scripted_host(first, second, clock=FakeClock()) as made:
            outcomes = await self.send(made, Recipient(address=ADA, merge={"name": "Ada"}), text="For {{ name }}.")
        assert outcomes[ADA].connection == "second"
        assert first.calls == []


class TestObservers:
    """Those who are told."""

    async def test_each_is_told_alone(self) -> None:
        """One that raises, or even exits, takes nothing from the others nor from the send."""
        told: list[str] = []

        class Raises:
            @hookimpl
            def message_accepted(self) -> None:
                told.append("raises")
                raise RuntimeError("no")

        class Exits:
            @hookimpl
            def message_accepted(self) -> None:
                told.append("exits")
                raise SystemExit(1)

        class Listens:
            @hookimpl
            def message_accepted(self, connection: str, outcome: Outcome) -> None:
                told.append(f"{connection} {outcome.recipient}")

        only = ScriptedConnector("only")
        async with scripted_host(only, clock=FakeClock()) as made:
            for observer in (Listens(), Raises(), Exits(), Listens()):
                made.observers.add(observer)
            assert (await made.send(letter())).accepted
        assert sorted(told) == ["exits", f"only {ADA}", f"only {ADA}", "raises"]

    async def test_they_hear_of_every_outcome(self) -> None:
        """Once for each recipient, and of the whole."""
        heard: list[tuple[str, str]] = []

        def note(name: str) -> Any:
            def hook(outcome: Outcome) -> None:
                heard.append((name, outcome.recipient))

            hook.__name__ = name
            return hookimpl(hook)

        class All:
            message_accepted = staticmethod(note("message_accepted"))
            message_rejected = staticmethod(note("message_rejected"))
            message_deferred = staticmethod(note("message_deferred"))
            message_unknown = staticmethod(note("message_unknown"))
            recipient_suppressed = staticmethod(note("recipient_suppressed"))

        only = ScriptedConnector("only")
        only.script("r@example.com", rejected())
        only.script("d@example.com", *[deferred(retry_after_s=600)])
        only.script("u@example.com", unknown())
        async with scripted_host(only, clock=FakeClock()) as made:
            made.observers.add(All())
            await made.suppressions.add("s@example.com")
            await made.send(letter(*(f"{letter_}@example.com" for letter_ in "ardus")))
        assert sorted(heard) == [
            ("message_accepted", "a@example.com"),
            ("message_deferred", "d@example.com"),
            ("message_rejected", "r@example.com"),
            ("message_unknown", "u@example.com"),
            ("recipient_suppressed", "s@example.com"),
        ]

    async def test_one_that_cannot_work_is_refused(self) -> None:
        """A slip in the name, an argument that does not exist, a coroutine that nobody would await."""

        class Misspelt:
            @hookimpl
            def message_acepted(self) -> None:
                """Never called."""

        class WrongArgument:
            @hookimpl
            def message_accepted(self, message: Any) -> None:
                """Never called."""

        class Later:
            @hookimpl
            async def message_accepted(self) -> None:
                """Never awaited."""

        only = ScriptedConnector("only")
        async with scripted_host(only, clock=FakeClock()) as made:
            for observer in (Misspelt(), WrongArgument(), Later()):
                with pytest.raises(Exception, match="message_ac"):
                    made.observers.add(observer)
            assert (await made.send(letter())).accepted


async def test_the_receipt_tells_the_whole_story() -> None:
    """Attempts in order, with stage, outcome, reason and the number of recipients."""
    clock = FakeClock()
    first, second = ScriptedConnector("first"), ScriptedConnector("second")
    first.script(BOB, deferred(stage="rcpt", reason="quota", text="452 4.2.2 full", retry=Retry.OTHER))
    async with scripted_host(first, second, clock=clock) as made:
        receipt = await made.send(letter(ADA, BOB))
    one, two = receipt.attempts
    assert (one.connection, one.stage, one.outcome, one.reason, one.text, one.recipients) == (
        "first",
        "final",
        "partial",
        "quota",
        "452 4.2.2 full",
        2,
    )
    assert (two.connection, two.outcome, two.recipients) == ("second", "accepted", 1)
    assert receipt.connection == "first"
    assert receipt.plan.explain() == "send through first, then second if it cannot"
