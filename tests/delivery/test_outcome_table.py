"""The outcome table: what happened, and who may be tried again where. One test for each row."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from genie_connect import Outcome, Receipt, Retry, Scope, SendPolicy, State
from genie_connect.host import Host
from tests.support.clock import FakeClock
from tests.support.connector import (
    ScriptedConnector,
    deferred,
    letter,
    rejected,
    scripted_host,
    sign_in_refused,
    unknown,
    unreachable,
)

ADA, BOB, CY = "ada@example.com", "bob@example.com", "cy@example.com"


class Pair:
    """A host with a preferred connection and one to fall back to."""

    def __init__(self, *, idempotent: bool = False, policy: SendPolicy | None = None) -> None:
        self.first = ScriptedConnector("first", idempotent=idempotent)
        self.second = ScriptedConnector("second", kind="smtp")
        self.clock = FakeClock()
        self.told = Told()
        self._host = scripted_host(self.first, self.second, clock=self.clock, policy=policy)
        self._host.observers.add(self.told)

    @property
    def host(self) -> Host:
        """The host."""
        return self._host

    async def send(self, *to: str) -> Receipt:
        """Send, and check that nothing was lost: everybody has an outcome."""
        receipt = await self._host.send(letter(*(to or (ADA,))))
        assert set(receipt.outcomes) == set(to or (ADA,))
        return receipt

    @property
    def tried(self) -> tuple[int, int]:
        """How many attempts each connection had."""
        return len(self.first.calls), len(self.second.calls)


class Told:
    """An observer that notes what became of connections."""

    def __init__(self) -> None:
        self.degraded: list[tuple[str, str, str]] = []
        self.recovered: list[str] = []

    from genie_connect import hookimpl

    @hookimpl
    def connection_degraded(self, connection: str, reason: str, hint: str) -> None:
        """Note it."""
        self.degraded.append((connection, reason, hint))

    @hookimpl
    def connection_recovered(self, connection: str) -> None:
        """Note it."""
        self.recovered.append(connection)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """The usual pair."""
    made = Pair()
    async with made.host:
        yield made


class TestNothingHandedOver:
    """DNS, TCP, TLS, greeting, EHLO; AUTH and certificate; HTTP connect."""

    @pytest.mark.parametrize("stage", ["resolve", "connect", "tls", "greeting", "ehlo"])
    async def test_an_unreachable_server_is_passed_by(self, pair: Pair, stage: str) -> None:
        """Another connection, at once."""
        pair.first.otherwise(unreachable(stage=stage))
        receipt = await pair.send()
        assert receipt.outcomes[ADA].state is State.ACCEPTED
        assert receipt.connection == "second"
        assert pair.tried == (1, 1)
        assert pair.clock.slept == []

    async def test_an_unreachable_server_is_tried_again_after_a_back_off(self) -> None:
        """Where there is no other; the wait doubles."""
        clock, only = FakeClock(), ScriptedConnector("only")
        only.script(ADA, unreachable(), unreachable())
        async with scripted_host(only, clock=clock) as host:
            receipt = await host.send(letter(ADA))
        assert receipt.outcomes[ADA].state is State.ACCEPTED
        assert clock.slept == [1.0, 2.0]

    @pytest.mark.parametrize("reason", ["auth", "tls"])
    async def test_a_refused_sign_in_degrades_the_connection(self, pair: Pair, reason: str) -> None:
        """Not tried again, another one is, and it says so although the fall-back worked."""
        pair.first.otherwise(sign_in_refused(reason=reason))
        receipt = await pair.send()
        assert receipt.connection == "second"
        assert pair.tried == (1, 1)
        assert pair.told.degraded == [("first", "535 5.7.8 refused", "Check the password.")]
        plan = (await pair.send()).plan
        assert pair.tried == (1, 2)
        assert plan.order == ("second",)
        assert "paused for 300 s after: 535 5.7.8 refused. Check the password." in plan.explain()

    async def test_a_refused_sign_in_is_not_tried_again_where_there_is_no_other(self) -> None:
        """Three failures for each message would lock the account."""
        clock, only = FakeClock(), ScriptedConnector("only")
        only.otherwise(sign_in_refused())
        async with scripted_host(only, clock=clock) as host:
            receipt = await host.send(letter(ADA))
        assert receipt.outcomes[ADA].state is State.DEFERRED
        assert receipt.outcomes[ADA].reason == "auth"
        assert len(only.calls) == 1


class TestRefused:
    """The other side said no."""

    async def test_a_refused_sender_may_go_elsewhere(self, pair: Pair) -> None:
        """MAIL FROM 5xx: rejected here, and another connection that may use this From is tried. It is not rewritten."""
        pair.first.otherwise(rejected(stage="mail", reason="sender_rejected", retry=Retry.OTHER, scope=Scope.MESSAGE))
        receipt = await pair.send()
        assert receipt.connection == "second"
        assert pair.tried == (1, 1)
        assert {call.batch.sender.email for call in pair.first.calls + pair.second.calls} == {"shop@example.com"}

    async def test_a_refused_sender_goes_only_where_it_may_be_used(self) -> None:
        """A connection for other senders is no fall-back, even if that leaves none."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.otherwise(rejected(stage="mail", reason="sender_rejected", retry=Retry.OTHER, scope=Scope.MESSAGE))
        restricted = {"second": {"allowed_from": ["news@example.com", "example.org"]}}
        async with scripted_host(first, second, clock=FakeClock(), connections=restricted) as host:
            receipt = await host.send(letter(ADA))
        assert receipt.outcomes[ADA].state is State.REJECTED
        assert second.calls == []
        assert "it may not send from shop@example.com" in receipt.plan.explain()

    async def test_an_unknown_mailbox_is_final_and_the_others_go_on(self, pair: Pair) -> None:
        """RCPT 5.1.x: nowhere else, never again; it feeds the suppressions."""
        pair.first.script(BOB, rejected(code=550, enhanced="5.1.1", suppress=True))
        receipt = await pair.send(ADA, BOB, CY)
        assert [receipt.outcomes[email].state for email in (ADA, BOB, CY)] == [
            State.ACCEPTED,
            State.REJECTED,
            State.ACCEPTED,
        ]
        assert pair.tried == (1, 0)
        assert await pair.host.suppressions.check(BOB)
        again = await pair.send(ADA, BOB)
        assert again.outcomes[BOB].state is State.SUPPRESSED
        assert pair.first.handed_over[BOB] == 1

    async def test_a_temporary_refusal_goes_elsewhere(self, pair: Pair) -> None:
        """RCPT 4xx: another connection now."""
        pair.first.script(ADA, deferred(code=450))
        assert (await pair.send()).connection == "second"
        assert pair.tried == (1, 1)

    async def test_a_temporary_refusal_is_tried_again_after_a_back_off(self, pair: Pair) -> None:
        """RCPT 4xx everywhere: round and round within bounds."""
        pair.first.script(ADA, deferred())
        pair.second.script(ADA, deferred())
        assert (await pair.send()).connection == "first"
        assert pair.tried == (2, 1)
        assert pair.clock.slept == [1.0]

    async def test_a_policy_against_us_goes_elsewhere_and_is_no_bounce(self, pair: Pair) -> None:
        """RCPT 5.7.x: not this connection again; the mailbox is not suppressed, whatever the connector claims."""
        pair.first.otherwise(
            rejected(
                code=550, enhanced="5.7.1", reason="policy", retry=Retry.OTHER, scope=Scope.CONNECTION, suppress=True
            )
        )
        receipt = await pair.send()
        assert receipt.connection == "second"
        assert pair.tried == (1, 1)
        assert await pair.host.suppressions.check(ADA) is None

    async def test_a_deferred_message_goes_elsewhere(self, pair: Pair) -> None:
        """Final reply 4xx."""
        pair.first.otherwise(deferred(stage="final", scope=Scope.MESSAGE))
        assert (await pair.send(ADA, BOB)).connection == "second"
        assert pair.tried == (1, 1)

    async def test_a_refused_message_goes_elsewhere(self, pair: Pair) -> None:
        """Final reply 5xx that is not about the content."""
        pair.first.otherwise(rejected(stage="final", reason="rejected", retry=Retry.OTHER, scope=Scope.MESSAGE))
        assert (await pair.send()).connection == "second"
        assert pair.tried == (1, 1)

    async def test_refused_content_goes_nowhere(self, pair: Pair) -> None:
        """Final reply 5xx about the content: another server would be used to get spam through."""
        pair.first.otherwise(rejected(stage="final", reason="content", scope=Scope.MESSAGE))
        assert (await pair.send()).outcomes[ADA].state is State.REJECTED
        assert pair.tried == (1, 0)
        assert await pair.host.suppressions.check(ADA) is None

    async def test_a_greylisted_recipient_stays(self, pair: Pair) -> None:
        """Retry.SAME: another sender would begin anew."""
        pair.first.script(ADA, *[deferred(reason="greylisted", retry=Retry.SAME, retry_after_s=20)] * 2)
        receipt = await pair.send()
        assert receipt.connection == "first"
        assert pair.tried == (3, 0)
        assert pair.clock.slept == [20, 20]

    async def test_a_greylisted_recipient_that_has_to_wait_too_long_is_deferred(self, pair: Pair) -> None:
        """The host sends again later; the other connection is still not asked."""
        pair.first.otherwise(deferred(reason="greylisted", retry=Retry.SAME, retry_after_s=300))
        receipt = await pair.send()
        assert receipt.outcomes[ADA].state is State.DEFERRED
        assert receipt.outcomes[ADA].retry_after_s == 300
        assert pair.tried == (1, 0)

    async def test_who_has_to_go_elsewhere_never_comes_back(self) -> None:
        """Retry.OTHER bars the connection for good."""
        pair = Pair()
        pair.first.otherwise(rejected(reason="policy", retry=Retry.OTHER))
        pair.second.otherwise(deferred())
        async with pair.host:
            receipt = await pair.send()
        assert receipt.outcomes[ADA].state is State.DEFERRED
        assert pair.tried == (1, 3)

    async def test_a_throttled_connection_is_left_alone_for_as_long_as_it_says(self, pair: Pair) -> None:
        """HTTP 429 with Retry-After: others go elsewhere meanwhile."""
        pair.first.script(
            ADA, deferred(stage="final", code=429, reason="throttled", scope=Scope.CONNECTION, retry_after_s=120)
        )
        assert (await pair.send()).connection == "second"
        assert (await pair.send(BOB)).connection == "second"
        assert pair.tried == (1, 2)
        pair.clock.move(120)
        assert (await pair.send(CY)).connection == "first"
        assert pair.told.recovered == ["first"]

    async def test_a_short_retry_after_is_waited_for(self) -> None:
        """Where there is no other connection."""
        clock, only = FakeClock(), ScriptedConnector("only")
        only.script(ADA, deferred(stage="final", reason="throttled", scope=Scope.CONNECTION, retry_after_s=7))
        async with scripted_host(only, clock=clock) as host:
            assert (await host.send(letter(ADA))).accepted
        assert clock.slept == [7]


