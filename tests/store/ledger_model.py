"""The ledger against a model: any interleaving of workers that claim, hand over, die, hang, come back and are reaped.

A mail server counts the copies that it takes. A copy leaves only after ``leaving`` has returned, and what the server
said may never be heard. For one of the sends it knows the key of a batch again. Whatever happens, nobody gets two
copies, unless a person had one sent again or the host chose ``at_least_once``; nobody is forgotten; and every copy that
left without an answer is listed.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from genie_connect.delivery.journal import StepBack
from genie_connect.durable.doubts import Doubts
from genie_connect.errors import BroadcastStateError
from genie_connect.model.outcome import State
from genie_connect.store import bitmap
from genie_connect.store.claims import Claim, HandOver
from genie_connect.store.database import Database
from genie_connect.store.schema import BroadcastState, UnitState
from genie_connect.store.unit_rows import UnitRow
from genie_connect.store.unknown import Resolution, ResolvedBy
from genie_connect.store.workers import LEASE_S, Workers
from genie_connect.store.writer import Writer
from tests.store.ledger import ACCEPTED, DEFERRED, REJECTED, UNKNOWN, answers, attempt, opened
from tests.support.clock import FakeClock

T = TypeVar("T")
LOST = "lost"
"""The server took it, and its answer got lost."""
KEY_KEPT_S = 300.0
"""For so long the key of a batch is relied on."""
SAID = (ACCEPTED, DEFERRED, REJECTED, LOST)
picks = st.integers(0, 1 << 16)


class Twice(Writer):
    """A writer that loses the connection with every commit, and so applies everything twice.

    But for new sends on SQLite, where a write is repeated only if nothing of it was kept, not even their numbers.
    """

    async def _transaction(self, batch: Any) -> Any:
        written = await super()._transaction(batch)
        if self._database.is_sqlite and any(waiting.apply.__name__ == "accept" for waiting in batch):
            return written
        return await super()._transaction(batch)


@attrs.define(eq=False)
class Flight:
    """A hand-over: written down, then perhaps gone, then perhaps answered. ``said`` is the server's word for each."""

    claim: Claim
    hand_over: HandOver
    doubts: Doubts
    said: tuple[str, ...] = ()


@attrs.define(eq=False)
class Actor:
    """A process. One that is ``stopped`` does nothing, and knows nothing of what happens meanwhile."""

    worker: Workers
    stopped: bool = False
    claims: list[Claim] = attrs.field(factory=list)
    flights: list[Flight] = attrs.field(factory=list)
    over: dict[int, int] = attrs.field(factory=dict)
    doubts: dict[int, Doubts] = attrs.field(factory=dict)

    def untried(self, claim: Claim) -> list[int]:
        """Whom it may still hand over, as far as it knows, in a batch of its own."""
        doubts = self.doubts[id(claim)]
        return [each for each in self._open(claim) if doubts.at_least_once or each not in doubts]

    def interrupted(self, claim: Claim) -> list[HandOver]:
        """What it may hand over again, as it was."""
        able = bitmap.of(self._open(claim))
        return [each for each in claim.interrupted if each.positions & able == each.positions]

    def _open(self, claim: Claim) -> list[int]:
        flying = sum((flight.hand_over.positions for flight in self.flights if flight.claim is claim), 0)
        return bitmap.positions(claim.open & ~self.over.get(id(claim), 0) & ~flying)

    def forget(self, claim: Claim) -> None:
        """Work on a unit no more. What has left may still be answered."""
        self.claims = [each for each in self.claims if each is not claim]


