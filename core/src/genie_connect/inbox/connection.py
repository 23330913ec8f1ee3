"""One client of the inbox: moves bytes between a transport and a session."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

import attrs

from genie_connect.inbox.policy import Received
from genie_connect.inbox.session import Session

HANDSHAKE_TIMEOUT_S = 30.0


@attrs.frozen(kw_only=True, eq=False)
class ConnectionHooks:
    """What a connection needs from its server."""

    new_session: Callable[[str], Session]
    opened: Callable[[Connection], None]
    received: Callable[[Received], None]
    gone: Callable[[Connection], None]
    ssl_context: ssl.SSLContext | None
    idle_timeout_s: float


class Connection(asyncio.Protocol):
    """The protocol object of one accepted connection."""

    _transport: asyncio.Transport
    _session: Session
    _idle_timer: asyncio.TimerHandle

    def __init__(self, hooks: ConnectionHooks) -> None:
        self._hooks = hooks
        self._loop = asyncio.get_running_loop()
        self._upgrade: asyncio.Task[None] | None = None
        self._active_at = self._loop.time()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, after the handshake where TLS comes first."""
        # uvloop's transports behave like asyncio.Transport without being instances of it.
        self._transport = cast("asyncio.Transport", transport)
        peername = transport.get_extra_info("peername")
        self._session = self._hooks.new_session(str(peername[0]) if peername else "")
        self._hooks.opened(self)
        self._idle_timer = self._loop.call_later(self._hooks.idle_timeout_s, self._check_idle)
        self._write(self._session.answer(self._session.greet()))

    def data_received(self, data: bytes) -> None:
        """Answer everything this segment completes."""
        self._active_at = self._loop.time()
        self._session.receive(data)
        # While a handshake is being finished the old transport is no longer ours to answer on.
        if self._upgrade is None:
            self._answer()

    def pause_writing(self) -> None:
        """Stop reading: a client that sends commands and never reads the replies gets no further."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the server that this client is gone."""
        self._idle_timer.cancel()
        if not self.gone.done():
            self.gone.set_result(None)
            self._hooks.gone(self)

    def shut_down(self) -> None:
        """Say 421 and close."""
        if self._upgrade is None and not self._transport.is_closing():
            self._write(b"421 4.3.2 the server is shutting down\r\n")
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._upgrade is not None:
            self._upgrade.cancel()
        self._transport.abort()

    def _answer(self) -> None:
        session = self._session
        replies = bytearray()
        while (turn := session.next_turn()) is not None:
            if turn.message is not None and turn.reply.code // 100 == 2:
                self._hooks.received(turn.message)
            replies += session.answer(turn)
        # One write for everything a segment asked for: a pipelining client gets its replies in one segment too.
        self._write(bytes(replies))
        if session.wants_tls:
            self._begin_tls()

    def _write(self, data: bytes) -> None:
        if data:
            self._transport.write(data)
        if self._session.closed:
            self._transport.close()

    def _begin_tls(self) -> None:
        if self._hooks.ssl_context is None:
            raise AssertionError("TLS is offered only with a TLS context")
        # The handshake's first bytes wait in the kernel until the TLS layer is there to read them.
        self._transport.pause_reading()
        self._upgrade = self._loop.create_task(self._start_tls(self._hooks.ssl_context))

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except (OSError, asyncio.CancelledError):
            # asyncio does not tell the inner protocol that a connection was lost in the handshake.
            self._transport.abort()
            self.connection_lost(None)
            return
        if transport is None:
            # The client left just as the handshake ended; connection_lost is, or has been, called.
            self._upgrade = None
            return
        # Commands may have come with the last bytes of the handshake; they were sent inside TLS.
        early = self._session.take_unread()
        self._transport = transport
        self._upgrade = None
        self._session.tls_started()
        self._session.receive(early)
        self._answer()

    def _check_idle(self) -> None:
        left_s = self._hooks.idle_timeout_s - (self._loop.time() - self._active_at)
        if left_s > 0:
            self._idle_timer = self._loop.call_later(left_s, self._check_idle)
        elif not self._transport.is_closing():
            if self._upgrade is None:
                self._write(b"421 4.4.2 idle for too long\r\n")
            self._transport.close()
