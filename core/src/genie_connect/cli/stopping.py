"""Being asked to stop by a signal: once to end in good order, twice to end at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar

import click

from genie_connect.cli.exit_codes import ExitCode

T = TypeVar("T")
_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")
"""A terminal that is closed hangs up, which is no reason to leave work half done. Windows has no SIGHUP."""


class Stopping:
    """Hears these signals while it is entered, which is within a running loop.

    The first sets ``asked``. The second ends the process as a kill would, after saying ``abandoned``: nothing waits for
    what is under way.
    """

    def __init__(self, *, abandoned: str) -> None:
        self.asked = asyncio.Event()
        self.by: signal.Signals | None = None
        """The first signal, once there was one."""
        self._abandoned = abandoned
        self._before: dict[signal.Signals, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # Only the main thread may; elsewhere this program is a part of another, whose matter signals are.
        if threading.current_thread() is threading.main_thread():
            heard = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
            # What was told to be deaf stays so: that is how nohup works.
            self._before = {
                each: signal.signal(each, self._hear) for each in heard if signal.getsignal(each) is not signal.SIG_IGN
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    @property
    def by_hand(self) -> bool:
        """Whether a person asked, at the terminal."""
        return self.by is signal.SIGINT

    async def within(self, seconds: float) -> bool:
        """Wait until it is asked for, or for so long; whether it is."""
        try:
            async with asyncio.timeout(seconds):
                await self.asked.wait()
        except TimeoutError:
            return False
        return True

    async def unless(self, doing: Awaitable[T]) -> T:
        """What this comes to. Raises ``click.Abort`` where it was asked for before, and cancels it."""
        task, asked = asyncio.ensure_future(doing), asyncio.ensure_future(self.asked.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if task.cancelled():
                raise click.Abort
            return task.result()
        finally:
            asked.cancel()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.by is not None:
            # Not print: the signal may have come in the middle of one.
            os.write(2, f"\n{self._abandoned}\n".encode())
            os._exit(ExitCode.INTERRUPTED)
        self.by = signal.Signals(number)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.asked.set)
