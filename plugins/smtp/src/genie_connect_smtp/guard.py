"""The seam to aiosmtplib: its client for connecting, TLS and EHLO, with a reader of replies that does not guess.

aiosmtplib 5.1 reads a reply with ``int(line[:3])``, takes the code of the last line for the whole reply, and leaves
what follows a reply in its buffer, where it becomes the answer to the next command. ``StrictProtocol`` replaces that
one method; ``GuardedClient`` makes the connection with it and reads the greeting as a step of its own. Both override
private methods, so the version range is pinned and a canary test watches them.
"""

from __future__ import annotations

import asyncio

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse

from genie_connect_smtp.replies import MalformedReply, Reply, ReplyParser


class ExtraReply(Exception):
    """Bytes arrived that no command had asked for."""


class StrictProtocol(SMTPProtocol):
    """Reads each reply strictly and refuses what comes without having been asked for.

    ``heard`` says whether the peer has sent anything at all; ``last_reply`` is the last that was read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, client: GuardedClient) -> None:
        super().__init__(loop=loop, connection_lost_callback=client.lost)
        self.heard = False
        self.unasked = False
        self.last_reply: Reply | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes have come; those that no command waits for are noted, and never read."""
        self.heard = True
        waiter = self._response_waiter
        if not self._response_pending or waiter is None or waiter.done():
            self.unasked = True
            return
        super().data_received(data)

    def _read_response_from_buffer(self) -> SMTPResponse | None:
        parser = ReplyParser()
        parser.feed(bytes(self._buffer))
        reply = parser.next_reply()
        if reply is None:
            return None
        self._buffer.clear()
        self.last_reply = reply
        if parser.pending:
            self.unasked = True
            raise ExtraReply
        return SMTPResponse(reply.code, "\n".join(reply.lines))

    async def command(self, *words: bytes) -> Reply:
        """Send a command and return its reply. Raises what reading a reply raises; sets no time limit of its own."""
        self.check_quiet()
        await self.execute_command(*words)
        return self._taken()

    async def greeting(self) -> Reply:
        """The server's first reply."""
        await self.read_response()
        return self._taken()

    def check_quiet(self) -> None:
        """Raise ``ExtraReply`` if anything came that was not asked for."""
        if self.unasked or self._buffer:
            raise ExtraReply

    def _taken(self) -> Reply:
        self.check_quiet()
        if self.last_reply is None:
            raise MalformedReply("no reply was read")
        return self.last_reply


class GuardedClient(aiosmtplib.SMTP):
    """aiosmtplib's client on a ``StrictProtocol``.

    ``connect`` takes a connected socket, and with ``use_tls`` makes the TLS handshake; it does not read the greeting.
    """

    strict: StrictProtocol | None = None

    async def _create_connection(self, timeout: float | None) -> SMTPResponse:
        loop = asyncio.get_running_loop()
        protocol = StrictProtocol(loop, self)
        self.strict = protocol
        context = await self._get_tls_context() if self.use_tls else None
        transport, _ = await loop.create_connection(
            lambda: protocol,
            sock=self.sock,
            ssl=context,
            server_hostname=self.hostname if context else None,
            # Our own limits end a handshake; without a number asyncio would set one of its own.
            ssl_handshake_timeout=timeout if context else None,
        )
        self.protocol = protocol
        self.transport = transport
        return SMTPResponse(0, "")

    def lost(self, protocol: SMTPProtocol) -> None:
        """The transport is gone."""
        self._on_connection_lost(protocol)