class TestAccepted:
    """Final reply 250."""

    async def test_accepted_is_the_end(self, pair: Pair) -> None:
        """No second attempt anywhere."""
        receipt = await pair.send(ADA, BOB)
        assert receipt.accepted
        assert pair.tried == (1, 0)

    @pytest.mark.parametrize(
        "other", [deferred(), rejected(reason="policy", retry=Retry.OTHER), deferred(reason="quota", retry=Retry.ANY)]
    )
    async def test_only_the_rest_falls_back(self, pair: Pair, other: Outcome) -> None:
        """Partial acceptance: who was accepted is not in the second batch, though the headers still show them."""
        pair.first.script(BOB, other)
        receipt = await pair.send(ADA, BOB, CY)
        assert receipt.accepted
        assert receipt.outcomes[ADA].connection == "first"
        assert receipt.outcomes[BOB].connection == "second"
        (fall_back,) = pair.second.calls
        assert fall_back.recipients == (BOB,)
        first, second = pair.first.calls[0].batch.deliveries[0], fall_back.batch.deliveries[0]
        assert first.message_id == second.message_id == receipt.message_id
        assert first.to == second.to


class TestUnknown:
    """No reply after the final byte; HTTP request written and no usable answer."""

    async def test_unknown_goes_nowhere(self, pair: Pair) -> None:
        """It could be a second copy."""
        pair.first.otherwise(unknown())
        receipt = await pair.send(ADA, BOB)
        assert {outcome.state for outcome in receipt.outcomes.values()} == {State.UNKNOWN}
        assert pair.tried == (1, 0)

    async def test_the_rest_of_the_batch_still_falls_back(self, pair: Pair) -> None:
        """Only who is in doubt stays where they are."""
        pair.first.script(ADA, unknown())
        pair.first.script(BOB, deferred())
        receipt = await pair.send(ADA, BOB)
        assert receipt.outcomes[ADA].state is State.UNKNOWN
        assert receipt.outcomes[BOB].connection == "second"
        assert pair.second.handed_over == {BOB: 1}

    async def test_a_key_that_is_honoured_allows_to_repeat(self) -> None:
        """On the same connection, the identical batch under the same key."""
        pair = Pair(idempotent=True)
        for email in (ADA, BOB):
            pair.first.script(email, unknown(), unknown())
        async with pair.host:
            receipt = await pair.send(ADA, BOB)
        assert receipt.accepted
        assert pair.tried == (3, 0)
        assert len({call.context.idempotency_key for call in pair.first.calls}) == 1
        assert len({call.batch for call in pair.first.calls}) == 1
        assert len({call.context.attempt_id for call in pair.first.calls}) == 3

    async def test_repeating_is_bounded_and_stays_unknown(self) -> None:
        """After the last try it is for a person, or an event, to say."""
        pair = Pair(idempotent=True)
        pair.first.otherwise(unknown())
        async with pair.host:
            receipt = await pair.send(ADA)
        assert receipt.outcomes[ADA].state is State.UNKNOWN
        assert pair.tried == (3, 0)

    async def test_a_batch_answered_in_part_is_not_repeated(self) -> None:
        """What is left of it is another batch, which would be sent once more under another key."""
        pair = Pair(idempotent=True)
        pair.first.script(ADA, unknown())
        async with pair.host:
            receipt = await pair.send(ADA, BOB)
        assert receipt.outcomes[ADA].state is State.UNKNOWN
        assert receipt.outcomes[BOB].state is State.ACCEPTED
        assert pair.tried == (1, 0)

    async def test_a_batch_that_lost_a_recipient_to_the_suppressions_is_not_repeated(self) -> None:
        """It would be another batch. The one who was suppressed may have been written to, and is unknown as well."""
        pair = Pair(idempotent=True)

        async def lose_the_answer(batch: object, context: object) -> list[Outcome]:
            await pair.host.suppressions.add(BOB, reason="complaint")
            return [unknown(recipient=email) for email in (ADA, BOB)]

        pair.first.sends_with(lose_the_answer)
        async with pair.host:
            receipt = await pair.send(ADA, BOB)
        assert {outcome.state for outcome in receipt.outcomes.values()} == {State.UNKNOWN}
        assert pair.tried == (1, 0)

    @pytest.mark.parametrize(
        "later",
        [
            deferred(stage="final", reason="throttled", scope=Scope.CONNECTION, retry_after_s=600),
            unreachable(),
            sign_in_refused(),
            rejected(stage="final", reason="content", scope=Scope.MESSAGE),
            rejected(reason="policy", retry=Retry.OTHER, scope=Scope.MESSAGE),
            rejected(reason="policy", retry=Retry.OTHER),
        ],
    )
    async def test_a_doubt_is_not_forgotten(self, later: Outcome) -> None:
        """The repetition was put off or refused; the first hand-over may still have happened."""
        pair = Pair(idempotent=True)
        pair.first.script(ADA, unknown())
        pair.first.otherwise(later)
        async with pair.host:
            receipt = await pair.send(ADA)
        assert receipt.outcomes[ADA].state is State.UNKNOWN
        assert pair.tried[1] == 0

    async def test_a_doubt_is_resolved_by_the_provider_that_knows(self) -> None:
        """It recognised the key, and says that there is no such mailbox."""
        pair = Pair(idempotent=True)
        pair.first.script(ADA, unknown(), rejected(code=406))
        async with pair.host:
            receipt = await pair.send(ADA)
        assert receipt.outcomes[ADA].state is State.REJECTED

    async def test_at_least_once_moves_on(self) -> None:
        """An explicit policy: rather twice than not at all."""
        pair = Pair(policy=SendPolicy(at_least_once=True))
        pair.first.otherwise(unknown())
        async with pair.host:
            receipt = await pair.send()
        assert receipt.connection == "second"
        assert pair.tried == (1, 1)

    async def test_at_least_once_prefers_the_key(self) -> None:
        """Where a repetition is recognised there is no need for a second copy."""
        pair = Pair(idempotent=True, policy=SendPolicy(at_least_once=True))
        pair.first.script(ADA, unknown())
        async with pair.host:
            receipt = await pair.send()
        assert receipt.connection == "first"
        assert pair.tried == (2, 0)

    async def test_at_least_once_does_not_hide_the_doubt(self) -> None:
        """The first may have delivered what the second refused."""
        pair = Pair(policy=SendPolicy(at_least_once=True))
        pair.first.otherwise(unknown())
        pair.second.otherwise(rejected())
        async with pair.host:
            receipt = await pair.send()
        assert receipt.outcomes[ADA].state is State.UNKNOWN
        assert receipt.outcomes[ADA].connection == "first"

    async def test_at_least_once_still_waits_for_a_greylist(self) -> None:
        """The policy is about lost answers; who is told to come back later goes nowhere else."""
        first, second, third = (ScriptedConnector(name) for name in ("first", "second", "third"))
        first.otherwise(unknown())
        second.otherwise(deferred(reason="greylisted", retry=Retry.SAME))
        policy = SendPolicy(at_least_once=True, attempts_per_connection=1)
        async with scripted_host(first, second, third, clock=FakeClock(), policy=policy) as host:
            receipt = await host.send(letter(ADA))
        assert receipt.outcomes[ADA].state is State.UNKNOWN
        assert third.calls == []
