"""Sending to a provider that does not work: nothing is lost, nothing is sent twice, nothing is guessed.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from genie_connect.contract import Kind
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.http_provider import RETRY_AFTER_S
from genie_connect_spec.kit.letters import Copy, batch_of, letter
from genie_connect_spec.kit.provider import relocated
from genie_connect_spec.kit.rig import GRACE_S, SHORT_S, Rig, turn
from genie_connect_spec.kit.running import within

SENDS: Final = ("GC-SEND-001",)
REASONS: Final = frozenset(
    {
        "auth",
        "connect",
        "content_rejected",
        "greylisted",
        "in_doubt",
        "internal",
        "permanent",
        "policy",
        "protocol",
        "recipient_rejected",
        "sender_rejected",
        "temporary",
        "throttled",
        "tls",
        "too_large",
        "unsupported",
    }
)
"""The words for why, from the reference of outcomes."""


@contextmanager
def nowhere() -> Iterator[tuple[str, int]]:
    """A place where connecting is refused."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()


async def _unreachable(rig: Rig) -> Outcome:
    with nowhere() as (host, port):
        rig.guard.allow(host, port)
        settings = rig.structured(relocated(rig.data, rig.provider, host, port))
        async with rig.opened(settings) as state:
            (outcome,) = await rig.send(state, await batch_of(letter()), rig.context(2.0))
    return outcome


def _in_doubt(outcome: Outcome, what: str) -> None:
    assert outcome.state is State.UNKNOWN, (
        f"{what}, so the provider may have taken the message, and the outcome is {outcome.state}"
    )


@check("GC-FAIL-001", after=SENDS)
async def silence_is_unknown(rig: Rig) -> None:
    """The provider may have the message: "deferred" would have it sent twice, "rejected" would call it lost."""
    _in_doubt(await rig.outcome(Behaviour.SILENT, deadline_s=SHORT_S), "no answer came")


@check("GC-FAIL-002", after=SENDS)
async def silence_is_not_broken_twice(rig: Rig) -> None:
    """No second attempt of its own: the host decides, and it counts."""
    await rig.outcome(Behaviour.SILENT, deadline_s=2 * SHORT_S)
    count = len(rig.provider.handed_over)
    assert count == 1, f"no answer came, and the message was handed over {count} times"


@check("GC-FAIL-003", after=SENDS)
async def a_broken_connection_is_unknown(rig: Rig) -> None:
    """The connection ended after the message, before the answer."""
    _in_doubt(await rig.outcome(Behaviour.CLOSED), "the connection ended after the message was written")


@check("GC-FAIL-004", after=SENDS)
async def a_broken_connection_is_not_tried_twice(rig: Rig) -> None:
    """Many HTTP clients repeat a request whose connection broke. That is a second copy."""
    await rig.outcome(Behaviour.CLOSED, deadline_s=2.0)
    count = len(rig.provider.handed_over)
    assert count == 1, f"the connection broke, and the message was handed over {count} times"


@check("GC-FAIL-005", after=SENDS)
async def half_an_answer_is_unknown(rig: Rig) -> None:
    """An answer that breaks off says nothing for sure."""
    _in_doubt(await rig.outcome(Behaviour.TRUNCATED, deadline_s=2.0), "the answer broke off")


@check("GC-FAIL-006", after=SENDS)
async def an_unreadable_answer_is_unknown(rig: Rig) -> None:
    """A success that nobody can read is neither a yes for each recipient nor a no."""
    _in_doubt(await rig.outcome(Behaviour.GARBAGE, deadline_s=2.0), "the answer cannot be read")


@check("GC-FAIL-007", after=SENDS)
async def a_fault_of_the_provider_is_unknown(rig: Rig) -> None:
    """A 500 may come from a gateway that lost the answer of a machine that took the message."""
    _in_doubt(await rig.outcome(Behaviour.BROKEN, deadline_s=2.0), "the provider answered 500")


@check("GC-FAIL-008", after=SENDS)
async def a_fault_of_the_provider_is_not_tried_twice(rig: Rig) -> None:
    """Many client libraries repeat a request after a 500. That is a second copy."""
    await rig.outcome(Behaviour.BROKEN, deadline_s=3.0)
    count = len(rig.provider.handed_over)
    assert count == 1, f"the provider answered 500, and the message was handed over {count} times"


@check("GC-FAIL-009", after=SENDS)
async def nobody_there_is_deferred(rig: Rig) -> None:
    """Nothing was handed over: another attempt, here or elsewhere, cannot be a second copy."""
    outcome = await _unreachable(rig)
    assert outcome.state is State.DEFERRED, f"connecting is refused, and the outcome is {outcome.state}"


@check("GC-FAIL-010", after=SENDS)
async def nobody_there_may_be_tried_anywhere(rig: Rig) -> None:
    """The fallback takes over where a provider cannot be reached."""
    outcome = await _unreachable(rig)
    assert outcome.retry in (Retry.ANY, Retry.OTHER), f"connecting is refused, and retry is {outcome.retry}"
    assert outcome.scope is Scope.CONNECTION, f"connecting is refused, and that is said of the {outcome.scope}"


