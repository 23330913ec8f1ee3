"""A broadcast from its list to its end: who gets a copy, who does not, and what a host sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from genie_connect import (
    Batch,
    Broadcast,
    BroadcastStateError,
    Message,
    NoSuchBroadcast,
    Outcome,
    Recipient,
    Retry,
    SendContext,
    State,
    ValidationError,
)
from genie_connect.store.database import Database
from genie_connect.store.rejected import settled_copies
from tests.durable.conftest import MakeHost
from tests.support.connector import ScriptedConnector, accepted, deferred, rejected, unknown

SOON_S = 60.0
SMALL = {"chunk": 10, "micro_batch": 5, "concurrency": 1}
"""Several chunks and several hand-overs of each, with few recipients; one thing after the other."""


def people(count: int) -> list[str]:
    """Made-up addresses."""
    return [f"r{number}@example.net" for number in range(count)]


def news(**fields: Any) -> Message:
    """What is sent to everybody."""
    return Message(**{"from_": "Shop <shop@example.com>", "subject": "News", "text": "There is news."} | fields)


class Gate:
    """Holds a connector back after so many hand-overs, until it is opened."""

    def __init__(self, connector: ScriptedConnector, *, after: int) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self._connector, self._left = connector, after
        connector.sends_with(self._send)

    async def _send(self, batch: Batch, context: SendContext) -> Sequence[Outcome]:
        self._left -= 1
        if self._left < 0:
            self.reached.set()
            await self.opened.wait()
        return self._connector.answers(batch)


async def ended(broadcast: Broadcast) -> dict[str, int]:
    """The counts at its end, those that are not zero."""
    counts = (await broadcast.wait(SOON_S)).counts
    states = ("accepted", "rejected", "deferred", "unknown", "suppressed", "remaining")
    return {state: getattr(counts, state) for state in states if getattr(counts, state)}


class TestEverybody:
    """What becomes of the recipients."""

    async def test_each_gets_one_copy_of_their_own(self, hosted: MakeHost) -> None:
        """Filled in, with a Message-ID of its own, however often the list has them."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        recipients = [Recipient(address=each, merge={"name": each[:2]}) for each in people(35)]
        async with hosted(smtp, engine=SMALL) as host:
            made = await host.broadcast(news(text="Dear {{ name }}"), [*recipients, *recipients[:4]])
            assert await ended(made) == {"accepted": 35}
            progress = await made.progress()
            assert (progress.state, progress.duplicates, progress.counts.chunks) == ("done", 4, 4)
            assert [(share.connection, share.accepted) for share in progress.connections] == [("smtp", 35)]
        assert smtp.handed_over == dict.fromkeys(people(35), 1)
        deliveries = [delivery for call in smtp.calls for delivery in call.batch.deliveries]
        assert {delivery.merge["name"] for delivery in deliveries if delivery.merge} == {f"r{n}" for n in range(10)}
        ids = {delivery.message_id for delivery in deliveries}
        assert len(ids) == 35
        assert all(each.endswith("@example.com>") for each in ids)

    async def test_refused_put_off_and_lost_ones_are_told_apart(self, hosted: MakeHost, database_url: str) -> None:
        """Whoever is put off has another turn; nobody else has. Those who got nothing are listed, page by page."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        everybody = people(12)
        smtp.script(everybody[1], rejected())
        smtp.script(everybody[2], deferred(), deferred(), accepted())
        smtp.script(everybody[3], unknown())
        async with hosted(smtp, engine=SMALL) as host:
            await host.suppressions.add(everybody[4])
            await host.suppressions.add(everybody[11])
            made = await host.broadcast(news(), everybody)
            assert await ended(made) == {"accepted": 8, "rejected": 1, "unknown": 1, "suppressed": 2}
            assert [copy.recipient for copy in await host.unknown(broadcast=made.id)] == [everybody[3]]
            assert [copy.outcome.recipient async for copy in made.rejected()] == [everybody[1]]
            async with Database(database_url) as database:
                pages = settled_copies(database, made.id, set(State) - {State.ACCEPTED}, page=1)
                assert [copy.outcome.recipient async for copy in pages] == [everybody[n] for n in (1, 3, 4, 11)]
        tried = dict.fromkeys(everybody, 1) | {everybody[2]: 3}
        del tried[everybody[4]], tried[everybody[11]]
        assert smtp.handed_over == tried
        copies = [d.message_id for call in smtp.calls for d in call.batch.deliveries if d.to[0].email == everybody[2]]
        assert len(set(copies)) == 1

    async def test_the_rules_of_a_refusal_hold_over_passes(self, hosted: MakeHost) -> None:
        """Greylisted here, a recipient is bound to this connection, also when another worker goes on."""
        first, second = ScriptedConnector("first"), ScriptedConnector("second")
        first.script(people(1)[0], deferred(retry=Retry.SAME), deferred(retry=Retry.SAME))
        async with hosted(first, second, engine=SMALL) as host:
            made = await host.broadcast(news(), people(3))
            assert await ended(made) == {"accepted": 3}
        assert second.calls == []

    async def test_whoever_unsubscribes_in_the_middle_gets_nothing(self, hosted: MakeHost) -> None:
        """Asked again for each hand-over, not once for the list."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        gate = Gate(smtp, after=1)
        everybody = people(30)
        async with hosted(smtp, engine=SMALL) as host:
            made = await host.broadcast(news(purpose="marketing"), everybody)
            await gate.reached.wait()
            # One of a chunk that is cleared already, and one of another that nobody has looked at.
            chunk = [address.email for address in smtp.calls[-1].batch.recipients]
            told = {everybody[everybody.index(chunk[0]) // 10 * 10 + 9], everybody[29], everybody[19]} - set(chunk)
            for each in told:
                await host.suppressions.add(each, reason="unsubscribe")
            gate.opened.set()
            assert await ended(made) == {"accepted": 30 - len(told), "suppressed": len(told)}
        assert told
        assert not told & set(smtp.handed_over)

    async def test_nobody_is_tried_for_ever(self, hosted: MakeHost) -> None:
        """When its time is over the rest is given up, with the reason."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.otherwise(deferred())
        async with hosted(smtp, engine=SMALL) as host:
            expires = datetime.now(UTC) + timedelta(seconds=0.5)
            made = await host.broadcast(news(), people(4), expires=expires)
            assert await ended(made) == {"deferred": 4}

    async def test_their_time_runs_from_the_start(self, hosted: MakeHost) -> None:
        """However soon the other side says to come again, it ends; the wait for the start does not count."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.otherwise(deferred(retry_after_s=0.02))
        async with hosted(smtp, engine=SMALL | {"give_up_after_s": 1.5}) as host:
            made = await host.broadcast(news(), people(4), start=False)
            await asyncio.sleep(0.4)
            await made.start()
            assert await ended(made) == {"deferred": 4}
        assert min(smtp.handed_over.values()) > 1


class TestControl:
    """Starting, pausing, going on, stopping."""

    async def test_it_waits_for_its_start(self, hosted: MakeHost) -> None:
        """Loaded and looked at first."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp, engine=SMALL) as host:
            made = await host.broadcast(news(), people(20), start=False)
            assert (await made.progress()).state == "ready"
            due = await host.send(news(to=["ada@example.com"]), durable=True)
            await host.settled(due.id or 0, timeout_s=SOON_S)
            assert len(smtp.calls) == 1
            await made.start()
            assert await ended(made) == {"accepted": 20}
            with pytest.raises(BroadcastStateError):
                await made.start()

    async def test_paused_it_hands_back_at_once_and_goes_on_soon(self, hosted: MakeHost) -> None:
        """What is under way ends; nobody else leaves until it is resumed, and then everybody does."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        gate = Gate(smtp, after=1)
        async with hosted(smtp, engine=SMALL) as host:
            made = await host.broadcast(news(), people(40))
            await gate.reached.wait()
            await made.pause(reason="a mistake in the text")
            gate.opened.set()
            while (await made.progress()).counts.chunks_in_progress:
                await asyncio.sleep(0.01)
            progress = await made.progress()
            assert (progress.state, progress.reason) == ("paused", "a mistake in the text")
            assert (progress.counts.accepted, len(smtp.calls)) == (10, 2)
            began = asyncio.get_running_loop().time()
            await made.resume()
            assert await ended(made) == {"accepted": 40}
            assert asyncio.get_running_loop().time() - began < 5.0
        assert smtp.handed_over == dict.fromkeys(people(40), 1)

    async def test_stopped_it_never_goes_on(self, hosted: MakeHost) -> None:
        """Who has not left by then is not sent to, by anybody."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        gate = Gate(smtp, after=1)
        async with hosted(smtp, engine=SMALL) as host:
            made = await host.broadcast(news(), people(40))
            await gate.reached.wait()
            await made.stop(reason="cancelled")
            gate.opened.set()
            assert (await made.wait(SOON_S)).reason == "cancelled"
            while (await made.progress()).counts.chunks_in_progress:
                await asyncio.sleep(0.01)
            assert await ended(made) == {"accepted": 10, "remaining": 30}
            with pytest.raises(BroadcastStateError):
                await made.resume()
        assert len(smtp.handed_over) == 10

    async def test_another_process_sees_and_controls_it(self, hosted: MakeHost) -> None:
        """All of it is in the store."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted(smtp, work=False) as host, hosted(smtp, engine=SMALL) as worker:
            made = await host.broadcast(news(), people(20), name="autumn", start=False)
            (seen,) = await worker.broadcasts()
            assert (seen.id, seen.name, seen.total) == (made.id, "autumn", 20)
            await (await worker.find_broadcast(made.id)).start()
            assert await ended(made) == {"accepted": 20}
            with pytest.raises(NoSuchBroadcast):
                await host.find_broadcast(made.id + 1)

    async def test_it_outlives_the_process_that_made_it(self, hosted: MakeHost) -> None:
        """Closed in the middle, a host hands back; the next one goes on, and nobody gets it twice."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        gate = Gate(smtp, after=2)
        async with hosted(smtp, engine=SMALL) as host:
            made = await host.broadcast(news(), people(60))
            await gate.reached.wait()
            closing = asyncio.get_running_loop().call_later(0.05, gate.opened.set)
        closing.cancel()
        assert len(smtp.handed_over) < 60
        async with hosted(smtp, engine=SMALL) as other:
            assert await ended(await other.find_broadcast(made.id)) == {"accepted": 60}
        assert smtp.handed_over == dict.fromkeys(people(60), 1)

    async def test_what_no_connection_can_carry_any_more_waits_for_a_person(self, hosted_in_a_file: MakeHost) -> None:
        """It is paused with the reason, and goes on once there is one that can."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        async with hosted_in_a_file(smtp, work=False) as host:
            made = await host.broadcast(news(), people(20))
        marketing = {"smtp": {"purposes": ["marketing"]}}
        async with hosted_in_a_file(smtp, engine=SMALL, connections=marketing) as other:
            found = await other.find_broadcast(made.id)
            while (await found.progress()).state != "paused":
                await asyncio.sleep(0.01)
            assert "no connection can carry" in ((await found.progress()).reason or "")
        async with hosted_in_a_file(smtp, engine=SMALL) as again:
            found = await again.find_broadcast(made.id)
            await found.resume()
            assert await ended(found) == {"accepted": 20}


class TestCrash:
    """What a process that dies leaves behind."""

    async def test_those_who_may_have_left_are_unknown_and_the_others_go_on(self, hosted: MakeHost) -> None:
        """One hand-over at the most, each of them listed; nobody is sent to twice, nobody is forgotten."""
        dead, alive = ScriptedConnector("smtp", kind="smtp"), ScriptedConnector("smtp", kind="smtp")
        gate = Gate(dead, after=1)
        async with hosted(dead, engine=SMALL) as dying:
            made = await dying.broadcast(news(), people(40))
            await gate.reached.wait()
            # To all others it is as if it had died here: it can write nothing any more.
            assert dying._durable is not None
            await dying._durable.ledger.workers.leave()
            async with hosted(alive, engine=SMALL) as other:
                found = await other.find_broadcast(made.id)
                assert await ended(found) == {"accepted": 35, "unknown": 5}
                listed = {copy.recipient for copy in await other.unknown(broadcast=made.id)}
                assert listed == {address.email for address in dead.calls[1].batch.recipients}
                # It was only very slow. What it knows resolves the doubt, and nothing else.
                gate.opened.set()
                while await other.unknown():
                    await asyncio.sleep(0.01)
                assert await ended(found) == {"accepted": 40}
        assert not set(dead.handed_over) & set(alive.handed_over)
        assert {**dead.handed_over, **alive.handed_over} == dict.fromkeys(people(40), 1)

    async def test_whoever_chose_at_least_once_has_them_sent_again(self, hosted: MakeHost) -> None:
        """To those in doubt a second copy may go, with the Message-ID of the first."""
        dead, alive = ScriptedConnector("smtp", kind="smtp"), ScriptedConnector("smtp", kind="smtp")
        gate = Gate(dead, after=1)
        async with hosted(dead, engine=SMALL) as dying:
            made = await dying.broadcast(news(), people(20), at_least_once=True)
            await gate.reached.wait()
            assert dying._durable is not None
            await dying._durable.ledger.workers.leave()
            async with hosted(alive, engine=SMALL) as other:
                assert await ended(await other.find_broadcast(made.id)) == {"accepted": 20}
            gate.opened.set()
        twice = set(dead.handed_over) & set(alive.handed_over)
        assert len(twice) == 5
        ids = {d.to[0].email: d.message_id for call in dead.calls for d in call.batch.deliveries}
        again = {d.to[0].email: d.message_id for call in alive.calls for d in call.batch.deliveries}
        assert all(ids[each] == again[each] for each in twice)

    async def test_an_unknown_copy_is_sent_again_when_a_person_says_so(self, hosted: MakeHost) -> None:
        """Also after the end of the broadcast, which then has an end again."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        smtp.script(people(1)[0], unknown())
        async with hosted(smtp, engine=SMALL) as host:
            made = await host.broadcast(news(), people(3))
            assert await ended(made) == {"accepted": 2, "unknown": 1}
            (copy,) = await host.unknown()
            await host.resolve(copy.unit, copy.position, "resend")
            while await ended(made) != {"accepted": 3}:
                await asyncio.sleep(0.02)
        assert smtp.handed_over[people(1)[0]] == 2


class TestForecast:
    """When it can end at the earliest."""

    async def test_a_rate_says_when_and_whether_that_is_in_time(self, hosted_in_a_file: MakeHost) -> None:
        """Before the start, so that somebody can still decide otherwise."""
        smtp = ScriptedConnector("smtp", kind="smtp")
        slow = {"smtp": {"rate_per_s": 0.01}}
        tomorrow = datetime.now(UTC) + timedelta(hours=1)
        async with hosted_in_a_file(smtp, connections=slow, work=False) as host:
            made = await host.broadcast(news(), people(100), finish_by=tomorrow, start=False)
            assert made.forecast is not None
            assert made.forecast.in_time is False
            assert "100 recipients at 0.01 a second through smtp" in made.forecast.explain()

    async def test_without_a_rate_only_the_server_knows(self, hosted_in_a_file: MakeHost) -> None:
        """No number is better than a made-up one."""
        async with hosted_in_a_file(ScriptedConnector("smtp", kind="smtp"), work=False) as host:
            made = await host.broadcast(news(), people(3), start=False)
            assert made.forecast is not None
            assert (made.forecast.earliest, made.forecast.in_time) == (None, None)


async def test_a_message_with_recipients_of_its_own_is_none(hosted_in_a_file: MakeHost) -> None:
    """They would all see each other."""
    async with hosted_in_a_file(ScriptedConnector()) as host:
        with pytest.raises(ValidationError, match="to"):
            await host.broadcast(news(to=["ada@example.com"]), people(1))
