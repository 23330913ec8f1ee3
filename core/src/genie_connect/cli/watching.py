"""A broadcast looked at until it has ended: a table that stays in its place on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from genie_connect.broadcast.handle import Broadcast, Progress
from genie_connect.cli import progress as shown
from genie_connect.cli.stopping import Stopping
from genie_connect.cli.terminal import Terminal, printable
from genie_connect.errors import EngineUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from rich.console import Group

    from genie_connect.host import Host

LOOK_EVERY_S: Final = 0.5
SHARE_OF_LOOKING: Final = 0.1
"""Of a long list the looking takes a while itself: at most this share of the time goes into it."""
WINDOW_S: Final = 10.0
LINE_EVERY_S: Final = 5.0
SAME_EVERY_S: Final = 300.0
"""A line that would say the same again is not written until so long after."""
UNDER_WAY: Final = frozenset({"loading", "ready", "running"})


class Pace:
    """The rate over the last seconds: between two looks it jumps, as whole micro-batches are answered at a time."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def smoothed(self, progress: Progress, now: float) -> Progress:
        """The same with the rate since some seconds ago. ``now`` is of a monotonic clock."""
        counts = progress.counts
        self._seen.append((now, counts.done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()
        before, took = self._seen[0][1], now - self._seen[0][0]
        rate = max(0, counts.done - before) / took if took > 0 else 0.0
        moving = rate > 0 and counts.remaining > 0 and progress.state == "running"
        return attrs.evolve(progress, rate_per_s=rate, eta_s=counts.remaining / rate if moving else None)


class Screen(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress, *, working: bool) -> None:
        """Show it, or not, where it was shown just before. ``working`` says that this process works on it."""


async def watch(
    terminal: Terminal, broadcast: Broadcast, stopping: Stopping, *, host: Host, until: Callable[[Progress], bool]
) -> Progress:
    """Show how far it is until that is so, or somebody asks to stop; how far it was then.

    Raises ``EngineUnavailable`` where this host was to work on it, and no longer can.
    """
    pace = Pace()
    trouble = _Trouble(terminal)
    with _screen(terminal) as screen:
        while True:
            looked = time.monotonic()
            progress = None
            try:
                progress = pace.smoothed(await broadcast.progress(), looked)
            except StoreUnavailable as error:
                # It may come back, and the workers wait for it too.
                trouble.tell(error.message)
            if progress is not None:
                screen.show(progress, working=host.health is not None)
                if until(progress):
                    return progress
                trouble.look_at(host)
            took = time.monotonic() - looked
            if await stopping.within(max(LOOK_EVERY_S, took / SHARE_OF_LOOKING)):
                return progress or await broadcast.progress()


class _Trouble:
    """Tells what the worker here struggles with, once each time."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._told: str | None = None

    def look_at(self, host: Host) -> None:
        health = host.health
        if health is not None and not health.fed:
            raise EngineUnavailable(health.trouble or "the engine has ended", hint="the broadcast goes on with workers")
        self.tell(None if health is None else health.trouble)

    def tell(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._told:
            self._terminal.say(f"warning: {trouble}")
        self._told = trouble


@contextmanager
def _screen(terminal: Terminal) -> Iterator[Screen]:
    # What is logged would tear the table apart.
    if terminal.json or terminal.verbose or not sys.stdout.isatty():
        yield _Lines(terminal)
        return
    from rich.live import Live  # slow to import, and of no use elsewhere

    console = terminal.console()
    with Live(console=console, refresh_per_second=4, redirect_stderr=sys.stderr.isatty()) as live:
        yield _Table(live.update)


@attrs.frozen
class _Table:
    update: Callable[[Group], None]

    def show(self, progress: Progress, *, working: bool) -> None:
        from rich.console import Group  # as above
        from rich.text import Text

        heading = Text(printable(shown.title(progress)), style="bold")
        pace = Text(shown.pace(progress, time.time(), working=working))
        self.update(
            Group(heading, Terminal.table_of(shown.COLUMNS, shown.rows(progress), right=shown.COLUMNS[1:]), pace)
        )


@attrs.define
class _Lines:
    """A line now and then; with ``--json`` on standard error, as standard output is for the document."""

    terminal: Terminal
    _last: tuple[float, object] | None = None

    def show(self, progress: Progress, *, working: bool) -> None:
        now, standing = time.monotonic(), (progress.state, progress.counts.done)
        if self._last is not None:
            then, before = self._last
            if now - then < (LINE_EVERY_S if standing != before else SAME_EVERY_S) and progress.state in UNDER_WAY:
                return
        self._last = (now, standing)
        write = self.terminal.say if self.terminal.json else self.terminal.line
        write(f"{datetime.now(UTC).astimezone():%H:%M:%S} {shown.line(progress, time.time(), working=working)}")
