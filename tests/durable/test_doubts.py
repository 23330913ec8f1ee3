"""Copies in doubt: who is tried again, how, and what becomes of those who are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from genie_connect import Batch, Host, Outcome, Retry, Scope, SendContext, SendPolicy, State, ValidationError
from genie_connect.model.capability import yes
from tests.durable.conftest import MakeHost
from tests.support.connector import EVERYTHING, ScriptedConnector, accepted, deferred, letter, rejected, unknown

ADA, BEN, CY = "ada@example.com", "ben@example.com", "cy@example.com"
SOON_S = 60.0
NEWS = attrs.evolve(letter(), to=())
AT_LEAST_ONCE = SendPolicy(at_least_once=True)


async def sent(host: Host, *to: str, **options: Any) -> dict[str, Outcome]:
    """What became of a durable send."""
    receipt = await host.send(letter(*to), durable=True, **options)
    return dict((await host.settled(receipt.id or 0, timeout_s=SOON_S)).outcomes)


def keyed(connector: str = "api", *, key_kept_s: int = 86_400) -> ScriptedConnector:
    """A connector whose provider honours idempotency keys for so long."""
    return ScriptedConnector(connector, capabilities=[*EVERYTHING, yes("send.idempotency", key_kept_s=key_kept_s)])


def keys(connector: ScriptedConnector) -> list[str | None]:
    """The keys that it was given, in their order."""
    return [call.context.idempotency_key for call in connector.calls]


class TestUnderAKey:
    """The provider recognises the same batch by its key."""

    async def test_a_lost_answer_is_asked_for_again_under_the_same_key(self, hosted: MakeHost) -> None:
        """The same recipients, the same copy; and nobody is in doubt in the end."""
        api = keyed()
        api.script(ADA, unknown())
        api.script(BEN, unknown())
        async with hosted(api) as host:
            outcomes = await sent(host, ADA, BEN)
            assert [outcome.state for outcome in outcomes.values()] == [State.ACCEPTED] * 2
            assert await host.unknown() == ()
        first, second = api.calls
        assert first.batch == second.batch
        assert len(set(keys(api))) == 1

    async def test_it_goes_nowhere_else(self, hosted: MakeHost) -> None:
        """Another connection would make a second copy, whatever the first one says to the repetition."""
        api, other = keyed(), ScriptedConnector("other")
        api.script(ADA, unknown(), deferred(retry=Retry.OTHER), deferred(), accepted())
        async with hosted(api, other) as host:
            assert (await sent(host, ADA))[ADA].state is State.ACCEPTED
        assert (api.handed_over[ADA], other.calls) == (4, [])

    async def test_who_was_not_with_them_goes_as_always(self, hosted: MakeHost) -> None:
        """Whoever was put off is no part of the batch that is repeated."""
        api = keyed()
        api.script(ADA, unknown())
        api.script(BEN, deferred())
        async with hosted(api) as host:
            outcomes = await sent(host, ADA, BEN)
            # Only as a whole would it be recognised, and of Ben the provider has said something.
            assert (outcomes[ADA].state, outcomes[BEN].state) == (State.UNKNOWN, State.ACCEPTED)
        assert api.handed_over == {ADA: 1, BEN: 2}

    async def test_a_refusal_of_the_repetition_leaves_the_doubt(self, hosted: MakeHost) -> None:
        """That it is not the same request, for example, says nothing of the first one."""
        api = keyed()
        api.script(ADA, unknown(), rejected(scope=Scope.MESSAGE, reason="idempotency_mismatch"))
        async with hosted(api) as host:
            assert (await sent(host, ADA))[ADA].state is State.UNKNOWN
            assert [copy.recipient for copy in await host.unknown()] == [ADA]
        assert api.handed_over == {ADA: 2}

    async def test_when_its_time_is_over_it_is_unknown(self, hosted: MakeHost) -> None:
        """It may have left; so it is not called put off."""
        api = keyed()
        api.otherwise(unknown())
        async with hosted(api, engine={"give_up_after_s": 0.5}) as host:
            assert (await sent(host, ADA))[ADA].state is State.UNKNOWN
            (copy,) = await host.unknown()
            await host.resolve(copy.unit, copy.position, "accepted")
            assert await host.unknown() == ()

    async def test_a_key_that_is_not_kept_for_long_is_not_relied_on(self, hosted: MakeHost) -> None:
        """By the time that the repetition arrives it may be forgotten."""
        api = keyed(key_kept_s=30)
        api.script(ADA, unknown())
        async with hosted(api) as host:
            assert (await sent(host, ADA))[ADA].state is State.UNKNOWN
        assert api.handed_over == {ADA: 1}

    async def test_a_person_may_settle_it_before(self, hosted: MakeHost) -> None:
        """It is listed while it waits; and who is settled is not tried again."""
        api = keyed()
        api.script(ADA, unknown())
        async with hosted(api, engine={"first_retry_s": 3600.0}) as host:
            receipt = await host.send(letter(ADA), durable=True)
            while not (found := await host.unknown()):
                await host.receipt(receipt.id or 0)
            assert (await host.receipt(receipt.id or 0)).pending  # type: ignore[union-attr]
            await host.resolve(found[0].unit, found[0].position, "accepted")
            settled = await host.settled(receipt.id or 0, timeout_s=SOON_S)
            assert settled.outcomes[ADA].state is State.ACCEPTED
        assert api.handed_over == {ADA: 1}

    async def test_of_a_broadcast_too(self, hosted: MakeHost) -> None:
        """Each batch as it was."""
        api = keyed()
        for each in (ADA, BEN):
            api.script(each, unknown())
        async with hosted(api, engine={"chunk": 2}) as host:
            broadcast = await host.broadcast(NEWS, [ADA, BEN, CY])
            progress = await broadcast.wait(SOON_S)
            assert (progress.counts.accepted, progress.counts.unknown) == (3, 0)
        assert sorted(call.recipients for call in api.calls) == [(ADA, BEN), (ADA, BEN), (CY,)]
        assert len(set(keys(api))) == 2

    async def test_a_broadcast_that_is_stopped_leaves_it_unknown(self, hosted: MakeHost) -> None:
        """Nobody tries it again, and nobody is forgotten."""
        api = keyed()
        api.script(ADA, unknown())
        async with hosted(api, engine={"first_retry_s": 3600.0}) as host:
            broadcast = await host.broadcast(NEWS, [ADA])
            while not await host.unknown():
                await broadcast.progress()
            await broadcast.stop()
            assert (await broadcast.progress()).counts.unknown == 1


class TestWhatIsAskedOfADurableSend:
    """What outlives a call cannot be told how to behave within it."""

    async def test_the_hosts_own_policy_holds(self, hosted_in_a_file: MakeHost) -> None:
        """For sends and broadcasts, where the call says nothing else."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        for each in (ADA, BEN):
            smtp.script(each, unknown())
        async with hosted_in_a_file(smtp, policy=AT_LEAST_ONCE) as host:
            assert (await sent(host, ADA))[ADA].state is State.ACCEPTED
            assert (await (await host.broadcast(NEWS, [BEN])).wait(SOON_S)).counts.accepted == 1
            smtp.script(CY, unknown())
            progress = await (await host.broadcast(NEWS, [CY], at_least_once=False)).wait(SOON_S)
            assert progress.counts.unknown == 1

    async def test_what_would_be_ignored_is_refused(self, hosted_in_a_file: MakeHost) -> None:
        """All of it at once, and nothing is taken in."""
        async with hosted_in_a_file(ScriptedConnector("smtp")) as host:
            asked = SendPolicy(attempts_per_connection=1, first_backoff_s=5.0, at_least_once=True)
            with pytest.raises(ValidationError) as raised:
                await host.send(letter(ADA), priority=1, policy=asked, timeout_s=3.0)
            assert [problem.path for problem in raised.value.problems] == [
                "policy.attempts_per_connection",
                "policy.first_backoff_s",
                "timeout_s",
            ]
            assert await host.receipt(1) is None


