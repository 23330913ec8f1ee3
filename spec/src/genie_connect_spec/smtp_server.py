r"""The scripted SMTP server: behaves properly, except where its script says otherwise, and records everything.

async with ScriptedSmtpServer([on("rcpt", Say(b"550 5.1.1 nobody\r\n"), index=1)]) as server:
    ...  # connect to server.host, server.port
assert [message.recipients for message in server.accepted] == [("ada@example.com",)]
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict

from genie_connect.inbox import DEFAULT_EXTENSIONS, Session, SessionSettings
from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_channel import Channel
from genie_connect_spec.smtp_listener import Listener
from genie_connect_spec.smtp_open_transaction import OpenTransactionSession
from genie_connect_spec.smtp_player import Player, Stage
from genie_connect_spec.smtp_record import ConnectionRecord, HandedOver
from genie_connect_spec.smtp_script import Action, Refuse, Script, Unanswered, rules_of

Security = Literal["none", "starttls", "tls"]


class ScriptedSmtpOptions(TypedDict, total=False):
    """The options of `ScriptedSmtpServer`, for factories that pass them on."""

    security: Security
    certificate: str
    only_old_tls: bool
    certificates: CertificateSet | None
    credentials: Mapping[str, str] | None
    auth_mechanisms: Iterable[str]
    extensions: Iterable[str]
    max_message_bytes: int
    max_recipients: int
    keeps_transaction_open: bool
    receive_buffer_bytes: int | None
    host: str
    port: int


class ScriptedSmtpServer:
    """An SMTP server on this machine whose every reply can be replaced.

    Without a script it is a proper server that offers every extension of the inbox, and AUTH with any credentials (or
    those of `credentials`) at any time but never demands it. `security` "starttls" offers STARTTLS and "tls" begins
    with a handshake; `certificate` is one of `CERTIFICATES`, and clients trust `ca_file`. `receive_buffer_bytes` makes
    the kernel's receive buffer small, so that a client whose server stops reading notices soon. With
    `keeps_transaction_open` a refused BDAT does not end its transaction, as on Exim 4.96.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        security: Security = "none",
        certificate: str = "good",
        only_old_tls: bool = False,
        certificates: CertificateSet | None = None,
        credentials: Mapping[str, str] | None = None,
        auth_mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        extensions: Iterable[str] = DEFAULT_EXTENSIONS,
        max_message_bytes: int = 25 * 1024 * 1024,
        max_recipients: int = 100,
        keeps_transaction_open: bool = False,
        receive_buffer_bytes: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.host = host
        self.port = port
        self.security: Security = security
        self.rules = rules_of(script)
        self.connections: list[ConnectionRecord] = []
        self.handed_over: list[HandedOver] = []
        self._certificate = certificate
        self._only_old_tls = only_old_tls
        self._certificates = certificates
        self._credentials = credentials
        self._receive_buffer_bytes = receive_buffer_bytes
        self._session_class = OpenTransactionSession if keeps_transaction_open else Session
        self._settings = SessionSettings(
            hostname="scripted.test",
            extensions=frozenset(extensions),
            max_message_bytes=max_message_bytes,
            max_recipients=max_recipients,
            starttls=security == "starttls",
            auth_mechanisms=tuple(auth_mechanisms),
            allow_plaintext_auth=True,
        )
        self._resources = contextlib.AsyncExitStack()
        self._players: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._connected = asyncio.Condition()

    @property
    def accepted(self) -> list[HandedOver]:
        """The messages whose final answer was 2xx."""
        return [message for message in self.handed_over if message.accepted]

    @property
    def auth_attempts(self) -> int:
        """AUTH commands over all connections."""
        return sum(connection.auth_attempts for connection in self.connections)

    @property
    def wire(self) -> bytes:
        """Every byte of every connection, one after another."""
        return b"".join(connection.wire for connection in self.connections)

    @property
    def ca_file(self) -> Path:
        """The certificate authority that clients are to trust; raises ValueError on a server without TLS."""
        return self._certificate_set().ca_file

    async def __aenter__(self) -> Self:
        if self.security != "none" and self._certificates is None:
            folder = self._resources.enter_context(tempfile.TemporaryDirectory())
            self._certificates = CertificateSet(Path(folder))
        stage = Stage(
            rules=lambda: self.rules,
            new_session=lambda: self._session_class(
                self._settings, credentials=self._credentials, tls=self.security == "tls"
            ),
            tls_context=self._tls_context(),
            tls_first=self.security == "tls",
            handed_over=self.handed_over,
        )
        listener = Listener(self.host, self.port, receive_buffer_bytes=self._receive_buffer_bytes)
        self._resources.callback(listener.close)
        self.port = listener.port
        await self._open(listener, connection=0)
        self._resources.push_async_callback(self._stop_players)
        accepting = asyncio.create_task(self._accept(listener, stage), name="scripted SMTP server")
        self._resources.push_async_callback(_cancel, accepting)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and end every conversation; may be called twice."""
        await self._resources.aclose()

    async def forget(self) -> None:
        """End every conversation and forget all that was said; listening goes on."""
        players = list(self._players)
        for player in players:
            player.cancel()
        await asyncio.gather(*players, return_exceptions=True)
        self.connections.clear()
        self.handed_over.clear()

    def follow(self, script: Script) -> None:
        """Follow another script from here on."""
        self.rules = rules_of(script)

    async def wait_for_connections(self, count: int, timeout_s: float) -> None:
        """Return once `count` clients have connected; raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._connected:
            await self._connected.wait_for(lambda: len(self.connections) >= count)

    async def wait_until_idle(self, timeout_s: float) -> None:
        """Return once every connection so far has ended; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            for connection in list(self.connections):
                await connection.ended.wait()

    def _certificate_set(self) -> CertificateSet:
        if self._certificates is None:
            raise ValueError('security: a server with security = "none" has no certificate')
        return self._certificates

    def _tls_context(self) -> ssl.SSLContext | None:
        if self.security == "none":
            return None
        return self._certificate_set().server_context(self._certificate, only_old_tls=self._only_old_tls)

    async def _open(self, listener: Listener, *, connection: int) -> bool:
        """Make the listener ready for a connection; False if the script lets no more connect."""
        match self._action_on_connect(connection):
            case Refuse():
                listener.refuse()
                return False
            case Unanswered():
                await listener.leave_unanswered()
                return False
            case _:
                listener.listen()
                return True

    def _action_on_connect(self, connection: int) -> Action | None:
        for rule in self.rules:
            if rule.applies("connect", connection=connection, message=-1, index=0, address=None):
                return rule.action
        return None

    async def _accept(self, listener: Listener, stage: Stage) -> None:
        while await self._open(listener, connection=len(self.connections)):
            channel = Channel(await listener.accept())
            record = ConnectionRecord(len(self.connections), channel)
            player = asyncio.create_task(Player(stage, channel, record).play(), name="scripted SMTP connection")
            self._players.add(player)
            player.add_done_callback(self._player_done)
            async with self._connected:
                self.connections.append(record)
                self._connected.notify_all()

    def _player_done(self, player: asyncio.Task[None]) -> None:
        self._players.discard(player)
        failure = None if player.cancelled() else player.exception()
        if failure is not None:
            self._failures.append(failure)

    async def _stop_players(self) -> None:
        players = list(self._players)
        for player in players:
            player.cancel()
        await asyncio.gather(*players, return_exceptions=True)
        if self._failures:
            # What went wrong inside the server itself must fail the test that used it.
            raise self._failures[0]


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def refusing_port(host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Yield a port that is reserved and on which nothing listens: connecting is refused."""
    listener = Listener(host, 0)
    try:
        yield listener.port
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def unanswered_port(host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Yield a port whose TCP handshake never completes (Linux): connecting hangs."""
    listener = Listener(host, 0)
    try:
        await listener.leave_unanswered()
        yield listener.port
    finally:
        listener.close()
