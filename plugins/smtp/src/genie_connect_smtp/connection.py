"""One connection after sign-in: ours alone, from the transport up.

The transport is taken over from aiosmtplib with ``set_protocol``. From here on each reply is matched to what was asked
(``Session``), the stage is known to the byte, and a connection that failed is torn down rather than closed: closing
would still deliver what waits in the buffers, and a message reported as not sent would arrive.

Everything happens in the callbacks of the event loop, with one write for all that a segment of replies has released: a
task or a future for each message would cost more than the message. Only who waits for a whole batch waits on a future.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final, Protocol, cast

from genie_connect.errors import GenieConnectError
from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.guard import StrictProtocol
from genie_connect_smtp.ladder import Ladder
from genie_connect_smtp.limits import QUIT_TIMEOUT_S, Limits
from genie_connect_smtp.outcomes import UNREADABLE, why_unreadable
from genie_connect_smtp.outgoing import nothing
from genie_connect_smtp.replies import Reply, ReplyParser
from genie_connect_smtp.session import Session
from genie_connect_smtp.stuffing import DotStuffer, UnsendableContent, blocks
from genie_connect_smtp.transaction import Transaction

_log = logging.getLogger(__name__)

# Two integers everywhere but on Windows (struct linger).
_NO_LINGER: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
DESERTED_WITHIN_S: Final = 1.0
"""A server that goes later than this after it was last heard or asked has been idle, and tells nothing by it."""
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux


def abort(transport: asyncio.BaseTransport | None, sock: socket.socket | None) -> None:
    """End a connection at once, with RST: nothing that is still in a buffer may reach the server."""
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    if transport is not None:
        cast("asyncio.WriteTransport", transport).abort()
    elif sock is not None:
        sock.close()


class Supply(Protocol):
    """Where transactions come from, and who hears what became of them."""

    @property
    def pending(self) -> bool:
        """Whether a transaction is in the making, for which ``Connection.pump`` will be called."""
        ...

    def next(self) -> Transaction | None:
        """The next transaction, or ``None`` where there is none now. Does not wait."""
        ...

    def ended(self, transaction: Transaction) -> None:
        """Everything is known of this transaction that will be."""
        ...


class _Single:
    """One transaction, and no more."""

    pending = False

    def __init__(self, transaction: Transaction) -> None:
        self._waiting = [transaction]

    def next(self) -> Transaction | None:
        return self._waiting.pop() if self._waiting else None

    def ended(self, transaction: Transaction) -> None:
        pass


class _Stream:
    """Content on its way in blocks. ``hushed`` once the server has spoken: no end mark follows, whatever it says."""

    def __init__(self, transaction: Transaction, ends_at: float) -> None:
        self.ends_at = ends_at
        self.hushed = False
        self.whole = False
        self._stuffer = DotStuffer()
        self._blocks: Iterator[bytes] = blocks(transaction.content.chunks)

    def next_piece(self) -> bytes:
        """The next piece for the wire. Raises what reading the content raises, and ``UnsendableContent``."""
        block = next(self._blocks, None)
        if block is not None:
            return self._stuffer.feed(block)
        self.whole = True
        return self._stuffer.finish()


class Connection(asyncio.Protocol):
    """A signed-in connection.

    ``deserted`` says that the server ended it without a word, between two messages of a batch.
    """

    __slots__ = (
        "_closed",
        "_deadline_at",
        "_gone",
        "_limits",
        "_loop",
        "_moved_at",
        "_parser",
        "_paused",
        "_quitting",
        "_served",
        "_sock",
        "_stream",
        "_supply",
        "_transport",
        "_watch",
        "_watch_at",
        "deserted",
        "extensions",
        "opened_at",
        "session",
    )

    def __init__(
        self,
        before: StrictProtocol,
        sock: socket.socket,
        extensions: Extensions,
        ladder: Ladder | None = None,
        *,
        max_transactions: int = 10_000,
        known_replies: dict[bytes, Reply] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.session = Session(extensions, ladder or Ladder(), max_transactions=max_transactions)
        self.extensions = extensions
        self.opened_at = self._loop.time()
        self._sock = sock
        # uvloop's transports have the methods without the base class. Nothing of aiosmtplib's is kept: its client
        # holds a lock that waits for the end of its connection, but nobody will ask for it.
        self._transport = cast("asyncio.Transport", before.transport)
        self._parser = ReplyParser(known_replies)
        self._gone = False
        self.deserted = False
        self._paused = False
        self._stream: _Stream | None = None
        self._supply: Supply | None = None
        self._served: asyncio.Future[None] | None = None
        self._quitting: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._limits: Limits | None = None
        # When the last reply came, or the first command was written after it; when the attempt ends; when we look.
        self._moved_at = self._deadline_at = self._watch_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether another transaction may begin: still there, and nothing has come unasked."""
        return (
            not (self._gone or self.session.over or self._parser.pending)
            and self.session.idle
            and not self._transport.is_closing()
        )

    def when_gone(self, tell: Callable[[Connection], None]) -> None:
        """Call this once the connection is gone, whichever side ended it."""
        self._closed.add_done_callback(lambda _: tell(self))

    async def serve(self, supply: Supply, limits: Limits, *, copies: int = 1) -> None:
        """Take transactions from ``supply`` until it has none or the connection can take no more.

        ``copies`` says for how many messages this is. Raises what ``supply`` raises; never for what the server says or
        does. Whatever ends it early, the connection is gone and all that was taken has been given to ``ended``.
        """
        session = self.session
        session.supply, session.window.copies, session.resumed = supply.next, copies, session.served > 0
        self._supply, self._limits = supply, limits
        self._moved_at = self._loop.time()
        self._deadline_at = self._moved_at + limits.remaining_s
        self._served = served = self._loop.create_future()
        try:
            self.pump()
            await served
        except BaseException:
            try:
                self._fail(Fault.DISCONNECT, by_us=True)
            finally:
                abort(self._transport, self._sock)
            raise
        finally:
            # An idle connection keeps nothing of the batch that it has served.
            self._served = self._supply = self._limits = None
            session.supply = nothing
            self._stop_watch()

    async def run(self, transaction: Transaction, limits: Limits) -> None:
        """Drive one transaction to its end; never raises for what the server says or does."""
        await self.serve(_Single(transaction), limits)

    async def quit(self) -> None:
        """Say good-bye, for at most two seconds."""
        if self.usable and self._quitting is None:
            self._quitting = self._loop.create_future()
            self._transport.write(b"QUIT\r\n")
            try:
                async with asyncio.timeout(QUIT_TIMEOUT_S):
                    await self._quitting
                    self._transport.close()
                    await asyncio.shield(self._closed)
            except TimeoutError:
                pass
        self.abort()

    def abort(self) -> None:
        """End the connection at once; what is on its way counts as lost."""
        if self._served is not None and not self.session.over:
            self._fail(Fault.DISCONNECT, by_us=True)
        abort(self._transport, self._sock)

    def pump(self) -> None:
        """Write what may be written, and tell what has ended."""
        supply = self._supply
        if supply is None or self._served is None or self._served.done():
            return
        session = self.session
        try:
            while True:
                if session.setback:
                    # It may have been too much: the supply has to know before it gives anything more.
                    session.setback = False
                    for transaction in session.take_done():
                        supply.ended(transaction)
                if not (self._paused or self._stream):
                    self._write()
                done = session.take_done()
                if not done:
                    break
                for transaction in done:
                    supply.ended(transaction)
        except Exception as error:  # noqa: BLE001  # raised again where the batch is waited for
            self._served.set_exception(error)
            return
        if session.over:
            abort(self._transport, self._sock)
        elif self._paused or not session.idle or (supply.pending and not session.full):
            self._keep_watch()
            return
        self._served.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._quitting is not None:
            if not self._quitting.done():
                self._quitting.set_result(None)
            return
        session, parser = self.session, self._parser
        if session.over:
            return
        replies = parser.take(data)
        for reply in replies:
            session.receive(reply)
        if parser.malformed and (session.expecting or self._stream):
            session.lost(ConnectionFault(session.stage, Fault.MALFORMED_REPLY, parser.malformed))
        elif parser.pending:
            if self._stream is not None:
                self._stream.hushed = True
            else:
                session.unfinished_reply()
        if replies:
            self._moved_at = self._loop.time()
            if _QUICKACK is not None and session.expecting:
                # The rest of these replies may be held back until the first are acknowledged (Nagle, RFC 896).
                with contextlib.suppress(OSError):
                    self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        self.pump()

    def eof_received(self) -> bool:
        """The server will say nothing more."""
        self._lost()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._lost()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """The network takes nothing more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The network takes more."""
        self._paused = False
        self._moved_at = self._loop.time()
        if self._stream is not None:
            self._loop.call_soon(self._stream_on, self._stream)
        else:
            self.pump()

    def _write(self) -> None:
        session = self.session
        expecting = session.expecting
        out = session.output()
        if out:
            if not expecting:
                self._moved_at = self._loop.time()
            self._transport.write(b"".join(out))
        if session.streaming is not None and self._limits is not None:
            now = self._moved_at = self._loop.time()
            size_bytes = session.streaming.content.size_bytes
            self._stream = _Stream(session.streaming, now + self._limits.body_s(size_bytes))
            self._loop.call_soon(self._stream_on, self._stream)

    def _stream_on(self, stream: _Stream) -> None:
        """Write one block; others have their turn between two, even where the network takes everything at once."""
        if stream is not self._stream or stream.hushed or self._paused or self.session.over:
            return
        if stream.whole:
            self._transport.set_write_buffer_limits()
            self._stream = None
            self._moved_at = self._loop.time()
            if self._moved_at >= self._deadline_at:
                self._fail(Fault.TIMEOUT)
                return
            self.session.body_written()
            self.pump()
            return
        transaction = self.session.streaming
        try:
            piece = stream.next_piece()
        except (GenieConnectError, UnsendableContent, OSError) as error:
            # A file that is gone or was changed: the connection is dropped before the end mark.
            if transaction is not None:
                transaction.text = why_unreadable(error)
            self.session.abandoned(UNREADABLE)
            self.pump()
            return
        self._moved_at = self._loop.time()
        self._transport.write(piece)
        if stream.whole:
            # Only an empty buffer counts now, so that a server that stopped reading is noticed before the end mark.
            self._transport.set_write_buffer_limits(high=1, low=0)
        if not self._paused:
            self._loop.call_soon(self._stream_on, stream)

    def _lost(self) -> None:
        self._gone = True
        if self._served is not None and self.session.between and self._loop.time() < self._moved_at + DESERTED_WITHIN_S:
            self.deserted = True
        if self._quitting is not None and not self._quitting.done():
            self._quitting.set_result(None)
        self._fail(Fault.DISCONNECT)

    def _fail(self, fault: Fault, *, by_us: bool = False) -> None:
        session = self.session
        session.lost(ConnectionFault(session.stage, fault), by_us=by_us)
        if self._served is not None and not self._served.done():
            self.pump()
        elif self._supply is not None:
            for transaction in session.take_done():
                self._supply.ended(transaction)

    # One timer for the connection, looked at when it fires and not for each reply.

    def _ends_at(self, limits: Limits) -> float:
        stage = self.session.patience
        at = min(self._moved_at + limits.seconds(stage), self._deadline_at)
        return at if self._stream is None else min(at, self._stream.ends_at)

    def _keep_watch(self) -> None:
        if self._limits is None:
            return
        at = self._ends_at(self._limits)
        if self._watch is None or at < self._watch_at:
            self._stop_watch()
            self._watch_at = at
            self._watch = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._limits is None or self._served is None or self._served.done():
            return
        if self._loop.time() >= self._ends_at(self._limits):
            self._fail(Fault.TIMEOUT)
        else:
            self._keep_watch()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
