"""A worker: takes units that an engine brings, passes over them, and looks after those of workers that died.

The engine calls ``_work`` for each unit. Beside that the **sweep** marks the dead, takes their units, and offers what
is due to the engine, so that an engine that forgets or was down loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs

from genie_connect.delivery.dispatch import Dispatcher
from genie_connect.delivery.journal import StepBack
from genie_connect.durable.content import BroadcastContent
from genie_connect.durable.ledger import Ledger
from genie_connect.durable.passes import Left, Pass, Unsendable
from genie_connect.durable.schedule import Schedule
from genie_connect.engine.contract import Engine, TellsTrouble, Work
from genie_connect.errors import BroadcastStateError, EngineUnavailable, GenieConnectError, StoreError
from genie_connect.failpoints import point
from genie_connect.registry.isolation import log_failure
from genie_connect.store.claims import Claim
from genie_connect.store.offers import OFFER_S
from genie_connect.store.schema import UnitKind

_logger = logging.getLogger("genie_connect.worker")
SWEEP_S: Final = 1.0
LONGEST_SWEEP_AGE_S: Final = 60.0
"""A worker that has not swept for so long is not well."""
SWEEPS_PER_BEAT: Final = 3
"""With a short lease the others are looked at more often: a silence counts only where somebody listened."""
OFFER_IN_MEMORY_S: Final = 5.0
"""For so long a unit may wait in the memory of one process before others are offered it too: it may die with it."""
LEAST_QUEUED: Final = 32
"""So many units wait in an engine that several workers share, however few of them there are."""
HAND_OVERS: Final = 2
EXPIRED: Final = "expired"
EXPIRED_HINT: Final = "It was not accepted before its time was over. Send it again if it is still wanted."


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """How much at once: ``concurrency`` units, and ``micro_batch`` recipients of all of them between two commits.

    So many recipients are ``unknown`` at the most when the process is killed.
    """

    concurrency: int
    micro_batch: int
    grace_s: float
    schedule: Schedule = attrs.field(factory=Schedule)

    @property
    def turns(self) -> int:
        """So many chunks hand over at a time, each its part of a micro-batch; the others make ready meanwhile.

        One waits for the other side while the other is written down. With more, each part is smaller, and its two
        commits cost as much as those of a larger one.
        """
        return min(HAND_OVERS, self.concurrency)


@attrs.frozen(kw_only=True)
class WorkerHealth:
    """How a worker is.

    ``alive`` is whether the others take it for alive, ``fed`` whether its engine runs, ``sweep_age_s`` how old its last
    sweep is.
    """

    worker: str
    alive: bool
    fed: bool
    in_progress: int
    units_done: int
    sweep_age_s: float
    trouble: str | None

    @property
    def ok(self) -> bool:
        """Whether it works."""
        return self.alive and self.fed and self.sweep_age_s < LONGEST_SWEEP_AGE_S


class Worker:
    """Works on units while it is entered (``async with worker.working():``)."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        dispatcher: Dispatcher,
        *,
        options: WorkerOptions,
        ended: Callable[[int], None] = lambda unit: None,
    ) -> None:
        """``ended`` is told of each unit whose work ended here, for good or for now."""
        self._ledger = ledger
        self._engine = engine
        self._dispatcher = dispatcher
        self._options = options
        self._ended = ended
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._queued: set[int] = set()
        self._to_release: list[Claim] = []
        self._contents: dict[int, BroadcastContent] = {}
        self._turn = asyncio.Semaphore(self._options.turns)
        self._fed = False
        self._swept = float("-inf")
        self._done = 0
        self._trouble: str | None = None
        self._unfed: str | None = None

    @property
    def health(self) -> WorkerHealth:
        """How it is now."""
        return WorkerHealth(
            worker=self._ledger.workers.id,
            alive=self._ledger.workers.fresh,
            fed=self._fed,
            in_progress=len(self._under_way),
            units_done=self._done,
            sweep_age_s=self._now() - self._swept,
            trouble=self._unfed or self._engine_trouble or self._trouble,
        )

    @property
    def _engine_trouble(self) -> str | None:
        # Where nothing is due nothing is submitted, and a sweep meets with no trouble.
        return self._engine.trouble if isinstance(self._engine, TellsTrouble) else None

    def nudge(self) -> None:
        """There is new work: look now."""
        self._wake.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work until the end of the block; then units under way have ``grace_s`` seconds to end."""
        async with self._engine:
            running = asyncio.create_task(
                self._engine.run(self._work, concurrency=self._options.concurrency), name="engine"
            )
            self._fed = True
            running.add_done_callback(self._engine_ended)
            sweep = asyncio.create_task(self._sweep(), name="worker sweep")
            self._ledger.life.on_fenced.append(self._fenced)
            try:
                yield
            finally:
                self._stopping.set()
                self._wake.set()
                with contextlib.suppress(EngineUnavailable):
                    await self._engine.stop(self._options.grace_s)
                await asyncio.gather(running, return_exceptions=True)
                sweep.cancel()
                await asyncio.gather(sweep, return_exceptions=True)
                self._ledger.life.on_fenced.remove(self._fenced)
                with contextlib.suppress(StoreError):
                    await self._release_strays()
                    # What waits in our memory goes with us: others are to have it at once.
                    await self._ledger.units.withdraw(sorted(self._queued))

    def _engine_ended(self, running: asyncio.Task[None]) -> None:
        self._fed = False
        error = None if running.cancelled() else running.exception()
        if self._stopping.is_set():
            return
        # It is to run until it is stopped. Whoever looks at our health must see that nothing will come any more.
        # A sweep that goes well changes nothing about it.
        self._unfed = f"the engine {self._engine.name} has ended: {type(error).__name__}"
        log_failure(_logger, error or RuntimeError("it returned"), "the engine %s has ended", self._engine.name)

    async def take(self, claim: Claim) -> None:
        """Work on a unit that was claimed as it was accepted."""
        await self._carry_out(claim)

    async def _work(self, work: Work) -> None:
        self._queued.discard(work.unit)
        if not self._ledger.workers.fresh:
            # The ledger offers it again, to whoever is taken for alive. As a failure it would wait in the engine,
            # longer each time, and keep its place there against every new offer.
            return
        point("worker.claim.before")
        claim = await self._ledger.units.claim(work.unit, self._ledger.workers.id)
        point("worker.claim.after")
        try:
            if claim is not None:
                await self._carry_out(claim)
        finally:
            # Some at a time: to look for each single unit costs as much as to claim it.
            if not self._engine.in_memory or len(self._queued) <= self._options.concurrency:
                self._wake.set()
        point("worker.returned")

    async def _carry_out(self, claim: Claim) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("work runs in a task")
        self._under_way[claim.unit] = task
        try:
            await self._pass_over(claim)
        except StepBack:
            await self._hand_back(claim)
        except BaseException as error:
            # Cancelled, or something that nobody foresaw. Whoever may have left is in doubt; the others wait.
            await asyncio.shield(self._hand_back(claim, tried=not isinstance(error, asyncio.CancelledError)))
            if not isinstance(error, Exception):
                raise
            log_failure(_logger, error, "unit %d could not be worked on", claim.unit)
            self._trouble = str(error) if isinstance(error, GenieConnectError) else type(error).__name__
        finally:
            self._under_way.pop(claim.unit, None)
            self._ended(claim.unit)

    async def _pass_over(self, claim: Claim) -> None:
        if claim.expires is not None and claim.expires <= self._ledger.database.now():
            await self._give_up(claim)
            return
        one = Pass(
            self._ledger,
            self._dispatcher,
            claim,
            micro_batch=max(1, self._options.micro_batch // self._options.turns),
            turn=self._turn,
        )
        due = claim.due
        try:
            if claim.kind is UnitKind.SEND:
                left = await one.run_send()
            else:
                content = await self._content(claim)
                due = max(due, content.started)
                left = await one.run_chunk(content)
        except Unsendable as why:
            await self._unsendable(claim, str(why))
            return
        await self._end(claim, left, due)

    async def _content(self, claim: Claim) -> BroadcastContent:
        if claim.broadcast is None:
            raise AssertionError("a chunk belongs to a broadcast")
        content = self._contents.get(claim.broadcast)
        if content is None:
            content = BroadcastContent.of(await self._ledger.broadcasts.get(claim.broadcast))
            if len(self._contents) >= 8:
                self._contents.pop(next(iter(self._contents)))
            self._contents[claim.broadcast] = content
        return content

    async def _end(self, claim: Claim, left: Left, due: float) -> None:
        point("worker.end.before")
        if not left.outcomes:
            await self._ledger.units.finish(claim)
            self._done += 1
            point("worker.end.done")
            return
        schedule, now = self._options.schedule, self._ledger.database.now()
        again = now + schedule.wait_s(claim.tries if left.tried else 0, left.outcomes.values())
        last = claim.expires if claim.expires is not None else due + schedule.give_up_after_s
        if again >= last:
            await self._give_up(claim)
        else:
            await self._ledger.units.release(claim, not_before=again, tried=left.tried)
        point("worker.end.after")

    async def _give_up(self, claim: Claim) -> None:
        await self._ledger.units.finish(claim, giving_up=EXPIRED, hint=EXPIRED_HINT)
        self._done += 1

    async def _unsendable(self, claim: Claim, why: str) -> None:
        """No connection could ever carry it as things are: a broadcast waits for a person, a send for better times."""
        if claim.broadcast is not None:
            with contextlib.suppress(BroadcastStateError):
                await self._ledger.broadcasts.pause(claim.broadcast, reason=why)
            await self._ledger.units.release(claim, tried=False)
            return
        wait_s = self._options.schedule.wait_s(claim.tries, [])
        await self._ledger.units.release(claim, not_before=self._ledger.database.now() + wait_s)

    async def _hand_back(self, claim: Claim, *, tried: bool = False) -> None:
        wait_s = self._options.schedule.wait_s(claim.tries, []) if tried else 0.0
        point("worker.handed_back.before")
        try:
            await self._ledger.units.release(claim, not_before=self._ledger.database.now() + wait_s, tried=tried)
        except StoreError as error:
            # As long as we live nobody else takes it: it has to be given back once the store can be written.
            self._to_release.append(claim)
            self._trouble = error.message
        point("worker.handed_back.after")

    def _fenced(self) -> None:
        # Others have these units by now, or will. What is said of them from here on changes nothing.
        for task in list(self._under_way.values()):
            task.cancel()
        self._to_release.clear()
        self._wake.set()

    async def _sweep(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                await self._look_after_units()
                self._trouble = None
            except (StoreError, EngineUnavailable) as error:
                self._trouble = error.message
                _logger.warning("%s", error.message)
                await asyncio.sleep(self._sweep_every_s)
                continue
            except Exception as error:  # noqa: BLE001  # whatever it is, nobody else looks after the units here
                self._trouble = type(error).__name__
                log_failure(_logger, error, "units could not be looked after")
                await asyncio.sleep(self._sweep_every_s)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._sweep_every_s)

    async def _look_after_units(self) -> None:
        units, workers = self._ledger.units, self._ledger.workers
        now = self._now()
        if now - self._swept >= self._sweep_every_s:
            await self._release_strays()
            if await workers.watch():
                _logger.warning("a worker has died; its units are taken over")
            point("worker.watched")
            await units.reap()
            point("worker.reaped")
            self._swept = now
        if not workers.fresh:
            return
        room = await self._room()
        if room <= 0:
            return
        if self._engine.shares_ledger:
            async with units.offering(room, for_s=self._offer_s) as (transaction, offered):
                await self._engine.submit(
                    [Work(unit=each.unit, priority=each.priority) for each in offered], transaction=transaction
                )
                point("worker.offering")
            return
        offered = await units.offer(room, for_s=self._offer_s)
        if not offered:
            return
        point("worker.offered")
        try:
            await self._engine.submit([Work(unit=each.unit, priority=each.priority) for each in offered])
        except Exception:
            await units.withdraw([each.unit for each in offered])
            point("worker.withdrawn")
            raise
        point("worker.submitted")
        if self._engine.in_memory:
            self._queued.update(each.unit for each in offered)

    @property
    def _sweep_every_s(self) -> float:
        return min(SWEEP_S, self._ledger.workers.beat_every_s / SWEEPS_PER_BEAT)

    @property
    def _offer_s(self) -> float:
        return min(OFFER_IN_MEMORY_S if self._engine.in_memory else OFFER_S, self._ledger.workers.lease_s)

    async def _room(self) -> int:
        wanted = self._engine.ahead * self._options.concurrency
        if self._engine.in_memory:
            return wanted - len(self._queued)
        return max(wanted, LEAST_QUEUED) - await self._ledger.units.waiting()

    async def _release_strays(self) -> None:
        while self._to_release:
            claim = self._to_release[-1]
            await self._ledger.units.release(claim, tried=False)
            self._to_release.pop()

    def _now(self) -> float:
        return self._ledger.database.clock.monotonic()
