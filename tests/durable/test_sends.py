"""Sends on a host with a store: what is on disk when, and what a second process can still do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from genie_connect import (
    Batch,
    ConfigurationError,
    Host,
    IdempotencyConflict,
    Outcome,
    Retry,
    SendContext,
    State,
    ValidationError,
)
from tests.durable.conftest import MakeHost
from tests.support.connector import ScriptedConnector, accepted, deferred, letter, rejected, scripted_host, unknown

ADA, BEN = "ada@example.com", "ben@example.com"
SOON_S = 60.0


def later(**time: float) -> datetime:
    """A time of day from now on."""
    return datetime.now(UTC) + timedelta(**time)


class TestPlain:
    """Sends whose caller waits for them."""

    async def test_it_is_written_down_before_it_leaves_and_after_the_answer(self, hosted: MakeHost) -> None:
        """While the connector has it, the ledger says that it is under way; then what came of it."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        seen: list[Any] = []
        async with hosted(smtp) as host, hosted(smtp) as other:

            async def look(batch: Batch, context: SendContext) -> Sequence[Outcome]:
                seen.append(await other.receipt(1))
                return smtp.answers(batch)

            smtp.script(BEN, rejected())
            smtp.sends_with(look)
            sent = await host.send(letter(ADA, BEN))
            assert [(receipt.pending, len(receipt.outcomes), receipt.attempts[0].outcome) for receipt in seen] == [
                (True, 0, "unknown")
            ]
            assert sent.id == 1
            kept = await other.receipt(1)
            assert kept is not None
            assert not kept.pending
            assert kept.message_id == sent.message_id
            assert {key: outcome.state for key, outcome in kept.outcomes.items()} == {
                ADA: State.ACCEPTED,
                BEN: State.REJECTED,
            }
            assert [attempt.id for attempt in kept.attempts] == [attempt.id for attempt in sent.attempts]

    async def test_cancelled_while_the_connector_has_it_it_is_unknown(self, hosted: MakeHost) -> None:
        """Nobody knows how far it came, and nobody tries it again."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        there = asyncio.Event()

        async def hang(batch: Batch, context: SendContext) -> Sequence[Outcome]:
            there.set()
            await asyncio.Event().wait()
            return ()

        smtp.sends_with(hang)
        async with hosted(smtp) as host:
            sending = asyncio.create_task(host.send(letter(ADA)))
            await there.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            receipt = await host.settled(1, timeout_s=SOON_S)
            assert receipt.outcomes[ADA].state is State.UNKNOWN
            assert [copy.recipient for copy in await host.unknown()] == [ADA]
        assert smtp.handed_over == {ADA: 1}

    async def test_nobody_is_handed_over_who_cannot_be_written_down(self, hosted_in_a_file: MakeHost) -> None:
        """The store cannot be written: they are put off, and the connector never hears of them."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted_in_a_file(smtp, engine={"work": False}) as host:
            assert host._durable is not None
            await host._durable.ledger.writer.__aexit__(None, None, None)
            receipt = await host.send(letter(ADA))
            outcome = receipt.outcomes[ADA]
            assert (outcome.state, outcome.reason) == (State.DEFERRED, "journal_unavailable")
        assert smtp.calls == []

    async def test_a_caller_hears_what_came_of_it_though_the_store_has_gone(self, hosted_in_a_file: MakeHost) -> None:
        """The message has left; an error in its place would make somebody send it again."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted_in_a_file(smtp, engine={"work": False}) as host:
            assert host._durable is not None
            writer = host._durable.ledger.writer

            async def gone(batch: Batch, context: SendContext) -> Sequence[Outcome]:
                await writer.__aexit__(None, None, None)
                return smtp.answers(batch)

            smtp.sends_with(gone)
            receipt = await host.send(letter(ADA))
            assert receipt.outcomes[ADA].state is State.ACCEPTED

    async def test_a_key_that_comes_again_is_the_same_send(self, hosted: MakeHost) -> None:
        """The first receipt comes back; nothing is handed over a second time."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp) as host:
            first = await host.send(letter(ADA), idempotency_key="order-1")
            second = await host.send(letter(ADA), idempotency_key="order-1")
            assert second.message_id == first.message_id
            assert second.outcomes[ADA].state is State.ACCEPTED
            with pytest.raises(IdempotencyConflict):
                await host.send(letter(BEN), idempotency_key="order-1")
        assert smtp.handed_over == {ADA: 1}


