"""Rate and concurrency of one connection, as its owner set them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from genie_connect.clock import Clock


class OverLimit(Exception):
    """There is no room before the deadline. ``wait_s`` is how long there will be none."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"no room for {wait_s:.1f} s")
        self.wait_s = wait_s


class Rooms(Protocol):
    """What makes attempts wait for their turn."""

    def room(self, recipients: int, deadline: float) -> AbstractAsyncContextManager[None]:
        """A place for an attempt with so many recipients. Raises ``OverLimit`` if none comes before the deadline."""
        ...


class Limiter:
    """A token bucket of one second's worth, and a bound on attempts at a time. ``None`` is no limit."""

    def __init__(self, clock: Clock, *, rate_per_s: float | None = None, concurrency: int | None = None) -> None:
        self._clock = clock
        self._rate = rate_per_s
        self._capacity = max(1.0, rate_per_s or 1.0)
        self._tokens = self._capacity
        self._filled = clock.monotonic()
        self._places = asyncio.Semaphore(concurrency) if concurrency else None

    @asynccontextmanager
    async def room(self, recipients: int, deadline: float) -> AsyncIterator[None]:
        """A place for an attempt with so many recipients. Raises ``OverLimit`` if none comes before the deadline."""
        wait = self._take(recipients, deadline)
        if wait > 0:
            try:
                await self._clock.sleep(wait)
            except BaseException:
                # Whoever gives up waiting leaves the room to the others.
                self._tokens += recipients
                raise
        if self._places is None:
            yield
            return
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                await self._places.acquire()
        except TimeoutError:
            raise OverLimit(1.0) from None
        try:
            yield
        finally:
            self._places.release()

    def _take(self, recipients: int, deadline: float) -> float:
        """Take tokens, running into debt if need be, and say how long to wait for the debt to be paid."""
        if self._rate is None:
            return 0.0
        now = self._clock.monotonic()
        self._tokens = min(self._capacity, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        wait = max(0.0, (recipients - self._tokens) / self._rate)
        if now + wait > deadline:
            raise OverLimit(wait)
        self._tokens -= recipients
        return wait
