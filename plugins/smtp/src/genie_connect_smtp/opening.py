"""Making a connection, step by step, up to where mail can be sent.

Sending runs the steps one after another; the connector test runs the same steps and reports each. Each step has its
own time limit and turns whatever goes wrong into a ``ServerRefused`` or a ``ConnectionFault`` that says where.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import aiosmtplib
import attrs

from genie_connect.errors import SecretUnavailable
from genie_connect_smtp import tls
from genie_connect_smtp.auth import Credentials, choose, sign_in
from genie_connect_smtp.connection import Connection, abort
from genie_connect_smtp.errors import ConnectionFault, Fault, ServerRefused
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.guard import ExtraReply, GuardedClient, StrictProtocol
from genie_connect_smtp.ladder import Ladder
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.replies import MalformedReply, Reply
from genie_connect_smtp.resolve import Endpoints, Resolver, connect
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.stages import Stage

Facts: TypeAlias = Mapping[str, Any]
_MOST_KNOWN: Final = 16
"""Machines behind one name may differ, but not in more than a few ways."""


@attrs.frozen(kw_only=True)
class OpeningStep:
    """One step: its name, what it does, and what it learned."""

    id: str
    title: str
    run: Callable[[], Awaitable[Facts]]


@attrs.frozen(kw_only=True)
class Place:
    """What all connections of one configured instance share."""

    settings: SmtpSettings
    ehlo_name: str | None
    resolver: Resolver
    tls_context: ssl.SSLContext | None
    ladder: Ladder = attrs.field(factory=Ladder)
    known_replies: dict[bytes, Reply] = attrs.field(factory=dict, repr=False)
    _known_extensions: dict[Extensions, Extensions] = attrs.field(factory=dict, init=False, repr=False)

    def shared(self, extensions: Extensions) -> Extensions:
        """The same, as an earlier connection has it: a server says the same of itself each time."""
        if len(self._known_extensions) > _MOST_KNOWN:
            self._known_extensions.clear()
        return self._known_extensions.setdefault(extensions, extensions)


class Opening:
    """One connection in the making. ``connection`` is there once all ``steps()`` have run."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self.extensions = Extensions()
        self.connection: Connection | None = None
        self._place = place
        self._settings = place.settings
        self._limits = limits
        self._endpoints: Endpoints = ()
        self._sock: socket.socket | None = None
        self._transport: Any = None
        self._inside_tls = False
        self._client = GuardedClient(
            hostname=place.settings.host,
            # Never used, but without it the library asks the name server for this machine's name.
            local_hostname="localhost",
            use_tls=place.settings.security == "tls",
            start_tls=False,
            tls_context=place.tls_context,
            timeout=None,
        )

    def steps(self) -> tuple[OpeningStep, ...]:
        """The steps for this security mode, in order."""
        return tuple(
            OpeningStep(id=identifier, title=title, run=getattr(self, f"_{identifier}"))
            for identifier, title in (*_STEPS[self._settings.security], *self._sign_in_step())
        )

    async def run(self) -> Connection:
        """All steps. Raises ``SmtpError``; whatever ends it early, the connection is gone."""
        try:
            for step in self.steps():
                await step.run()
            return self.finish()
        except BaseException:
            self.abort()
            raise

    def finish(self) -> Connection:
        """Take the connection over for mail (aiosmtplib has done its part). Raises ``ConnectionFault``."""
        stage = Stage.AUTH if self._settings.username else Stage.EHLO
        with _mapped(stage, self._client):
            protocol = self._protocol(stage)
            protocol.check_quiet()
            if self._sock is None:
                raise ConnectionFault(stage, Fault.DISCONNECT)
            most, announced = self._settings.messages_per_connection, self.extensions.max_transactions
            self.connection = Connection(
                protocol,
                self._sock,
                self.extensions,
                self._place.ladder,
                max_transactions=most if announced is None else min(most, announced),
                known_replies=self._place.known_replies,
            )
        return self.connection

    def abort(self) -> None:
        """Drop the connection, if there is one, with nothing more said."""
        strict = self._client.strict
        transport = strict.transport if strict is not None else None
        abort(transport or self._transport, self._sock)
        self._client.close()

    def _sign_in_step(self) -> tuple[tuple[str, str], ...]:
        return (("auth", "Sign-in"),) if self._settings.username else ()

    async def _resolve(self) -> Facts:
        with _mapped(Stage.RESOLVE):
            async with self._limits.at(Stage.RESOLVE):
                self._endpoints = await self._place.resolver.endpoints()
        return {"host": self._settings.host, "addresses": ", ".join(map(str, self._endpoints))}

    async def _connect(self) -> Facts:
        with _mapped(Stage.CONNECT):
            async with self._limits.at(Stage.CONNECT):
                self._sock, endpoint, failed = await connect(self._endpoints)
            if self._settings.security != "tls":
                await self._make_transport()
        facts = {"address": str(endpoint), "port": self._settings.effective_port}
        return {**facts, "failed_addresses": "; ".join(failed)} if failed else facts

    async def _tls(self) -> Facts:
        with _mapped(Stage.TLS):
            async with self._limits.at(Stage.TLS):
                await self._make_transport()
        self._inside_tls = True
        return self._tls_facts()

    async def _make_transport(self) -> None:
        # A number, since asyncio would end a handshake after one of its own; ours ends it first.
        await self._client.connect(sock=self._sock, port=None, timeout=_LONG_S)
        self._transport = self._client.transport

    async def _greeting(self) -> Facts:
        with _mapped(Stage.GREETING, self._client):
            async with self._limits.at(Stage.GREETING):
                reply = await self._protocol(Stage.GREETING).greeting()
        if reply.code != 220:
            raise ServerRefused(Stage.GREETING, reply)
        return {"banner": reply.text}

    async def _ehlo(self) -> Facts:
        try:
            return await self._say_ehlo()
        except ServerRefused as refusal:
            if self._settings.security == "starttls" and refusal.reply.digit == 5:
                # Without EHLO there is no STARTTLS, and HELO would be a way around it.
                raise ConnectionFault(Stage.EHLO, Fault.STARTTLS_MISSING, str(refusal.reply)) from None
            raise

    async def _say_ehlo(self) -> Facts:
        with _mapped(Stage.EHLO, self._client):
            protocol = self._protocol(Stage.EHLO)
            protocol.check_quiet()
            async with self._limits.at(Stage.EHLO):
                await self._client.ehlo(hostname=self._ehlo_name())
        offered = Extensions.of(self._client.esmtp_extensions, self._client.server_auth_methods)
        self.extensions = self._place.shared(offered)
        facts: dict[str, Any] = {"extensions": ", ".join(keyword.upper() for keyword in self.extensions.keywords)}
        if self.extensions.auth_mechanisms:
            facts["auth_mechanisms"] = ", ".join(name.upper() for name in self.extensions.auth_mechanisms)
        if self.extensions.max_message_bytes is not None:
            facts["max_message_bytes"] = self.extensions.max_message_bytes
        return facts

    async def _starttls(self) -> Facts:
        if "starttls" not in self.extensions:
            raise ConnectionFault(Stage.STARTTLS, Fault.STARTTLS_MISSING)
        protocol = self._protocol(Stage.STARTTLS)
        before = protocol.last_reply
        try:
            with _mapped(Stage.STARTTLS, self._client):
                protocol.check_quiet()
                async with self._limits.at(Stage.STARTTLS):
                    await self._client.starttls(
                        tls_context=self._place.tls_context, server_hostname=self._settings.host, timeout=_LONG_S
                    )
        except ConnectionFault as fault:
            raise _in_handshake(fault, answered=protocol.last_reply is not before) from fault
        if protocol.unasked or self._client.transport is None:
            fault_name = Fault.PLAINTEXT_AFTER_STARTTLS if protocol.unasked else Fault.TLS_INTERRUPTED
            raise ConnectionFault(Stage.TLS, fault_name)
        self._transport = self._client.transport
        self._inside_tls = True
        return self._tls_facts()

    async def _ehlo_tls(self) -> Facts:
        # RFC 3207 section 4.2: what was offered in clear counts no more.
        return await self._say_ehlo()

    async def _auth(self) -> Facts:
        settings = self._settings
        if settings.username is None or settings.password is None:
            return {}
        mechanism = choose(settings.auth, self.extensions, inside_tls=self._inside_tls)
        try:
            credentials = Credentials(settings.username, settings.password.reveal())
        except SecretUnavailable as error:
            raise ConnectionFault(Stage.AUTH, Fault.PASSWORD_UNAVAILABLE, error.message) from None

        async def command(*words: bytes) -> Reply:
            async with self._limits.at(Stage.AUTH):
                return await self._protocol(Stage.AUTH).command(*words)

        with _mapped(Stage.AUTH, self._client):
            await sign_in(mechanism, credentials, command)
        return {"mechanism": mechanism.upper()}

    def _ehlo_name(self) -> str:
        if self._place.ehlo_name is not None:
            return self._place.ehlo_name
        # RFC 5321 section 4.1.1.1: who has no name gives the address.
        local = self._sock.getsockname()[0] if self._sock is not None else "127.0.0.1"
        address = ipaddress.ip_address(local.partition("%")[0])
        return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"

    def _protocol(self, stage: Stage) -> StrictProtocol:
        protocol = self._client.strict
        if protocol is None or not protocol.is_connected:
            raise ConnectionFault(stage, Fault.DISCONNECT)
        return protocol

    def _tls_facts(self) -> Facts:
        return tls.facts_of(self._transport.get_extra_info("ssl_object"))


