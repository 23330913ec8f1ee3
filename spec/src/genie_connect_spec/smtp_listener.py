"""A listening socket that can also refuse, or leave the TCP handshake itself without an answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

_BACKLOG: Final = 512


class Listener:
    """A reserved port; until `listen` is called connecting to it is refused."""

    def __init__(self, host: str, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self._host = host
        self._receive_buffer_bytes = receive_buffer_bytes
        self._fillers: list[socket.socket] = []
        self._listening = False
        self._socket = self._bound(port)
        self.port: int = self._socket.getsockname()[1]

    def listen(self) -> None:
        """Accept connections from now on."""
        if not self._listening:
            self._socket.listen(_BACKLOG)
            self._listening = True

    def refuse(self) -> None:
        """Refuse connections from now on; the port stays reserved."""
        if self._listening:
            self._socket.close()
            self._socket = self._bound(self.port)
            self._listening = False

    async def leave_unanswered(self) -> None:
        """Let connection attempts hang: the backlog holds one connection, and a connection of our own fills it.

        Linux drops further SYN segments then (tcp(7), tcp_abort_on_overflow).
        """
        self.refuse()
        self._socket.listen(0)
        self._listening = True
        filler = socket.socket(self._socket.family)
        filler.setblocking(False)
        self._fillers.append(filler)
        await asyncio.get_running_loop().sock_connect(filler, (self._host, self.port))

    async def accept(self) -> socket.socket:
        """Return the next connection. None that has come is lost to a cancellation."""
        loop = asyncio.get_running_loop()
        while True:
            # In one step: what ``sock_accept`` brings is dropped, unclosed, where its task is cancelled just then.
            with contextlib.suppress(BlockingIOError):
                connection, _ = self._socket.accept()
                break
            readable = asyncio.Event()
            loop.add_reader(self._socket, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self._socket)
        connection.setblocking(False)
        # Each action is one segment; Nagle's algorithm would hold the second back for the first one's ACK.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
        for filler in self._fillers:
            filler.close()

    def _bound(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer_bytes is not None:
            # Accepted sockets inherit it, and the window offered in the handshake depends on it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)
        sock.bind((self._host, port))
        return sock
