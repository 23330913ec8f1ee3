"""A local SMTP server on asyncio: keeps what it receives, for development, demonstrations and tests."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Literal, Self

from genie_connect.inbox.connection import HANDSHAKE_TIMEOUT_S, Connection, ConnectionHooks
from genie_connect.inbox.policy import Policy, Received
from genie_connect.inbox.session import Session
from genie_connect.inbox.turn import DEFAULT_EXTENSIONS, SessionSettings

_log = logging.getLogger(__name__)

Security = Literal["none", "starttls", "tls"]

_BACKLOG = 512
_SHUTDOWN_GRACE_S = 0.25
_ACCEPT_PAUSE_S = 1.0


class InboxServer:
    """A well-behaved ESMTP server on this machine that accepts mail and delivers none of it.

    `security` is "none", "starttls" (required before MAIL) or "tls" (from the first byte). With `credentials` (user
    name to password) a client must authenticate; without them AUTH is not offered.
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
        self._credentials = dict(credentials) if credentials is not None else None
        self._policy = policy or Policy()
        self._max_kept_messages = max_kept_messages
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
        self._socket: socket.socket
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._hooks = ConnectionHooks(
            new_session=self._new_session,
            opened=self._connections.add,
            received=self._store,
            gone=self._connections.discard,
            ssl_context=ssl_context,
            idle_timeout_s=idle_timeout_s,
        )

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        family, kind, protocol, _, address = (
            await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        )[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.port = self._socket.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(self._socket), name="inbox")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening, end every connection with 421 and wait until all are gone; may be called twice."""
        if self._accepting is None:
            return
        accepting, self._accepting = self._accepting, None
        accepting.cancel()
        # By the time this returns every handshake has begun, and so owns its socket and closes it when cancelled.
        await asyncio.wait([accepting])
        self._socket.close()
        handshakes = set(self._handshakes)
        for handshake in handshakes:
            handshake.cancel()
        if handshakes:
            await asyncio.wait(handshakes)
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

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError:
                _log.exception("accepting a connection failed; trying again in %s s", _ACCEPT_PAUSE_S)
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            handshake = asyncio.create_task(self._open(client), name="inbox connection")
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _open(self, client: socket.socket) -> None:
        # Accepting by hand, not by create_server, keeps hold of handshakes that are under way when the server stops.
        tls_first = self.security == "tls"
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(self._hooks),
                client,
                ssl=self._hooks.ssl_context if tls_first else None,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if tls_first else None,
            )
        except OSError as error:
            _log.info("a client left before the greeting: %s", type(error).__name__)

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
            except Exception:  # noqa: BLE001 - accepted already: a failing display must not change what is answered
                _log.exception("the on_message callback failed")