_LONG_S: Final = 3600.0

_STEPS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "tls": (
        ("resolve", "Find the server"),
        ("connect", "Connect"),
        ("tls", "Encrypt (TLS)"),
        ("greeting", "Greeting"),
        ("ehlo", "EHLO"),
    ),
    "starttls": (
        ("resolve", "Find the server"),
        ("connect", "Connect"),
        ("greeting", "Greeting"),
        ("ehlo", "EHLO"),
        ("starttls", "Encrypt (STARTTLS)"),
        ("ehlo_tls", "EHLO inside TLS"),
    ),
    "none": (
        ("resolve", "Find the server"),
        ("connect", "Connect"),
        ("greeting", "Greeting"),
        ("ehlo", "EHLO"),
    ),
}


@contextlib.contextmanager
def _mapped(stage: Stage, client: GuardedClient | None = None) -> Iterator[None]:
    """Turns what the libraries below raise into our two errors."""
    try:
        yield
    except (ServerRefused, ConnectionFault):
        raise
    except aiosmtplib.SMTPResponseException as error:
        reply = client.strict.last_reply if client is not None and client.strict is not None else None
        # The library numbers a reply that it could not read -1.
        if reply is None or error.code != reply.code:
            raise ConnectionFault(stage, Fault.MALFORMED_REPLY) from None
        raise ServerRefused(stage, reply) from None
    except ExtraReply:
        raise ConnectionFault(stage, Fault.EXTRA_REPLY) from None
    except MalformedReply as error:
        raise ConnectionFault(stage, Fault.MALFORMED_REPLY, str(error)) from None
    except ssl.SSLError as error:
        fault = tls.fault_of(error) if not isinstance(error, ssl.SSLEOFError) else Fault.TLS_INTERRUPTED
        raise ConnectionFault(stage, fault, tls.detail_of(error)) from error
    except TimeoutError:
        heard = client is not None and client.strict is not None and client.strict.heard
        raise ConnectionFault(stage, _timeout_fault(stage, heard=heard)) from None
    except OSError as error:
        raise ConnectionFault(stage, _os_fault(stage, error), error.strerror or "") from error


