"""A small HTTP/1.1 server on h11 and asyncio, for one handler."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable

import attrs
import h11

from genie_connect.model.frozen import EMPTY, FrozenMap


@attrs.frozen(kw_only=True)
class Call:
    """A request: ``headers`` by lower-case name, ``target`` with its query."""

    method: str
    target: str
    headers: FrozenMap[str]
    body: bytes


@attrs.frozen(kw_only=True)
class Answer:
    """A response."""

    status: int = 200
    headers: FrozenMap[str] = EMPTY
    body: bytes = b""


_log = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Answer | None]]
"""Answers a call, or returns ``None`` to have the connection closed without an answer."""


class HttpServer:
    """Listens while started; each connection has one call at a time."""

    def __init__(
        self,
        handler: Handler,
        *,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None = None,
        max_body_bytes: int,
    ) -> None:
        self.handler = handler
        self.host = host
        self.port = port
        self.max_body_bytes = max_body_bytes
        self.connections: set[_Connection] = set()
        self._ssl_context = ssl_context
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a port of 0 becomes the one that was free. Raises ``OSError`` if it cannot be bound."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: _Connection(self), self.host, self.port, ssl=self._ssl_context, backlog=512
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection. May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        dropped = tuple(self.connections)
        for connection in dropped:
            connection.drop()
        for connection in dropped:
            await connection.gone
        await asyncio.gather(*(connection.task for connection in dropped if connection.task), return_exceptions=True)
        await server.wait_closed()


class _Connection(asyncio.Protocol):
    def __init__(self, server: HttpServer) -> None:
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = loop.create_future()
        self._owner = server
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP and TLS give this subclass
        self._owner.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connections.discard(self)
        if self.task is not None:
            self.task.cancel()
        if not self.gone.done():
            self.gone.set_result(None)

    def drop(self) -> None:
        """Close without another byte."""
        self._transport.abort()

    def _read(self) -> None:
        try:
            # A type in place of an event says that there is none for now (NEED_DATA, PAUSED).
            while not isinstance(event := self._http.next_event(), type):
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)

    def _take(self, event: h11.Event) -> None:
        if isinstance(event, h11.Request):
            self._request, self._body = event, bytearray()
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
        elif isinstance(event, h11.Data) and self._request is not None:
            self._body += event.data
            if len(self._body) > self._owner.max_body_bytes:
                self._refuse(413)
        elif isinstance(event, h11.EndOfMessage) and self._request is not None and self.task is None:
            headers = FrozenMap(
                {name.decode("latin-1"): value.decode("latin-1") for name, value in self._request.headers}
            )
            call = Call(
                method=self._request.method.decode("ascii"),
                target=self._request.target.decode("ascii"),
                headers=headers,
                body=bytes(self._body),
            )
            self.task = asyncio.get_running_loop().create_task(self._answer(call))
        elif isinstance(event, h11.ConnectionClosed):
            self._transport.close()

    async def _answer(self, call: Call) -> None:
        try:
            answer = await self._owner.handler(call)
        except Exception:  # noqa: BLE001  # a client that waits for ever would hide the mistake; a 500 shows it
            _log.exception("the handler failed")
            answer = Answer(status=500)
        self.task = None
        if answer is None:
            self._transport.close()
            return
        self._send(answer)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._read()
        else:
            self._transport.close()

    def _send(self, answer: Answer) -> None:
        headers = {"content-type": "application/json", "content-length": str(len(answer.body)), **answer.headers}
        self._write(h11.Response(status_code=answer.status, headers=list(headers.items())))
        self._write(h11.Data(data=answer.body))
        self._write(h11.EndOfMessage())

    def _refuse(self, status: int) -> None:
        self._request = None
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(Answer(status=status, headers=FrozenMap({"connection": "close"})))
        self._transport.close()

    def _write(self, event: h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._http.send(event)
        if data:
            self._transport.write(data)
