"""The handlers under way: how many there may be, how one waits for the next, and how they end.

Every engine of ours runs the same loop around it: while there is room, take what is due, and begin a call for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Final

import attrs

from genie_connect.registry.isolation import log_failure

CLEAN_UP_S: Final = 5.0
"""How long cancelled handlers may take to let go of what they hold."""
_logger = logging.getLogger("genie_connect.engine")


@attrs.frozen(kw_only=True)
class Backoff:
    """How long a unit waits after its handler raised: each time twice as long, the half of it by chance."""

    first_s: float = 1.0
    longest_s: float = 300.0

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures, of which there has been one at least."""
        whole_s = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 60))
        # Not for secrecy: so that what failed together does not come back together.
        return whole_s * random.uniform(0.5, 1.0)  # noqa: S311


class Calls:
    """The calls of one ``run``."""

    def __init__(self) -> None:
        self._most = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._over = asyncio.Event()
        self._stopping = False

    @property
    def free(self) -> int:
        """How many calls may be begun now; none once ``stop`` was asked for."""
        return 0 if self._stopping else self._most - len(self._tasks)

    @property
    def stopping(self) -> bool:
        """Whether nothing new may be begun any more."""
        return self._stopping

    @asynccontextmanager
    async def running(self, concurrency: int) -> AsyncIterator[None]:
        """The time of one ``run``. Ends when ``stop`` has; whatever else ends it cancels the calls."""
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        self._most = concurrency
        try:
            yield
            await self.ended()
        finally:
            await self.close()

    async def ended(self) -> None:
        """Wait until ``stop`` has ended, and with it every call."""
        await self._over.wait()

    def begin(self, call: Coroutine[None, None, None]) -> None:
        """Begin a call. It deals with its own errors."""
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def nap(self, seconds: float | None = None) -> None:
        """Wait until a call has ended, ``wake`` or ``stop`` was called, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def stop(self, grace_s: float) -> None:
        """Let the calls end for so many seconds, then cancel them."""
        self._stopping = True
        self.wake()
        if self._tasks and grace_s > 0:
            await asyncio.wait(self._tasks, timeout=grace_s)
        await self.close()

    async def close(self) -> None:
        """Cancel what is under way."""
        self._stopping = True
        self.wake()
        # A task that is cancelled before its first step never learns of it, and could not give its unit back.
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLEAN_UP_S)
        for task in self._tasks:
            _logger.error("a handler ignores its cancellation and was left behind: %r", task)
        self._over.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            log_failure(_logger, error, "an engine lost track of a unit; it will be offered again")