class TestAtLeastOnce:
    """The host would rather have two copies than none."""

    async def test_a_lost_answer_is_tried_again(self, hosted: MakeHost) -> None:
        """Though the process lived: in a later pass, as what is put off."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.script(ADA, unknown(), deferred(), unknown(), accepted())
        async with hosted(smtp) as host:
            assert (await sent(host, ADA, BEN, policy=AT_LEAST_ONCE))[ADA].state is State.ACCEPTED
        assert smtp.handed_over == {ADA: 4, BEN: 1}

    async def test_of_a_broadcast_too(self, hosted: MakeHost) -> None:
        """Of its option."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.script(ADA, unknown())
        async with hosted(smtp) as host:
            broadcast = await host.broadcast(NEWS, [ADA, BEN], at_least_once=True)
            progress = await broadcast.wait(SOON_S)
            assert (progress.counts.accepted, progress.counts.unknown) == (2, 0)
        assert smtp.handed_over == {ADA: 2, BEN: 1}

    async def test_when_its_time_is_over_it_is_unknown(self, hosted: MakeHost) -> None:
        """What was put off last may have left before."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.script(ADA, unknown())
        smtp.otherwise(deferred())
        async with hosted(smtp, engine={"give_up_after_s": 0.5}) as host:
            outcomes = await sent(host, ADA, BEN, policy=AT_LEAST_ONCE)
            assert (outcomes[ADA].state, outcomes[BEN].state) == (State.UNKNOWN, State.DEFERRED)
            assert [copy.recipient for copy in await host.unknown()] == [ADA]

    async def test_whoever_is_suppressed_meanwhile_stays_in_doubt(self, hosted: MakeHost) -> None:
        """Nothing more goes there; what went before is not known."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp) as host:

            async def lost(batch: Batch, context: SendContext) -> Sequence[Outcome]:
                await host.suppressions.add(ADA)
                return [attrs.evolve(unknown(), recipient=each.email) for each in batch.recipients]

            smtp.sends_with(lost)
            assert (await sent(host, ADA, policy=AT_LEAST_ONCE))[ADA].state is State.UNKNOWN
        assert smtp.handed_over == {ADA: 1}


@pytest.mark.parametrize("state", ["accepted", "rejected"])
async def test_without_a_key_nobody_is_tried_again(hosted: MakeHost, state: str) -> None:
    """SMTP has none: it is for somebody who knows more."""
    smtp = ScriptedConnector("smtp", kind="smtp")
    smtp.script(ADA, unknown())
    async with hosted(smtp) as host:
        assert (await sent(host, ADA))[ADA].state is State.UNKNOWN
        (copy,) = await host.unknown()
        await host.resolve(copy.unit, copy.position, state)
    assert smtp.handed_over == {ADA: 1}