def _timeout_fault(stage: Stage, *, heard: bool) -> Fault:
    if stage is Stage.GREETING and not heard:
        return Fault.SILENT
    by_stage = {
        Stage.RESOLVE: Fault.DNS_TIMEOUT,
        Stage.CONNECT: Fault.CONNECT_TIMEOUT,
        Stage.TLS: Fault.TLS_INTERRUPTED,
    }
    return by_stage.get(stage, Fault.TIMEOUT)


def _os_fault(stage: Stage, error: OSError) -> Fault:
    if stage is Stage.RESOLVE or isinstance(error, socket.gaierror):
        return Fault.DNS_FAILURE
    if stage is Stage.TLS:
        return Fault.TLS_INTERRUPTED
    if stage is not Stage.CONNECT or isinstance(error, ConnectionResetError | BrokenPipeError):
        return Fault.DISCONNECT
    return Fault.REFUSED if isinstance(error, ConnectionRefusedError) else Fault.UNREACHABLE


def _in_handshake(fault: ConnectionFault, *, answered: bool) -> ConnectionFault:
    """The fault of STARTTLS as one of its command, or of the handshake that follows the 220."""
    if fault.fault is Fault.EXTRA_REPLY and answered:
        return ConnectionFault(Stage.STARTTLS, Fault.PLAINTEXT_AFTER_STARTTLS)
    if not answered:
        return fault
    if fault.fault in (Fault.DISCONNECT, Fault.TIMEOUT):
        return ConnectionFault(Stage.TLS, Fault.TLS_INTERRUPTED, fault.detail)
    return ConnectionFault(Stage.TLS, fault.fault, fault.detail)
