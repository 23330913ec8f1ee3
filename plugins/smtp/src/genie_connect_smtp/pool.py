"""The open connections of one configured instance: how many at once, which may serve again, when they go."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final, Protocol

from genie_connect_smtp.classify import classify_error
from genie_connect_smtp.connection import Connection
from genie_connect_smtp.errors import ServerRefused
from genie_connect_smtp.limits import QUIT_TIMEOUT_S, Limits
from genie_connect_smtp.pace import Pace
from genie_connect_smtp.pace_signals import Signal
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.stages import Stage

LOOK_AGAIN_S: Final = 1.0
"""Who waits for a connection that the pace does not allow asks again after so long: what is allowed grows with time."""

_BEFORE_SIGN_IN: Final = frozenset({Stage.GREETING, Stage.EHLO})


class Open(Protocol):
    """Makes a new connection. Raises ``SmtpError``."""

    async def __call__(self, limits: Limits) -> Connection:
        """Connect and sign in."""
        ...


class Pool:
    """Lends connections, ``max_connections`` at most at a time, or fewer where ``pace`` has learned that.

    A connection comes back only when its last transaction ended cleanly; every other one has been aborted. Idle ones
    say good-bye after ``idle_timeout_s``. The pace hears of each that is made, refused or gone.
    """

    def __init__(self, settings: SmtpSettings, open_connection: Open, pace: Pace) -> None:
        self._settings = settings
        self._open = open_connection
        self._pace = pace
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._idle: deque[tuple[Connection, asyncio.TimerHandle]] = deque()
        self._in_use: set[Connection] = set()
        self._opening = 0
        self._leaving: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._drained: asyncio.Future[None] | None = None
        # Those who wait for something to change here.
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def idle(self) -> int:
        """How many connections are open and have nothing to do."""
        return len(self._idle)

    async def acquire(self, limits: Limits) -> Connection:
        """A connection, waiting for a free slot. Raises ``SmtpError`` where none can be made.

        Raises ``TimeoutError`` where no slot becomes free in time, or ever again.
        """
        async with limits.attempt():
            await self._slots.acquire()
        try:
            connection = await self._taken(limits)
        except BaseException:
            self._slots.release()
            raise
        self._in_use.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """Give a connection back, whatever state it is in. Never waits."""
        self._in_use.discard(connection)
        self._slots.release()
        if not self._in_use and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if not connection.usable:
            connection.abort()
        elif self._closing.is_set() or not self._may_serve_again(connection):
            self._say_good_bye(connection)
        else:
            timer = asyncio.get_running_loop().call_later(
                self._settings.idle_timeout_s, self._idle_for_too_long, connection
            )
            self._idle.append((connection, timer))
        self._wake()

    def surplus(self, now: float) -> bool:
        """Whether one of the connections in use has to go, since the server allows fewer than are open."""
        allowed = self._pace.max_connections(now)
        staying = sum(not connection.session.full for connection in self._in_use)
        while self._idle and staying + len(self._idle) > allowed:
            self._dismiss_idle()
        return staying > allowed

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until the pool is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def close(self) -> None:
        """Say good-bye on idle connections; those in use end what is on its way, for a moment. May be called twice."""
        self._closing.set()
        self._wake()
        for connection in self._in_use:
            connection.session.retire()
        if self._in_use:
            self._drained = drained = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUIT_TIMEOUT_S):
                    await drained
        for connection in list(self._in_use):
            connection.abort()
        while self._idle:
            self._dismiss_idle()
        if self._leaving:
            await asyncio.gather(*self._leaving)

    async def _taken(self, limits: Limits) -> Connection:
        while not self._closing.is_set():
            connection = self._take_idle()
            if connection is not None:
                return connection
            wait_s = self._wait_s()
            if not wait_s:
                connection = await self._try_to_open(limits)
                if connection is not None:
                    return connection
            elif limits.over:
                break
            else:
                await self._change(min(wait_s, limits.remaining_s))
        raise TimeoutError

    async def _change(self, seconds: float) -> None:
        """Wait until a connection is given back or gone, for so long at most."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)

    def _wait_s(self) -> float:
        """Seconds before it makes sense to look whether a connection may be opened; 0 if it may."""
        now = asyncio.get_running_loop().time()
        wait_s = self._pace.open_wait_s(now)
        if wait_s > 0:
            return wait_s
        if self._opening and self._pace.turned_away:
            # One finds out whether there is room again, not all who wait.
            return LOOK_AGAIN_S
        if not self._pace.limited:
            return 0.0
        # The server counts one that is leaving until it is gone.
        there = len(self._in_use) + self._opening + len(self._leaving)
        allowed = self._pace.max_connections(now)
        while self._idle and there + len(self._idle) >= allowed:
            self._dismiss_idle()
            there += 1
        return 0.0 if there + len(self._idle) < allowed else LOOK_AGAIN_S

    async def _try_to_open(self, limits: Limits) -> Connection | None:
        """A new connection, or ``None`` where the server has as many as it takes. Raises ``SmtpError``."""
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            connection = await self._open(limits)
        except ServerRefused as refusal:
            if self._is_for_room(refusal, limits):
                return None
            raise
        finally:
            self._opening -= 1
            self._wake()
        self._pace.connection_opened(loop.time())
        connection.when_gone(self._gone)
        return connection

    def _is_for_room(self, refusal: ServerRefused, limits: Limits) -> bool:
        """Whether the pace knows when another connection will be welcome, and there is time until then."""
        now = asyncio.get_running_loop().time()
        verdict = classify_error(refusal)
        ours = self._pace.occupied(now) > 0
        signal = self._pace.connection_refused(
            now, stage=refusal.stage, verdict=verdict, reply=refusal.reply, opening=self._opening - 1
        )
        if not self._pace.adaptive or signal is not Signal.CONNECTIONS or refusal.stage not in _BEFORE_SIGN_IN:
            return False
        # A server that is busy although we have nothing open may be so for long: others should be tried.
        return (ours or verdict.kind == "throttled") and self._pace.open_wait_s(now) < limits.remaining_s

    def _gone(self, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        self._pace.connection_closed(now, served=connection.session.served, by_server=connection.deserted)
        self._wake()

    def _take_idle(self) -> Connection | None:
        # The last one back is the likeliest to be still there.
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            if not connection.usable:
                connection.abort()
            elif self._may_serve_again(connection):
                return connection
            else:
                self._say_good_bye(connection)
        return None

    def _may_serve_again(self, connection: Connection) -> bool:
        now, session = asyncio.get_running_loop().time(), connection.session
        if now - connection.opened_at >= self._settings.max_age_s or self._settings.idle_timeout_s <= 0:
            return False
        if self._pace.limited and session.served >= self._pace.messages_per_connection(now):
            return False
        return not session.full

    def _idle_for_too_long(self, connection: Connection) -> None:
        self._idle = deque((other, timer) for other, timer in self._idle if other is not connection)
        self._say_good_bye(connection)

    def _dismiss_idle(self) -> None:
        connection, timer = self._idle.popleft()
        timer.cancel()
        self._say_good_bye(connection)

    def _say_good_bye(self, connection: Connection) -> None:
        # In the background: an outcome never waits for QUIT.
        task = asyncio.get_running_loop().create_task(connection.quit(), name="SMTP QUIT")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