@check("GC-FAIL-011", after=SENDS)
async def too_much_is_deferred(rig: Rig) -> None:
    """A limit on the rate passes."""
    outcome = await rig.outcome(Behaviour.THROTTLED, deadline_s=1.0)
    assert outcome.state is State.DEFERRED, f"the provider is asked too much, and the outcome is {outcome.state}"
    assert outcome.retry in (Retry.ANY, Retry.SAME), f"a limit passes, and retry is {outcome.retry}"


@check("GC-FAIL-012", after=SENDS)
async def too_much_is_called_so(rig: Rig) -> None:
    """The host slows down for this reason and for no other."""
    outcome = await rig.outcome(Behaviour.THROTTLED, deadline_s=1.0)
    assert outcome.reason == "throttled", f"the provider is asked too much, and the reason is {outcome.reason}"


@check("GC-FAIL-013", after=SENDS)
async def the_providers_wait_is_passed_on(rig: Rig) -> None:
    """Whoever comes back earlier is put off for longer."""
    needs(rig.kind is Kind.API, "SMTP names no wait")
    outcome = await rig.outcome(Behaviour.THROTTLED, deadline_s=1.0)
    wait = outcome.retry_after_s
    assert wait is not None and wait >= RETRY_AFTER_S - 1, (
        f"the provider asks to wait {RETRY_AFTER_S} s; it says {wait}"
    )


@check("GC-FAIL-014", after=SENDS)
async def wrong_credentials_are_deferred(rig: Rig) -> None:
    """Nothing was taken, and nothing is wrong with the message."""
    outcome = await rig.outcome(Behaviour.UNAUTHORIZED, deadline_s=3.0)
    assert outcome.state is State.DEFERRED, f"the credentials are refused, and the outcome is {outcome.state}"


@check("GC-FAIL-015", after=SENDS)
async def wrong_credentials_are_called_so(rig: Rig) -> None:
    """The host marks the connection as degraded and does not try it again by itself."""
    outcome = await rig.outcome(Behaviour.UNAUTHORIZED, deadline_s=3.0)
    assert outcome.reason == "auth", f"the credentials are refused, and the reason is {outcome.reason}"
    assert outcome.retry is Retry.OTHER, f"the credentials are refused, and retry is {outcome.retry}"
    assert outcome.scope is Scope.CONNECTION, f"the credentials are refused, and that is said of the {outcome.scope}"


@check("GC-FAIL-016", after=SENDS)
async def no_failure_of_the_provider_suppresses(rig: Rig) -> None:
    """Only "no such mailbox" is a reason to write to somebody no more."""
    for behaviour in (Behaviour.CLOSED, Behaviour.BROKEN, Behaviour.THROTTLED, Behaviour.UNAUTHORIZED):
        if rig.provider.can(behaviour):
            outcome = await rig.outcome(behaviour, deadline_s=1.0)
            assert not outcome.suppress, f"a provider that is {behaviour.value} has the recipient suppressed"


@check("GC-FAIL-017", after=SENDS)
async def reasons_are_of_the_vocabulary(rig: Rig) -> None:
    """Hosts act on words; a word of its own is acted on by nobody."""
    for behaviour in (Behaviour.CLOSED, Behaviour.BROKEN, Behaviour.THROTTLED, Behaviour.UNAUTHORIZED):
        if rig.provider.can(behaviour):
            reason = (await rig.outcome(behaviour, deadline_s=1.0)).reason
            assert reason in REASONS, (
                f"the reason {reason!r} for a provider that is {behaviour.value} is not a known one"
            )


@check("GC-FAIL-018", force=Force.SHOULD, after=SENDS)
async def failures_come_with_a_hint(rig: Rig) -> None:
    """Whoever reads the outcome wants to know what to do."""
    for behaviour in (Behaviour.CLOSED, Behaviour.THROTTLED, Behaviour.UNAUTHORIZED):
        if rig.provider.can(behaviour):
            hint = (await rig.outcome(behaviour, deadline_s=1.0)).hint
            assert hint, f"the outcome of a provider that is {behaviour.value} has no hint"


@check("GC-FAIL-019", after=SENDS)
async def everybody_has_an_outcome_in_failure(rig: Rig) -> None:
    """A failure of the whole is an outcome for each."""
    needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
    rig.misbehave(Behaviour.UNAUTHORIZED)
    batch = await batch_of(letter(), [Copy(to=f"reader{number}@example.com") for number in (2, 1, 3)])
    async with rig.opened() as state:
        outcomes = await rig.send(state, batch)
    assert {outcome.state for outcome in outcomes} == {State.DEFERRED}, f"the outcomes are {outcomes}"


