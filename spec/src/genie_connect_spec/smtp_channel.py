"""The server's end of one TCP connection, on a bare socket: every byte is seen, and every way to end is possible."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
from typing import Final

_READ_BYTES: Final = 65_536
_PRESENCE_INTERVAL_S: Final = 0.01


class Channel:
    """Reads and writes, in clear or inside TLS, and records what the client sent.

    asyncio's transports would hide half-closes, resets, unread bytes and the handshake's records, so the socket is
    driven directly and TLS runs over memory buffers. One task uses a channel.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.wire = bytearray()
        self.received_plain = bytearray()
        self.received_tls = bytearray()
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._plain = True

    @property
    def tls_version(self) -> str | None:
        """The version agreed on, None without TLS."""
        return self._tls.version() if self._tls else None

    def expect_tls(self) -> None:
        """Count what comes from here on as part of a handshake, not as plain text."""
        self._plain = False

    async def receive(self) -> bytes:
        """Return what the client sent, decrypted; empty once it has closed. Raises OSError when it reset."""
        while True:
            if self._tls is None:
                data = await self._receive_raw()
                if self._plain:
                    self.received_plain += data
                return data
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                raw = await self._receive_raw()
                if not raw:
                    return b""
                self._incoming.write(raw)
                continue
            except ssl.SSLZeroReturnError:
                return b""
            self.received_tls += data
            return data

    async def send(self, data: bytes) -> None:
        """Send bytes, in one segment as far as they fit. Raises OSError when the client is gone."""
        if self._tls is None:
            await self._loop.sock_sendall(self._socket, data)
        else:
            self._tls.write(data)
            await self._flush()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Make the server's side of a handshake; raises ssl.SSLError or OSError when it fails."""
        self.expect_tls()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        try:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await self._flush()
                    raw = await self._receive_raw()
                    if not raw:
                        raise ConnectionAbortedError("the client left during the handshake") from None
                    self._incoming.write(raw)
        finally:
            # Also after a failure: the alert tells the client why.
            await self._flush()
        self._tls = tls

    async def wait_until_gone(self) -> None:
        """Read nothing and return when the client has closed or reset the connection."""
        poll = select.poll()
        # Without POLLRDHUP (other than Linux) only a reset is noticed.
        poll.register(self._socket, getattr(select, "POLLRDHUP", 0))
        while not poll.poll(0):  # noqa: ASYNC110 - the loop's own readiness says nothing new here
            # The event loop can only wait for readability, which unread bytes assert all the time.
            await asyncio.sleep(_PRESENCE_INTERVAL_S)

    def half_close(self) -> None:
        """Send FIN; reading goes on."""
        self._socket.shutdown(socket.SHUT_WR)

    async def close(self, *, close_notify: bool = True) -> None:
        """Send FIN after everything said before, and close; safe to call twice."""
        if self._socket.fileno() < 0:
            return
        try:
            if self._tls is not None and close_notify:
                self._say_close_notify(self._tls)
                await self._flush()
            self._socket.shutdown(socket.SHUT_WR)
            # Closing with unread bytes would send RST, which can take the last reply away from the client.
            while self._socket.recv(_READ_BYTES):
                pass
        except OSError:
            # Nothing left to read, or the client was faster: either way this end closes now.
            pass
        finally:
            self._socket.close()

    def reset(self) -> None:
        """Close with RST; safe to call twice."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()

    @staticmethod
    def _say_close_notify(tls: ssl.SSLObject) -> None:
        try:
            tls.unwrap()
        except ssl.SSLError:
            # The client's own close_notify has not come, and nobody waits for it.
            return

    async def _receive_raw(self) -> bytes:
        data = await self._loop.sock_recv(self._socket, _READ_BYTES)
        self.wire += data
        return data

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._socket, self._outgoing.read())