class LedgerModel(RuleBasedStateMachine):
    """Several workers, two chunks and four sends. Made for SQLite; ``url`` may name another empty store."""

    template: Path
    writer: type[Writer] = Writer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-model-"))
        self.clock = FakeClock()
        self.actors: list[Actor] = []
        self.copies: Counter[tuple[int, int]] = Counter()
        self.resent: Counter[tuple[int, int]] = Counter()
        self.resolved: set[tuple[int, int]] = set()
        self.gone: list[Flight] = []
        self.heard: set[Flight] = set()
        self.known_by_key: dict[str, tuple[str, ...]] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do it now."""
        return self.runner.run(coroutine)

    @initialize()
    def begin(self) -> None:
        """A broadcast under way and some sends."""
        self.run(self._begin())

    async def _begin(self) -> None:
        path = self.folder / "store.db"
        shutil.copy(self.template, path)
        self.ledger = await self.stack.enter_async_context(
            opened(f"sqlite:///{path}", clock=self.clock, writer=self.writer)
        )
        self.broadcast = await self.ledger.broadcast(3, 2)
        self.sends = [
            await self.ledger.send(2),
            await self.ledger.send(1, key="key"),
            await self.ledger.send(2, at_least_once=True),
            await self.ledger.send(2),
        ]
        self.repeating, self.keyed = self.sends[-2:]
        self.rows = await self.ledger.rows()
        for _ in range(2):
            await self._join()

    async def _join(self) -> None:
        actor = Actor(self.ledger.worker())
        await actor.worker.register()
        self.actors.append(actor)

    def awake(self) -> list[Actor]:
        """Who can do something."""
        return [actor for actor in self.actors if not actor.stopped]

    @precondition(lambda self: len(self.actors) < 4)
    @rule()
    def another_worker_joins(self) -> None:
        """A process starts."""
        self.run(self._join())

    @precondition(lambda self: self.awake())
    @rule(who=picks, unit=picks)
    def claim(self, who: int, unit: int) -> None:
        """A worker is given work, perhaps what is done, another's, or its own already."""
        actor = _pick(self.awake(), who)
        self.run(self._claim(actor, _pick(sorted(self.rows), unit)))

    async def _claim(self, actor: Actor, unit: int) -> Claim | None:
        if not actor.worker.id:
            await actor.worker.register()
        before = (await self.ledger.rows())[unit]
        claim = await self.ledger.units.claim(unit, actor.worker.id)
        if claim is not None:
            assert before.state is UnitState.READY
            assert claim.epoch == before.epoch + 1
            assert not claim.interrupted or unit == self.keyed
            actor.claims.append(claim)
            actor.doubts[id(claim)] = Doubts(claim.earlier, at_least_once=unit == self.repeating)
        return claim

    @precondition(lambda self: any(actor.untried(claim) for actor in self.awake() for claim in actor.claims))
    @rule(which=picks, some=st.integers(1, 7))
    def leaving(self, which: int, some: int) -> None:
        """A worker writes down that some of those that it has are about to leave."""
        able = [(actor, claim) for actor in self.awake() for claim in actor.claims if actor.untried(claim)]
        actor, claim = _pick(able, which)
        wanted = [position for position in actor.untried(claim) if some >> position & 1] or actor.untried(claim)
        self.run(self._leaving(actor, claim, self._batch(claim, wanted)))

    @precondition(lambda self: any(actor.interrupted(claim) for actor in self.awake() for claim in actor.claims))
    @rule(which=picks)
    def leaving_again(self, which: int) -> None:
        """A batch whose answer was lost is about to leave again as it was, under its key."""
        able = [
            (actor, claim, hand_over)
            for actor in self.awake()
            for claim in actor.claims
            for hand_over in actor.interrupted(claim)
            if self.ledger.database.now() < (hand_over.repeat_until or 0.0)
        ]
        if able:
            actor, claim, hand_over = _pick(able, which)
            self.run(self._leaving(actor, claim, self._again(hand_over)))

    def _batch(self, claim: Claim, positions: Sequence[int]) -> HandOver:
        until = self.ledger.database.now() + KEY_KEPT_S if claim.unit == self.keyed else None
        return self.ledger.hand_over(positions, repeat_until=until)

    def _again(self, before: HandOver) -> HandOver:
        positions = bitmap.positions(before.positions)
        return self.ledger.hand_over(positions, key=before.key, repeat_until=before.repeat_until)

    async def _leaving(self, actor: Actor, claim: Claim, hand_over: HandOver) -> Flight | None:
        before = (await self.ledger.rows())[claim.unit]
        # A person may have settled one who waited to be tried again.
        holds = before.held_by(claim) and before.runs and not before.done & hand_over.positions
        try:
            await self.ledger.units.leaving(claim, hand_over)
        except StepBack as error:
            assert error.hand_back  # noqa: PT017
            assert not holds, "the holder was refused"
            actor.forget(claim)
            assert _same(before, (await self.ledger.rows())[claim.unit]), "a fenced worker has written"
            return None
        assert holds
        flight = Flight(claim, hand_over, actor.doubts[id(claim)])
        actor.flights.append(flight)
        return flight

    @precondition(lambda self: any(not flight.said for actor in self.awake() for flight in actor.flights))
    @rule(which=picks, said=st.lists(st.sampled_from(SAID), min_size=3, max_size=3))
    def depart(self, which: int, said: list[str]) -> None:
        """What was written down leaves, and the server says something to each."""
        self._depart(
            _pick([flight for actor in self.awake() for flight in actor.flights if not flight.said], which), said
        )

    def _depart(self, flight: Flight, said: Sequence[str]) -> None:
        positions = bitmap.positions(flight.hand_over.positions)
        flight.said = tuple(said[: len(positions)])
        self.gone.append(flight)
        if flight.hand_over.repeat_until is not None:
            known = self.known_by_key.setdefault(flight.hand_over.key, flight.said)
            if known is not flight.said:
                # The server has these already, and says so, unless that is lost again.
                lost = LOST in flight.said
                flight.said = tuple(LOST if lost else ACCEPTED if word == LOST else word for word in known)
                return
        for position, word in zip(positions, flight.said, strict=True):
            if word in (ACCEPTED, LOST):
                self.copies[flight.claim.unit, position] += 1

    @precondition(lambda self: any(flight.said for actor in self.awake() for flight in actor.flights))
    @rule(which=picks)
    def answered(self, which: int) -> None:
        """A worker writes down what the server said, be it late or not."""
        flying = [(actor, flight) for actor in self.awake() for flight in actor.flights if flight.said]
        self.run(self._answered(*_pick(flying, which)))

    async def _answered(self, actor: Actor, flight: Flight) -> None:
        claim, hand_over = flight.claim, flight.hand_over
        before = (await self.ledger.rows())[claim.unit]
        said = [UNKNOWN if word == LOST else word for word in flight.said]
        outcomes = {each.position: each.outcome for each in answers(claim, hand_over, said)}
        told = flight.doubts.answers(outcomes, hand_over.attempt_id, by_key=hand_over.repeat_until is not None)
        kept = await self.ledger.units.answered(claim, attempt(hand_over, *said), told)
        assert kept is before.held_by(claim)
        after = (await self.ledger.rows())[claim.unit]
        assert (before.done ^ after.done) & ~hand_over.positions == 0, "others were touched"
        assert (before.intent ^ after.intent) & ~hand_over.positions == 0, "others were touched"
        if not kept:
            assert after.epoch == before.epoch
            assert after.owner == before.owner
            settled = after.done & ~before.done
            assert not settled or claim.unit in (self.repeating, self.keyed), "it resolves, and settles nobody else"
        actor.flights.remove(flight)
        self.heard.add(flight)
        over = [answer.position for answer in told if answer.done]
        actor.over[id(claim)] = actor.over.get(id(claim), 0) | bitmap.of(over)

    @precondition(lambda self: any(actor.claims for actor in self.awake()))
    @rule(which=picks, how=st.sampled_from(["release", "release untried", "release later", "finish", "give up"]))
    def let_go(self, which: int, how: str) -> None:
        """A worker gives a unit back, or ends its work on it, even with a hand-over under way."""
        actor, claim = _pick([(actor, claim) for actor in self.awake() for claim in actor.claims], which)
        self.run(self._let_go(actor, claim, how))

    async def _let_go(self, actor: Actor, claim: Claim, how: str) -> None:
        before = (await self.ledger.rows())[claim.unit]
        later = self.clock.now().timestamp() + 5
        if how.startswith("release"):
            not_before = later if how.endswith("later") else None
            await self.ledger.units.release(claim, not_before=not_before, tried=how == "release")
        else:
            await self.ledger.units.finish(claim, giving_up="expired" if how == "give up" else None)
        if not before.held_by(claim):
            assert _same(before, (await self.ledger.rows())[claim.unit]), "a fenced worker has written"
        actor.forget(claim)

    @precondition(lambda self: self.actors)
    @rule(who=picks)
    def crash(self, who: int) -> None:
        """A process ends between two steps."""
        self.actors.remove(_pick(self.actors, who))

    @precondition(lambda self: self.awake())
    @rule(who=picks)
    def stop(self, who: int) -> None:
        """A process is held up, for however long."""
        _pick(self.awake(), who).stopped = True

    @precondition(lambda self: any(actor.stopped for actor in self.actors))
    @rule(who=picks)
    def come_back(self, who: int) -> None:
        """It goes on where it was, and believes that it owns what it had."""
        _pick([actor for actor in self.actors if actor.stopped], who).stopped = False

    @rule(thirds=st.integers(1, 4))
    def time_passes(self, thirds: int) -> None:
        """Those who can beat; all who can look at the others, and reap."""
        self.run(self._time_passes(thirds))

    async def _time_passes(self, thirds: int) -> None:
        for _ in range(thirds):
            self.clock.move(LEASE_S / 3)
            for actor in self.awake():
                if not await actor.worker.beat():
                    actor.claims.clear()
                    await actor.worker.register()
            for actor in self.awake():
                for dead in await actor.worker.watch():
                    assert dead not in [other.worker.id for other in self.awake()], "one who beats was taken for dead"
                await self.ledger.units.reap()

    @rule(how=st.sampled_from(["pause", "resume"]))
    def ask(self, how: str) -> None:
        """Somebody pauses the broadcast, or goes on with it."""
        try:
            self.run(getattr(self.ledger.broadcasts, how)(self.broadcast))
        except BroadcastStateError as error:
            wrong = "running" if how == "resume" else "paused"
            assert error.state in (wrong, "done")  # noqa: PT017

    @rule(which=picks, resolution=st.sampled_from(Resolution))
    def resolve(self, which: int, resolution: Resolution) -> None:
        """A person says what became of a copy, or has it sent again."""
        self.run(self._resolve(which, resolution))

    async def _resolve(self, which: int, resolution: Resolution) -> None:
        found = await self.ledger.unknown.listed()
        if not found:
            return
        copy = _pick(found, which)
        await self.ledger.unknown.resolve(copy.unit, copy.position, resolution, ResolvedBy.PERSON)
        self.resolved.add((copy.unit, copy.position))
        self.resent[copy.unit, copy.position] += resolution is Resolution.RESEND

    @invariant()
    def nobody_gets_two_copies(self) -> None:
        """Unless a person had it sent again, or the host chose so."""
        for (unit, position), copies in self.copies.items():
            assert unit == self.repeating or copies <= 1 + self.resent[unit, position], "a second copy"

    @invariant()
    def rows_and_bitmaps_agree(self) -> None:
        """Counts are those of the bitmaps and of the rows; epochs only rise."""
        if hasattr(self, "ledger"):
            self.run(self._check())

    async def _check(self) -> None:
        rows = await self.ledger.rows()
        everything = await self.ledger.all_said()
        for unit, row in rows.items():
            said = everything.get(unit, {})
            assert row.epoch >= self.rows[unit].epoch
            assert row.done < 1 << row.size
            assert row.intent < 1 << row.size
            assert sum(row.counts.values()) == row.done.bit_count()
            settled = [said.get(position, ACCEPTED) for position in bitmap.positions(row.done)]
            assert {state.value: settled.count(state.value) for state in State} == {
                state.value: number for state, number in row.counts.items()
            }
            for position, word in said.items():
                waits = word == UNKNOWN and unit in (self.repeating, self.keyed)
                assert row.is_done(position) or word == DEFERRED or waits, "said, and not settled"
            assert row.complete or row.state is not UnitState.DONE
            assert (row.owner is None) is (row.state in (UnitState.READY, UnitState.DONE))
            if row.state in (UnitState.READY, UnitState.DONE):
                assert not row.in_doubt, "nobody owns it, and somebody is in doubt and not listed"
        self.rows = rows

    def teardown(self) -> None:
        """Let everybody come back, and the living finish what there is: nobody is forgotten."""
        try:
            if hasattr(self, "ledger"):
                self.run(self._quiesce())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _quiesce(self) -> None:
        for actor in self.actors:
            for flight in [flight for flight in actor.flights if flight.said]:
                await self._answered(actor, flight)
        self.actors = []
        await self._join()
        await self._time_passes(8)
        if await self.ledger.broadcasts.state(self.broadcast) is BroadcastState.PAUSED:
            await self.ledger.broadcasts.resume(self.broadcast)
        await self._work_off()
        await self._check()
        assert await self.ledger.broadcasts.state(self.broadcast) is BroadcastState.DONE
        await self._check_the_end()

    async def _work_off(self) -> None:
        (actor,) = self.actors
        self.clock.move(120)
        await actor.worker.beat()
        while offered := await self.ledger.units.offer(10):
            for each in offered:
                claim = await self._claim(actor, each.unit)
                assert claim is not None
                now = self.ledger.database.now()
                able = [each for each in claim.interrupted if now < (each.repeat_until or 0.0)]
                leaving = [self._again(hand_over) for hand_over in able]
                doubts = actor.doubts[id(claim)]
                over = [each for each in doubts if not any(batch.positions >> each & 1 for batch in leaving)]
                if over and not doubts.at_least_once:
                    await self.ledger.units.settle(claim, doubts.given_up(over))
                rest = actor.untried(claim) if doubts.at_least_once else set(actor.untried(claim)) - set(over)
                leaving += [self._batch(claim, sorted(rest))] if rest else []
                for hand_over in leaving:
                    flight = await self._leaving(actor, claim, hand_over)
                    assert flight is not None
                    self._depart(flight, [ACCEPTED] * 3)
                    await self._answered(actor, flight)

    async def _check_the_end(self) -> None:
        self.nobody_gets_two_copies()
        listed = {(copy.unit, copy.position) for copy in await self.ledger.unknown.listed()}
        for unit, row in self.rows.items():
            assert row.state is UnitState.DONE
            said = await self.ledger.said(unit)
            for position in range(row.size):
                if said.get(position, ACCEPTED) == ACCEPTED and (unit, position) not in self.resolved:
                    assert self.copies[unit, position] >= 1, "called accepted, and never there"
        repeated = [flight for flight in self.heard if flight.hand_over.repeat_until is not None]
        told_by_key = {flight.hand_over.key for flight in repeated if LOST not in flight.said}
        for flight in self.gone:
            told_later = flight.hand_over.key in told_by_key
            for position, word in zip(bitmap.positions(flight.hand_over.positions), flight.said, strict=True):
                copy = (flight.claim.unit, position)
                silent = (word == LOST or flight not in self.heard) and not told_later
                if word == LOST and told_later and copy not in self.resolved:
                    assert (await self.ledger.said(copy[0])).get(position, ACCEPTED) == ACCEPTED, (
                        "told of it by its key"
                    )
                if silent and copy[0] != self.repeating and copy not in self.resolved:
                    assert copy in listed, "it left, nobody answered, and it is not listed"


def _pick(options: Sequence[T], which: int) -> T:
    return options[which % len(options)]


def _same(one: UnitRow, other: UnitRow) -> bool:
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("state", "epoch", "owner", "intent", "done", "tries", "counts")
    )


async def make_template(path: Path) -> None:
    """A store with its tables, to be copied."""
    async with Database(f"sqlite:///{path}"):
        pass