class TestDurable:
    """Sends that outlive the call that made them."""

    async def test_it_is_safe_when_the_call_returns_and_sent_then(self, hosted: MakeHost) -> None:
        """Pending at first; settled soon."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp) as host:
            receipt = await host.send(letter(ADA, BEN), durable=True)
            assert receipt.pending
            assert receipt.id is not None
            settled = await host.settled(receipt.id, timeout_s=SOON_S)
            assert settled.accepted
            assert settled.message_id == receipt.message_id
            assert [call.batch.deliveries[0].message_id for call in smtp.calls] == [receipt.message_id]

    async def test_another_process_sends_what_this_one_accepted(self, hosted: MakeHost) -> None:
        """The one that accepts need not work, and may be gone by then."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp, work=False) as host:
            receipt = await host.send(letter(ADA), durable=True)
        assert smtp.calls == []
        assert receipt.id is not None
        async with hosted(smtp) as other:
            assert (await other.settled(receipt.id, timeout_s=SOON_S)).accepted

    async def test_put_off_it_is_tried_again_where_it_may_be(self, hosted: MakeHost) -> None:
        """Greylisting binds it to its connection, over any number of passes."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.script(ADA, deferred(reason="greylisted", retry=Retry.SAME), deferred(retry=Retry.SAME), accepted())
        async with hosted(first, second) as host:
            receipt = await host.send(letter(ADA), durable=True)
            settled = await host.settled(receipt.id or 0, timeout_s=SOON_S)
            assert settled.outcomes[ADA].connection == "first"
            assert [attempt.outcome for attempt in settled.attempts] == ["deferred", "deferred", "accepted"]
        assert first.handed_over == {ADA: 3}
        assert second.calls == []

    async def test_only_those_who_were_put_off_are_tried_again(self, hosted: MakeHost) -> None:
        """The others have their copy, and it keeps naming them."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.script(BEN, deferred())
        async with hosted(smtp) as host:
            receipt = await host.send(letter(ADA, BEN), durable=True)
            assert (await host.settled(receipt.id or 0, timeout_s=SOON_S)).accepted
        assert [call.recipients for call in smtp.calls] == [(ADA, BEN), (BEN,)]
        assert [address.email for address in smtp.calls[1].batch.deliveries[0].to] == [ADA, BEN]

    async def test_it_is_given_up_when_its_time_is_over(self, hosted: MakeHost) -> None:
        """With a reason, and what the other side said last."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.otherwise(deferred(text="452 mailbox full"))
        # From when it was due: so it is tried once, however busy the machine is.
        async with hosted(smtp, engine={"give_up_after_s": 0.1}) as host:
            receipt = await host.send(letter(ADA), durable=True)
            outcome = (await host.settled(receipt.id or 0, timeout_s=SOON_S)).outcomes[ADA]
            assert (outcome.state, outcome.reason, outcome.text) == (State.DEFERRED, "expired", "452 mailbox full")

    async def test_its_time_runs_from_when_it_was_due_at_first(self, hosted: MakeHost) -> None:
        """However soon the other side says to come again, that is not for ever."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.otherwise(deferred(retry_after_s=0.02))
        async with hosted(smtp, engine={"give_up_after_s": 1.5}) as host:
            receipt = await host.send(letter(ADA), durable=True)
            assert (await host.settled(receipt.id or 0, timeout_s=SOON_S)).outcomes[ADA].reason == "expired"
        assert smtp.handed_over[ADA] > 1

    async def test_it_waits_for_its_time(self, hosted: MakeHost) -> None:
        """What is due goes before it."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp) as host:
            waiting = await host.send(letter(BEN), not_before=later(hours=1))
            due = await host.send(letter(ADA), durable=True)
            await host.settled(due.id or 0, timeout_s=SOON_S)
            kept = await host.receipt(waiting.id or 0)
            assert kept is not None
            assert kept.pending
        assert smtp.handed_over == {ADA: 1}

    async def test_a_lost_answer_is_unknown_and_not_tried_again(self, hosted: MakeHost) -> None:
        """It is listed, and a person says what became of it."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.script(ADA, unknown())
        async with hosted(smtp) as host:
            receipt = await host.send(letter(ADA), durable=True)
            assert (await host.settled(receipt.id or 0, timeout_s=SOON_S)).outcomes[ADA].state is State.UNKNOWN
            (copy,) = await host.unknown()
            await host.resolve(copy.unit, copy.position, "accepted", note="it is in the inbox")
            assert await host.unknown() == ()
            kept = await host.receipt(receipt.id or 0)
            assert kept is not None
            assert kept.outcomes[ADA].state is State.ACCEPTED
        assert smtp.handed_over == {ADA: 1}

    async def test_a_person_may_have_it_sent_again(self, hosted: MakeHost) -> None:
        """The same copy, with the same Message-ID."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.script(ADA, unknown())
        async with hosted(smtp) as host:
            receipt = await host.send(letter(ADA), durable=True)
            await host.settled(receipt.id or 0, timeout_s=SOON_S)
            (copy,) = await host.unknown()
            await host.resolve(copy.unit, copy.position, "resend")
            assert (await host.settled(receipt.id or 0, timeout_s=SOON_S)).accepted
        assert {call.batch.deliveries[0].message_id for call in smtp.calls} == {receipt.message_id}
        assert smtp.handed_over == {ADA: 2}

    async def test_a_key_that_comes_again_is_the_same_send(self, hosted: MakeHost) -> None:
        """In another process, too."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp, work=False) as one, hosted(smtp, work=False) as other:
            first = await one.send(letter(ADA), durable=True, idempotency_key="order-1")
            second = await other.send(letter(ADA), durable=True, idempotency_key="order-1")
            assert (second.id, second.message_id) == (first.id, first.message_id)
            with pytest.raises(IdempotencyConflict):
                await other.send(letter(BEN), durable=True, idempotency_key="order-1")

    async def test_whoever_is_suppressed_meanwhile_gets_nothing(self, hosted: MakeHost) -> None:
        """The list is asked again as it leaves, by whichever process that is."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp, work=False) as host:
            receipt = await host.send(letter(ADA, BEN), durable=True)
            await host.suppressions.add(ADA)
        async with hosted(smtp) as other:
            settled = await other.settled(receipt.id or 0, timeout_s=SOON_S)
            assert settled.outcomes[ADA].state is State.SUPPRESSED
            assert settled.accepted
        assert smtp.handed_over == {BEN: 1}

    async def test_whoever_is_suppressed_already_is_told_at_once(self, hosted: MakeHost) -> None:
        """The receipt says so; the others are pending, and their copy does not name them."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp) as host:
            await host.suppressions.add(ADA)
            receipt = await host.send(letter(ADA, BEN), durable=True)
            assert receipt.pending
            assert {key: outcome.state for key, outcome in receipt.outcomes.items()} == {ADA: State.SUPPRESSED}
            settled = await host.settled(receipt.id or 0, timeout_s=SOON_S)
            assert settled.outcomes[ADA] == receipt.outcomes[ADA]
            assert settled.outcomes[BEN].state is State.ACCEPTED
        assert [call.recipients for call in smtp.calls] == [(BEN,)]
        assert [address.email for address in smtp.calls[0].batch.deliveries[0].to] == [BEN]

    async def test_nothing_is_pending_where_nobody_may_be_written_to(self, hosted: MakeHost) -> None:
        """It has ended as it is taken in; and its key stands for it."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp) as host:
            await host.suppressions.add(ADA)
            receipt = await host.send(letter(ADA), durable=True, idempotency_key="order-1")
            assert not receipt.pending
            assert receipt.outcomes[ADA].state is State.SUPPRESSED
            again = await host.send(letter(ADA), durable=True, idempotency_key="order-1")
            assert (again.id, again.pending, again.outcomes) == (receipt.id, False, receipt.outcomes)
        assert smtp.calls == []

    async def test_many_at_once_are_all_sent_once(self, hosted: MakeHost) -> None:
        """More than are carried out at a time."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        people = [f"r{number}@example.com" for number in range(80)]
        async with hosted(smtp) as host:
            receipts = await asyncio.gather(*(host.send(letter(each), durable=True) for each in people))
            settled = await asyncio.gather(*(host.settled(each.id or 0, timeout_s=SOON_S) for each in receipts))
            assert all(receipt.accepted for receipt in settled)
        assert smtp.handed_over == dict.fromkeys(people, 1)


