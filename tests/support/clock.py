"""Clocks that stand still until somebody moves them."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class FakeClock:
    """A clock on which sleeping takes no time: whoever sleeps moves it. ``slept`` holds the seconds of each sleep."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """The time of day in UTC."""
        return START + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        """Seconds; begins well above zero, as on a machine that has been running."""
        return 1000.0 + self.elapsed_s

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.elapsed_s += seconds

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once, and everybody else have a turn."""
        self.slept.append(seconds)
        self.move(seconds)
        await asyncio.sleep(0)


class ManualClock(FakeClock):
    """A clock whose sleepers wait until ``advance`` has reached their time."""

    def __init__(self) -> None:
        super().__init__()
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        """Wait for ``advance``."""
        self.slept.append(seconds)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.elapsed_s + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its time and letting it work before the next."""
        end = self.elapsed_s + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end:
            wake_at, _, woken = heapq.heappop(self._sleepers)
            self.elapsed_s = max(self.elapsed_s, wake_at)
            if not woken.done():
                woken.set_result(None)
            await settled()
        self.elapsed_s = end


async def settled(turns: int = 50) -> None:
    """Give every task that can run the chance to, until it waits for something that a test controls."""
    for _ in range(turns):
        await asyncio.sleep(0)
