"""One connection after sign-in: ours alone, from the transport up.

The transport is taken over from aiosmtplib with ``set_protocol``. From here on each reply is matched to what was asked,
the stage is known to the byte, and a connection that failed is torn down rather than closed: closing would still
deliver what waits in the buffers, and a message reported as not sent would arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable
from typing import Final, cast

import attrs

from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.guard import StrictProtocol
from genie_connect_smtp.limits import QUIT_TIMEOUT_S, Limits
from genie_connect_smtp.replies import MalformedReply, Reply, ReplyParser
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.stuffing import DotStuffer, blocks
from genie_connect_smtp.transaction import Finished, SendBody, Transaction, Write, WriteEndMark

# Two integers everywhere but on Windows (struct linger).
_NO_LINGER: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


@attrs.frozen(kw_only=True, eq=False)
class Content:
    """What stands between DATA and the end mark; dots not yet stuffed."""

    chunks: Iterable[bytes]
    size_bytes: int


def abort(transport: asyncio.BaseTransport | None, sock: socket.socket | None) -> None:
    """End a connection at once, with RST: nothing that is still in a buffer may reach the server."""
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    if transport is not None:
        cast("asyncio.WriteTransport", transport).abort()
    elif sock is not None:
        sock.close()


class MailProtocol(asyncio.Protocol):
    """Collects replies and wakes the one coroutine that waits for a reply, for room to write, or for the end."""

    def __init__(self, before: StrictProtocol) -> None:
        self.replies: deque[Reply] = deque()
        self.malformed = ""
        self.lost = False
        self.paused = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._before = before
        self._parser = ReplyParser()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def partial(self) -> bool:
        """Whether the beginning of a reply has arrived."""
        return self._parser.pending

    @property
    def quiet(self) -> bool:
        """Whether the connection is there and nothing has arrived that has not been used up."""
        return not (self.replies or self.malformed or self.lost or self.partial)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self.malformed:
            return
        self._parser.feed(data)
        try:
            while (reply := self._parser.next_reply()) is not None:
                self.replies.append(reply)
        except MalformedReply as error:
            self.malformed = str(error)
        self._wake()

    def eof_received(self) -> bool:
        """The server will say nothing more."""
        self.lost = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.lost = True
        self.paused = False
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()
        # aiosmtplib's client holds a lock until it hears that its connection is gone.
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        """The network takes nothing more for now."""
        self.paused = True

    def resume_writing(self) -> None:
        """The network takes more."""
        self.paused = False
        self._wake()

    async def changed(self) -> None:
        """Return when something happens."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection:
    """A signed-in connection. ``served`` counts transactions, ``idle_since`` is set by the pool."""

    def __init__(self, before: StrictProtocol, sock: socket.socket, extensions: Extensions) -> None:
        # uvloop's transports have the methods without the base class.
        transport = cast("asyncio.Transport", before.transport)
        self.extensions = extensions
        self.served = 0
        self._sock = sock
        self._transport = transport
        self._protocol = MailProtocol(before)
        transport.set_protocol(self._protocol)

    @property
    def usable(self) -> bool:
        """Whether another transaction may begin: still there, and nothing has come unasked."""
        return self._protocol.quiet and not self._transport.is_closing()

    async def run(self, transaction: Transaction, content: Content, limits: Limits) -> None:
        """Drive the transaction to its end; never raises for what the server says or does.

        Raises what reading the content raises, after the connection is gone; the end mark was then never written.
        """
        try:
            await self._drive(transaction, content, limits)
        except ConnectionFault as fault:
            transaction.lost(fault)
        except BaseException:
            self.abort()
            raise
        self.served += 1
        if not (transaction.reusable and self.usable):
            self.abort()

    async def quit(self) -> None:
        """Say good-bye, for at most two seconds."""
        if self.usable:
            self._transport.write(b"QUIT\r\n")
            try:
                async with asyncio.timeout(QUIT_TIMEOUT_S):
                    while self._protocol.quiet:
                        await self._protocol.changed()
                    self._transport.close()
                    await asyncio.shield(self._protocol.closed)
            except TimeoutError:
                pass
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        abort(self._transport, self._sock)

    async def _drive(self, transaction: Transaction, content: Content, limits: Limits) -> None:
        while True:
            match transaction.next_action():
                case Finished():
                    return
                case Write(data):
                    self._write(data, transaction.stage)
                case SendBody():
                    await self._send_body(transaction, content, limits)
                case WriteEndMark(data):
                    self._transport.write(data)
                case None:
                    transaction.reply(await self._reply(transaction.stage, limits))

    def _write(self, data: bytes, stage: Stage) -> None:
        if self._protocol.malformed or self._protocol.lost:
            raise self._fault(stage)
        if not self._protocol.quiet:
            raise ConnectionFault(stage, Fault.EXTRA_REPLY)
        self._transport.write(data)

    async def _reply(self, stage: Stage, limits: Limits) -> Reply:
        protocol = self._protocol
        try:
            async with limits.at(stage):
                while not (protocol.replies or protocol.malformed or protocol.lost):
                    await protocol.changed()
        except TimeoutError:
            raise ConnectionFault(stage, Fault.TIMEOUT) from None
        if not protocol.replies:
            raise self._fault(stage)
        reply = protocol.replies.popleft()
        # What follows the answer to the end mark can change it no more; anywhere else the two sides are out of step.
        if stage is not Stage.FINAL and (protocol.replies or protocol.malformed or protocol.partial):
            raise ConnectionFault(stage, Fault.EXTRA_REPLY)
        return reply

    async def _send_body(self, transaction: Transaction, content: Content, limits: Limits) -> None:
        try:
            async with limits.whole_body(content.size_bytes):
                whole = await self._write_content(content, limits)
            if whole and limits.over:
                raise TimeoutError
        except TimeoutError:
            raise ConnectionFault(Stage.BODY, Fault.TIMEOUT) from None
        if whole:
            transaction.body_sent()
        else:
            # The server spoke before it had everything: there is no end mark after this, whatever it says.
            transaction.reply(await self._reply(Stage.BODY, limits))

    async def _write_content(self, content: Content, limits: Limits) -> bool:
        """Write all of it, and see it leave this process; ``False`` if the server spoke or left before."""
        stuffer = DotStuffer()
        for block in blocks(content.chunks):
            self._transport.write(stuffer.feed(block))
            if not await self._drained(limits):
                return False
            # Others have their turn between two blocks, even where the network takes everything at once.
            await asyncio.sleep(0)
        self._transport.write(stuffer.finish())
        # Only an empty buffer counts now, so that a server that stopped reading is noticed before the end mark.
        self._transport.set_write_buffer_limits(high=1, low=0)
        try:
            return await self._drained(limits)
        finally:
            self._transport.set_write_buffer_limits()

    async def _drained(self, limits: Limits) -> bool:
        """Wait until there is room to write; ``False`` if the server spoke or left instead."""
        protocol = self._protocol
        async with limits.at(Stage.BODY):
            while protocol.paused and protocol.quiet:
                await protocol.changed()
        return protocol.quiet

    def _fault(self, stage: Stage) -> ConnectionFault:
        if self._protocol.malformed:
            return ConnectionFault(stage, Fault.MALFORMED_REPLY, self._protocol.malformed)
        return ConnectionFault(stage, Fault.DISCONNECT)