class TestWithoutAStore:
    """What a host without a store says."""

    async def test_what_needs_a_store_says_how_to_get_one(self) -> None:
        """One sentence with the remedy."""
        async with scripted_host(ScriptedConnector()) as host:
            for asked in (
                host.send(letter(ADA), durable=True),
                host.receipt(1),
                host.broadcast(letter(ADA), [ADA]),
                host.unknown(),
            ):
                with pytest.raises(ConfigurationError) as raised:
                    await asked
                assert "[store]" in raised.value.hint

    async def test_a_time_needs_a_zone(self, hosted_in_a_file: MakeHost) -> None:
        """A time of day without one is a different time on each machine."""
        async with hosted_in_a_file(ScriptedConnector()) as host:
            with pytest.raises(ValidationError, match="not_before"):
                await host.send(letter(ADA), not_before=datetime(2030, 1, 1))  # noqa: DTZ001

    async def test_a_receipt_of_nobody(self, hosted_in_a_file: MakeHost) -> None:
        """There is none; and waiting for it says so."""
        async with hosted_in_a_file(ScriptedConnector()) as host:
            assert await host.receipt(99) is None
            with pytest.raises(ValidationError):
                await host.settled(99, timeout_s=SOON_S)


async def test_sends_of_a_process_that_ends_are_reported_by_the_next(hosted: MakeHost) -> None:
    """A caller waited when its process died: who may have left is unknown, and nobody tries again."""
    smtp = ScriptedConnector("smtp", kind="smtp")
    there = asyncio.Event()

    async def hang(batch: Batch, context: SendContext) -> Sequence[Outcome]:
        there.set()
        await asyncio.Event().wait()
        return ()

    smtp.sends_with(hang)
    dying: Host = hosted(smtp, work=False)
    async with dying:
        sending = asyncio.create_task(dying.send(letter(ADA)))
        await there.wait()
        # What a kill leaves behind: everything written so far, and nothing after it.
        assert dying._durable is not None
        await dying._durable.ledger.workers.leave()
        async with hosted(ScriptedConnector("smtp", kind="smtp")) as host:
            receipt = await host.settled(1, timeout_s=SOON_S)
            assert receipt.outcomes[ADA].state is State.UNKNOWN
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert smtp.handed_over == {ADA: 1}
