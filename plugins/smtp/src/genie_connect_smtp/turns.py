"""The line of connections that wait for the pace: only whoever is first has a timer, and asks when it is his turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from genie_connect_smtp.pace import Pace

Turn: TypeAlias = Callable[[], None]

_AGAIN_S: Final = 0.01


class Turns:
    """Calls those who wait, one after another, each when ``pace`` lets the next message leave.

    If everybody had a timer of his own, all would come at the same time; and whoever came a moment too early, since the
    message before had been late, would lose his place.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._line: deque[Turn] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def expected_wait_s(self, now: float) -> float:
        """About how long somebody would wait who joined now, in seconds."""
        wait_s = self._pace.wait_s(now)
        return wait_s + len(self._line) * self._pace.space_s if self._line else wait_s

    def join(self, turn: Turn, now: float) -> None:
        """Stand at the end of the line; ``turn`` is called once, and may find that it has nothing to send after all."""
        self._line.append(turn)
        if self._timer is None:
            self._arm(self._pace.wait_s(now))

    def leave(self, turn: Turn) -> None:
        """Wait no longer."""
        if turn in self._line:
            self._line.remove(turn)
        if not self._line and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, wait_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        for _ in range(len(self._line)):
            wait_s = self._pace.wait_s(loop.time())
            if wait_s > 0 or not self._line:
                break
            self._line.popleft()()
        if self._line and self._timer is None:
            self._arm(self._pace.wait_s(loop.time()) or _AGAIN_S)
