"""What the attempt loop tells its journal, and what it does when that says no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from genie_connect import Batch, Host, Outcome, Retry, SendContext, SendPolicy, State
from genie_connect.delivery.dispatch import Way, single_delivery
from genie_connect.delivery.journal import Leaving, StepBack
from genie_connect.model.batch import new_message_id
from genie_connect.model.receipt import Attempt
from tests.support.clock import FakeClock
from tests.support.connector import ScriptedConnector, accepted, deferred, letter, scripted_host

ADA, BEN = "ada@example.com", "ben@example.com"


class Notes:
    """A journal that keeps the order of things, and says what it was told to."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.leavings: list[Leaving] = []
        self.answers: list[tuple[Attempt, Sequence[Outcome]]] = []
        self.refusal: Exception | None = None
        self.failure: Exception | None = None

    async def leaving(self, leaving: Leaving) -> None:
        """Note it, and refuse where that was asked for."""
        self.order.append("leaving")
        self.leavings.append(leaving)
        if self.refusal is not None:
            raise self.refusal

    async def answered(self, attempt: Attempt, outcomes: Sequence[Outcome]) -> None:
        """Note it, and fail where that was asked for."""
        self.order.append("answered")
        self.answers.append((attempt, outcomes))
        if self.failure is not None:
            raise self.failure


async def deliver(host: Host, journal: Notes, **way: Any) -> tuple[dict[str, Outcome], list[Attempt]]:
    """Hand a letter to two people over, with a journal."""
    message = letter(ADA, BEN)
    dispatcher = host._dispatcher
    route = dispatcher.route(message)
    clearance = await dispatcher.clear(message.recipients, message.purpose)
    assert message.from_ is not None
    delivery = single_delivery(message, new_message_id(message.from_), clearance.cleared)
    policy = SendPolicy(attempts_per_connection=1, longest_wait_s=0.0)
    whole = attrs.evolve(Way(policy=policy, journal=journal), **way)
    return await dispatcher.deliver(message, [delivery], route, whole, key="key", broadcast=False)


async def test_it_is_told_before_the_first_byte_and_after_the_answer() -> None:
    """Who is about to leave, by which attempt and key; then what came of exactly those."""
    smtp, notes = ScriptedConnector("smtp", kind="smtp"), Notes()

    async def send(batch: Batch, context: SendContext) -> Sequence[Outcome]:
        notes.order.append("sent")
        return smtp.answers(batch)

    smtp.sends_with(send)
    async with scripted_host(smtp, clock=FakeClock()) as host:
        await deliver(host, notes)
    assert notes.order == ["leaving", "sent", "answered"]
    (leaving,), ((attempt, outcomes),) = notes.leavings, notes.answers
    assert [address.email for address in leaving.batch.recipients] == [outcome.recipient for outcome in outcomes]
    (call,) = smtp.calls
    assert (leaving.attempt_id, leaving.idempotency_key) == (call.context.attempt_id, call.context.idempotency_key)
    assert (leaving.attempt_id, leaving.connection) == (attempt.id, "smtp")


async def test_each_connection_that_is_tried_is_a_hand_over_of_its_own() -> None:
    """Only those who go on are in the second."""
    first, second, notes = ScriptedConnector("first"), ScriptedConnector("second"), Notes()
    first.script(BEN, deferred(retry=Retry.OTHER))
    async with scripted_host(first, second, clock=FakeClock()) as host:
        await deliver(host, notes)
    assert [[address.email for address in each.batch.recipients] for each in notes.leavings] == [[ADA, BEN], [BEN]]
    assert len({each.attempt_id for each in notes.leavings}) == 2


async def test_work_that_is_no_longer_ours_ends_at_once() -> None:
    """Nobody leaves, nobody has an outcome, and no other connection is tried."""
    first, second, notes = ScriptedConnector("first"), ScriptedConnector("second"), Notes()
    notes.refusal = StepBack("another worker has it", hand_back=True)
    async with scripted_host(first, second, clock=FakeClock()) as host:
        with pytest.raises(StepBack):
            await deliver(host, notes)
        # The attempt that was not made holds no place and no probe.
        notes.refusal = None
        outcomes, _ = await deliver(host, notes)
        assert {outcome.state for outcome in outcomes.values()} == {State.ACCEPTED}
    assert len(first.calls) == 1


@pytest.mark.parametrize("refusal", [StepBack("the disk is full", hint="make room"), OSError("no space")])
async def test_whoever_cannot_be_written_down_is_put_off(refusal: Exception) -> None:
    """With the reason; nothing was handed over, and the connection is not to blame."""
    smtp, notes = ScriptedConnector("smtp", kind="smtp"), Notes()
    notes.refusal = refusal
    async with scripted_host(smtp, clock=FakeClock()) as host:
        outcomes, _ = await deliver(host, notes)
        assert {(each.state, each.reason) for each in outcomes.values()} == {(State.DEFERRED, "journal_unavailable")}
        assert host.connection("smtp").breaker.pause_s == 0
    assert smtp.calls == []
    assert notes.answers == []


async def test_an_answer_that_cannot_be_written_down_is_an_answer_all_the_same() -> None:
    """It changes no outcome: the message has left."""
    smtp, notes = ScriptedConnector("smtp", kind="smtp"), Notes()
    notes.failure = OSError("no space")
    async with scripted_host(smtp, clock=FakeClock()) as host:
        outcomes, attempts = await deliver(host, notes)
    assert {outcome.state for outcome in outcomes.values()} == {State.ACCEPTED}
    assert len(attempts) == 1


@pytest.mark.parametrize(("retry", "goes_to"), [(Retry.SAME, "second"), (Retry.OTHER, "first"), (Retry.ANY, "first")])
async def test_what_an_earlier_pass_said_still_holds(retry: Retry, goes_to: str) -> None:
    """Put off by the second connection: bound to it, barred from it, or free."""
    made = {name: ScriptedConnector(name) for name in ("first", "second")}
    notes = Notes()
    earlier = attrs.evolve(deferred(retry=retry), recipient=BEN, connection="second")
    async with scripted_host(*made.values(), clock=FakeClock()) as host:
        outcomes, _ = await deliver(host, notes, earlier={BEN: earlier})
    assert outcomes[BEN].connection == goes_to
    assert outcomes[ADA].connection == "first"


async def test_bound_to_a_connection_that_has_gone_it_keeps_what_it_had() -> None:
    """Nobody else may have it, so it is put off once more, for the reason of the last time."""
    notes, only = Notes(), ScriptedConnector("first")
    only.otherwise(accepted())
    earlier = attrs.evolve(deferred(retry=Retry.SAME, text="450 greylisted"), recipient=BEN, connection="gone")
    async with scripted_host(only, clock=FakeClock()) as host:
        outcomes, _ = await deliver(host, notes, earlier={BEN: earlier})
    assert (outcomes[BEN].state, outcomes[BEN].text) == (State.DEFERRED, "450 greylisted")
    assert only.handed_over == {ADA: 1}
