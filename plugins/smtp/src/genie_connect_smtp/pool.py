"""The open connections of one configured instance: how many at once, which may serve again, when they go."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Protocol

import attrs

from genie_connect_smtp.connection import Connection
from genie_connect_smtp.limits import QUIT_TIMEOUT_S, Limits
from genie_connect_smtp.settings import SmtpSettings


class Open(Protocol):
    """Makes a new connection. Raises ``SmtpError``."""

    async def __call__(self, limits: Limits) -> Connection:
        """Connect and sign in."""
        ...


@attrs.define
class Lease:
    """A connection in use. ``reused`` says that it has served before, so that the server may have left meanwhile."""

    connection: Connection
    reused: bool


class Pool:
    """Lends connections, ``max_connections`` at most at a time.

    A connection comes back only when its last transaction ended cleanly; every other one has been aborted. Idle ones
    say good-bye after ``idle_timeout_s``.
    """

    def __init__(self, settings: SmtpSettings, open_connection: Open) -> None:
        self._settings = settings
        self._open = open_connection
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._idle: deque[tuple[Connection, asyncio.TimerHandle]] = deque()
        self._in_use: set[Connection] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False
        self._drained: asyncio.Future[None] | None = None

    @property
    def idle(self) -> int:
        """How many connections are open and have nothing to do."""
        return len(self._idle)

    async def acquire(self, limits: Limits, *, fresh: bool = False) -> Lease:
        """A connection, waiting for a free slot. Raises ``SmtpError`` where none can be made.

        With ``fresh`` it is a new one. Raises ``TimeoutError`` where no slot becomes free in time, or ever again.
        """
        async with limits.attempt():
            await self._slots.acquire()
        if self._closed:
            self._slots.release()
            raise TimeoutError
        try:
            connection = None if fresh else self._take_idle()
            reused = connection is not None
            if connection is None:
                connection = await self._open(limits)
        except BaseException:
            self._slots.release()
            raise
        self._in_use.add(connection)
        return Lease(connection, reused)

    def release(self, lease: Lease) -> None:
        """Give a connection back, whatever state it is in. Never waits."""
        connection = lease.connection
        self._in_use.discard(connection)
        self._slots.release()
        if not self._in_use and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if not connection.usable:
            connection.abort()
        elif self._closed or not self._may_serve_again(connection):
            self._say_good_bye(connection)
        else:
            timer = asyncio.get_running_loop().call_later(
                self._settings.idle_timeout_s, self._idle_for_too_long, connection
            )
            self._idle.append((connection, timer))

    async def close(self) -> None:
        """Say good-bye on idle connections; those in use end what is on its way, for a moment. May be called twice."""
        self._closed = True
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
            connection, timer = self._idle.pop()
            timer.cancel()
            self._say_good_bye(connection)
        if self._leaving:
            await asyncio.gather(*self._leaving)

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
        age_s = asyncio.get_running_loop().time() - connection.opened_at
        young = age_s < self._settings.max_age_s
        return young and not connection.session.full and self._settings.idle_timeout_s > 0

    def _idle_for_too_long(self, connection: Connection) -> None:
        self._idle = deque((other, timer) for other, timer in self._idle if other is not connection)
        self._say_good_bye(connection)

    def _say_good_bye(self, connection: Connection) -> None:
        # In the background: an outcome never waits for QUIT.
        task = asyncio.get_running_loop().create_task(connection.quit(), name="SMTP QUIT")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