@check("GC-FAIL-020", after=SENDS)
async def the_deadline_is_kept(rig: Rig) -> None:
    """Whatever the provider does, the host has its answer in time."""
    rig.misbehave(Behaviour.SILENT)
    async with rig.opened() as state:
        begun = rig.clock.monotonic()
        await rig.send(state, await batch_of(letter()), rig.context(SHORT_S))
        took = rig.clock.monotonic() - begun
    assert took < SHORT_S + GRACE_S, f"the deadline was {SHORT_S} s, and it took {took:.1f} s"


@check("GC-FAIL-021", after=SENDS)
async def a_deadline_that_has_passed_is_an_outcome(rig: Rig) -> None:
    """An exception would say that the connector is broken, and it is only late."""
    async with rig.opened() as state:
        (outcome,) = await rig.send(state, await batch_of(letter()), rig.context(-1.0))
    assert outcome.state is not State.REJECTED, "there was no time, and the message is called refused"
    if not rig.provider.handed_over:
        assert outcome.state is not State.ACCEPTED, "nothing was handed over, and the outcome is accepted"


@check("GC-FAIL-022", after=SENDS)
async def cancellation_passes_through(rig: Rig) -> None:
    """A host that shuts down cancels what it waits for, and waits for that to end."""
    rig.misbehave(Behaviour.SILENT)
    async with rig.opened() as state:
        batch, context = await batch_of(letter()), rig.context(30.0)
        work = rig.hooks.connector_send(state=state, batch=batch, context=context)
        sending = asyncio.ensure_future(work)
        await rig.provider.received(1, 10.0)
        sending.cancel()
        done, _ = await asyncio.wait({sending}, timeout=GRACE_S)
        assert done, f"it was cancelled, and goes on for {GRACE_S} s"
        assert sending.cancelled(), "it was cancelled and swallowed that: the host takes its result for an answer"


@check("GC-FAIL-023", after=("GC-SEND-001", "GC-FAIL-022"))
async def the_connection_lives_after_a_cancellation(rig: Rig) -> None:
    """One send that is given up must not spoil those after it."""
    async with rig.opened() as state:
        rig.misbehave(Behaviour.SILENT)
        work = rig.hooks.connector_send(state=state, batch=await batch_of(letter()), context=rig.context(30.0))
        sending = asyncio.ensure_future(work)
        await rig.provider.received(1, 10.0)
        sending.cancel()
        await asyncio.wait({sending}, timeout=GRACE_S)
        rig.provider.behave()
        await rig.deliver_with(state, letter(subject="After the one that was given up"))


@check("GC-FAIL-024", after=SENDS)
async def the_connection_lives_after_a_failure(rig: Rig) -> None:
    """A provider that was away is used again when it is back."""
    async with rig.opened() as state:
        for behaviour in (Behaviour.CLOSED, Behaviour.GARBAGE):
            rig.misbehave(behaviour)
            await rig.send(state, await batch_of(letter()), rig.context(2.0))
        rig.provider.behave()
        await rig.deliver_with(state, letter())


@check("GC-FAIL-025", after=SENDS)
async def a_connection_that_ended_unused_costs_nothing(rig: Rig) -> None:
    """Servers end idle connections. The message behind one is sent once, on a new one."""
    rig.misbehave(Behaviour.HASTY)
    async with rig.opened() as state:
        for number in range(3):
            batch = await batch_of(letter(f"reader{number}@example.com"))
            (outcome,) = await rig.send(state, batch)
            # Where the end of the connection and the message cross, nobody knows.
            assert outcome.state is not State.REJECTED, f"an idle connection ended: {outcome}"
            await rig.provider.deserted(GRACE_S)
            await turn()
    for number in range(3):
        name = f"reader{number}@example.com"
        times = rig.times_handed_to(name)
        assert times <= 1, f"the message to {name} was handed over {times} times"


@check("GC-FAIL-026", after=SENDS)
async def a_silent_one_holds_up_nobody(rig: Rig) -> None:
    """A send that waits for its answer does not keep others from theirs."""
    async with rig.opened() as state:
        rig.misbehave(Behaviour.SILENT)
        waiting = asyncio.ensure_future(rig.raw_send(state, await batch_of(letter()), rig.context(20.0)))
        try:
            await rig.provider.received(1, 10.0)
            rig.provider.behave()
            await within(5.0, rig.deliver_with(state, letter("ben@example.com")), "a send beside a silent one")
        finally:
            waiting.cancel()
            await asyncio.wait({waiting}, timeout=GRACE_S)


@check("GC-FAIL-027", after=SENDS)
async def outcomes_in_doubt_ask_for_nothing(rig: Rig) -> None:
    """What may be there already is not for another attempt, and not about the recipient."""
    outcome = await rig.outcome(Behaviour.CLOSED)
    needs(outcome.state is State.UNKNOWN, "it is not in doubt; GC-FAIL-003 says so")
    assert outcome.reason == "in_doubt", f"the reason of an outcome in doubt is {outcome.reason}"
    assert outcome.scope is not Scope.RECIPIENT, "the connection broke, and that is said of the recipient"
