"""From a host name to a connected socket: one look-up at a time, each address in turn."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import Any, Final, TypeAlias

import attrs

ADDRESS_TIMEOUT_S: Final = 5.0
"""An address that does not answer must not use up the time of those behind it."""


@attrs.frozen
class Endpoint:
    """An address to connect to."""

    family: int
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        return str(self.sockaddr[0])


Endpoints: TypeAlias = tuple[Endpoint, ...]


class Resolver:
    """Looks up one host name.

    A look-up cannot be interrupted, so at most one is under way: whoever asks meanwhile waits for the same answer, and
    a name server that hangs holds one thread, not one for each message.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._pending: asyncio.Future[Endpoints] | None = None

    async def endpoints(self) -> Endpoints:
        """The addresses of the host in the system's order. Raises ``OSError``; has no time limit of its own."""
        literal = _literal(self._host, self._port)
        if literal is not None:
            return (literal,)
        if self._pending is None:
            self._pending = self._start()
        # The look-up serves others as well, so one impatient caller must not cancel it.
        return await asyncio.shield(self._pending)

    def _start(self) -> asyncio.Future[Endpoints]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Endpoints] = loop.create_future()

        def done(result: Endpoints | OSError) -> None:
            self._pending = None
            if future.cancelled():
                return
            if isinstance(result, OSError):
                future.set_exception(result)
                future.exception()  # nobody may be waiting any more
            else:
                future.set_result(result)

        def look_up() -> None:
            result = _look_up(self._host, self._port)
            # The loop may have been closed while the name server kept us waiting.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done, result)

        # A daemon: a hanging name server must not keep the process from ending.
        threading.Thread(target=look_up, name=f"resolve {self._host}", daemon=True).start()
        return future


async def connect(endpoints: Endpoints) -> tuple[socket.socket, Endpoint, tuple[str, ...]]:
    """A connected socket, the address it leads to, and notes on the addresses that failed before it.

    Raises the last ``OSError``, ``TimeoutError`` among them, if none can be reached.
    """
    failed: list[str] = []
    last: OSError = OSError("the name has no address")
    for endpoint in endpoints:
        try:
            async with asyncio.timeout(ADDRESS_TIMEOUT_S if len(endpoints) > 1 else None):
                return await _connected(endpoint), endpoint, tuple(failed)
        except TimeoutError as error:
            # One limit for this address, or the caller's for all of them: the latter is not caught here.
            failed.append(f"{endpoint}: no answer")
            last = error
        except OSError as error:
            failed.append(f"{endpoint}: {error.strerror or 'failed'}")
            last = error
    raise last


async def _connected(endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Commands are small and each waits for its reply: Nagle's algorithm would only hold them back.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, endpoint.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def _literal(host: str, port: int) -> Endpoint | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return Endpoint(socket.AF_INET, (str(address), port))
    return Endpoint(socket.AF_INET6, (str(address), port, 0, 0))


def _look_up(host: str, port: int) -> Endpoints | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError:
        # A label that IDNA cannot encode: no such name can exist.
        return socket.gaierror(socket.EAI_NONAME, "not a host name")
    return tuple(dict.fromkeys(Endpoint(int(family), tuple(sockaddr)) for family, _, _, _, sockaddr in found))
