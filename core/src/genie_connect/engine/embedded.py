"""The engine in the process itself: a queue in memory. What it forgets in a crash, the ledger offers again."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

import attrs

from genie_connect.clock import Clock, SystemClock
from genie_connect.engine.calls import Backoff, Calls
from genie_connect.engine.contract import Handler, Work
from genie_connect.registry.isolation import log_failure

LONGEST_NAP_S: Final = 1.0
"""Units wait for a time of day, and that clock may be set meanwhile: it is looked at this often."""
_logger = logging.getLogger("genie_connect.engine")


@attrs.frozen(order=True)
class _Later:
    at: float
    order: int
    work: Work = attrs.field(order=False)


@attrs.frozen(order=True)
class _Due:
    rank: int
    order: int
    work: Work = attrs.field(order=False)


class EmbeddedEngine:
    """Calls handlers in this process. Needs no server; serves as many processes as there are, each its own units."""

    name = "embedded"
    shares_ledger = False
    in_memory = True
    ahead = 2

    def __init__(self, *, backoff: Backoff | None = None, clock: Clock | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._clock = clock or SystemClock()
        self._calls = Calls()
        self._order = count()
        # What waits, by unit. The heaps may hold what was replaced since; it counts only if it is the one in here.
        self._waiting: dict[int, Work] = {}
        self._later: list[_Later] = []
        self._due: list[_Due] = []
        self._under_way: set[int] = set()
        self._failures: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._calls.close()

    async def submit(self, work: Sequence[Work], *, transaction: Any = None) -> None:
        """Take in units. One that waits already waits on, at the earlier time and the higher priority of the two."""
        for item in work:
            self._put(item)
        self._calls.wake()

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Call the handler for each unit until ``stop``."""
        async with self._calls.running(concurrency):
            while not self._calls.stopping:
                while self._calls.free and (work := self._take()) is not None:
                    self._under_way.add(work.unit)
                    self._calls.begin(self._call(handler, work))
                await self._calls.nap(self._until_due() if self._calls.free and self._later else None)

    async def stop(self, grace_s: float) -> None:
        """Begin nothing new; cancel what has not ended after so many seconds."""
        await self._calls.stop(grace_s)

    async def _call(self, handler: Handler, work: Work) -> None:
        try:
            await handler(work)
        except Exception as error:  # noqa: BLE001  # whatever it is, the unit is to be tried again
            failures = self._failures[work.unit] = self._failures.get(work.unit, 0) + 1
            pause_s = self._backoff.after(failures)
            log_failure(_logger, error, "unit %d failed and waits for %.1f s", work.unit, pause_s)
            self._put(attrs.evolve(work, not_before=self._now() + pause_s))
        else:
            self._failures.pop(work.unit, None)
        finally:
            self._under_way.discard(work.unit)
            # It may have been submitted again meanwhile, and been passed over.
            again = self._waiting.get(work.unit)
            if again is not None:
                self._push(again)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _put(self, work: Work) -> None:
        known = self._waiting.get(work.unit)
        if known is not None:
            work = attrs.evolve(
                work,
                not_before=min(work.not_before, known.not_before),
                priority=max(work.priority, known.priority),
            )
            if work == known:
                return
        self._waiting[work.unit] = work
        self._push(work)

    def _push(self, work: Work) -> None:
        heapq.heappush(self._later, _Later(work.not_before, next(self._order), work))

    def _take(self) -> Work | None:
        now = self._now()
        while self._later and self._later[0].at <= now:
            work = heapq.heappop(self._later).work
            heapq.heappush(self._due, _Due(-work.priority, next(self._order), work))
        while self._due:
            work = heapq.heappop(self._due).work
            if self._waiting.get(work.unit) is work and work.unit not in self._under_way:
                del self._waiting[work.unit]
                return work
        return None

    def _until_due(self) -> float:
        return min(LONGEST_NAP_S, max(0.0, self._later[0].at - self._now()))
