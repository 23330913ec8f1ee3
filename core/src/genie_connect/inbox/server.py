"""A local SMTP server on asyncio: keeps what it receives, for development, demonstrations and tests."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Literal, Self

from genie_connect.inbox.policy import Policy, Received
from genie_connect.inbox.session import DEFAULT_EXTENSIONS, Session, SessionSettings

_log = logging.getLogger(__name__)

Security = Literal["none", "starttls", "tls"]

_SHUTDOWN_GRACE_S = 0.25


class InboxServer:
    """A well-behaved ESMTP server on this machine that accepts mail and delivers none of it.

    `security` is "none", "starttls" (required before MAIL) or "tls" (from the first byte). With `credentials` (user name
    to password) a client must authenticate; without them any credentials would be meaningless and AUTH is not offered.
    Over an unencrypted connection AUTH is offered only with `allow_plaintext_auth`.

    Messages are in `messages`, oldest first; `max_kept_messages` drops the oldest when a server runs for long.
    Raises ValueError for settings that cannot work, OSError if the port cannot be bound.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        security: Security = "none",
        ssl_context: ssl.SSLContext | None = None,
        credentials: Mapping[str, str] | None = None,
        allow_plaintext_auth: bool = False,
        auth_mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        policy: Policy | None = None,
        extensions: Iterable[str] = DEFAULT_EXTENSIONS,
        max_message_bytes: int = 25 * 1024 * 1024,
        max_recipients: int = 100,
        max_kept_messages: int | None = None,
        idle_timeout_s: float = 300.0,
        hostname: str = "localhost",
        on_message: Callable[[Received], None] | None = None,
    ) -> None:
        if security not in ("none", "starttls", "tls"):
            raise ValueError(f'security: {security!r} is not one of "none", "starttls", "tls"')
        if (security != "none") is (ssl_context is None):
            raise ValueError(
                f'ssl_context: security = "{security}" '
                + ("takes none" if ssl_context else "needs one; see genie_connect.inbox.local_certificate")
            )
        if credentials is not None and security == "none" and not allow_plaintext_auth:
            raise ValueError(
                'credentials: passwords would cross the network in clear; use security = "starttls" or "tls", '
                "or set allow_plaintext_auth"
            )
        self.host = host
        self.port = port
        self.security: Security = security
        self.messages: list[Received] = []
        self.received_count = 0
        self._ssl_context = ssl_context
        self._credentials = dict(credentials) if credentials is not None else None
        self._policy = policy or Policy()
        self._max_kept_messages = max_kept_messages
        self._idle_timeout_s = idle_timeout_s
        self._on_message = on_message
        self._settings = SessionSettings(
            hostname=hostname,
            extensions=frozenset(extensions),
            max_message_bytes=max_message_bytes,
            max_recipients=max_recipients,
            starttls=security == "starttls",
            require_tls=security == "starttls",
            auth_mechanisms=tuple(auth_mechanisms) if credentials is not None else (),
            require_auth=credentials is not None,
            allow_plaintext_auth=allow_plaintext_auth,
        )
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._waiters: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            self._connect,
            self.host,
            self.port,
            ssl=self._ssl_context if self.security == "tls" else None,
            backlog=512,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening, end every connection with 421 and wait until all are gone; may be called twice."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        connections = set(self._connections)
        for connection in connections:
            connection.shut_down()
        gone = [connection.gone for connection in connections]
        if gone:
            # A TLS client that never answers close_notify would hold a polite close for half a minute.
            await asyncio.wait(gone, timeout=_SHUTDOWN_GRACE_S)
            for connection in connections:
                connection.abort()
            await asyncio.wait(gone)
        await server.wait_closed()

    async def wait_for(self, count: int, timeout_s: float) -> list[Received]:
        """Return the messages once `count` have been received in all; raises TimeoutError after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.received_count < count:
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            raise TimeoutError(f"received {self.received_count} of {count} messages in {timeout_s} s") from None
        return list(self.messages)

    def _connect(self) -> _Connection:
        return _Connection(self)

    def _new_session(self, peer: str) -> Session:
        return Session(
            self._settings,
            policy=self._policy,
            credentials=self._credentials,
            peer=peer,
            tls=self.security == "tls",
        )

    def _store(self, message: Received) -> None:
        self.messages.append(message)
        self.received_count += 1
        if self._max_kept_messages is not None and len(self.messages) > self._max_kept_messages:
            del self.messages[0]
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._on_message is not None:
            try:
                self._on_message(message)
            except Exception:
                # The message is accepted already: a failing display must not change what the client is told.
                _log.exception("the on_message callback failed")


class _Connection(asyncio.Protocol):
    """One client: moves bytes between a transport and a session."""

    def __init__(self, server: InboxServer) -> None:
        self._owner = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._upgrade: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._active_at = self._loop.time()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peername = transport.get_extra_info("peername")
        self._session = self._owner._new_session(str(peername[0]) if peername else "")
        self._owner._connections.add(self)
        self._idle_timer = self._loop.call_later(self._owner._idle_timeout_s, self._check_idle)
        self._write(self._session.answer(self._session.greet()))

    def data_received(self, data: bytes) -> None:
        session = self._session
        assert session is not None
        self._active_at = self._loop.time()
        session.receive(data)
        # While a handshake is being finished the old transport is no longer ours to answer on.
        if self._upgrade is None:
            self._answer(session)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        # A client that sends commands and never reads replies gets no further.
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner._connections.discard(self)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if not self.gone.done():
            self.gone.set_result(None)

    def shut_down(self) -> None:
        """Say 421 and close."""
        if self._transport is not None and not self._transport.is_closing() and self._upgrade is None:
            self._write(b"421 4.3.2 the server is shutting down\r\n")
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._upgrade is not None:
            self._upgrade.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, session: Session) -> None:
        replies = bytearray()
        while (turn := session.next_turn()) is not None:
            if turn.message is not None and turn.reply.code // 100 == 2:
                self._owner._store(turn.message)
            replies += session.answer(turn)
        # One write for everything a segment asked for: a pipelining client gets its replies in one segment too.
        self._write(bytes(replies))
        if session.wants_tls:
            assert self._transport is not None
            self._transport.pause_reading()
            self._upgrade = self._loop.create_task(self._start_tls(session))

    def _write(self, data: bytes) -> None:
        transport, session = self._transport, self._session
        assert transport is not None and session is not None
        if data:
            transport.write(data)
        if session.closed:
            transport.close()

    async def _start_tls(self, session: Session) -> None:
        assert self._transport is not None and self._owner._ssl_context is not None
        try:
            transport = await self._loop.start_tls(
                self._transport, self, self._owner._ssl_context, server_side=True, ssl_handshake_timeout=30.0
            )
        except (OSError, asyncio.CancelledError) as error:
            # asyncio does not report the loss of a connection whose handshake failed to the inner protocol.
            self._transport.abort()
            self.connection_lost(error if isinstance(error, Exception) else None)
            return
        if transport is None:
            # asyncio answers None when the client left at the end of the handshake.
            self.connection_lost(None)
            return
        early = session.take_unread()
        self._transport = transport
        self._upgrade = None
        session.tls_started()
        session.receive(early)
        self._answer(session)

    def _check_idle(self) -> None:
        left_s = self._owner._idle_timeout_s - (self._loop.time() - self._active_at)
        if left_s > 0:
            self._idle_timer = self._loop.call_later(left_s, self._check_idle)
        elif self._transport is not None and not self._transport.is_closing():
            self._write(b"421 4.4.2 idle for too long\r\n")
            self._transport.close()
