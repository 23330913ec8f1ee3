"""A fake email API: answers as the author of the connector says, or misbehaves as the kit says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs

from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.provider import TURNS, HandedOver, Happenings, ServerThread

RETRY_AFTER_S: Final = 7
ELSEWHERE: Final = ("127.0.0.1", 9)
"""Where clients are redirected to, and nobody is."""
T = TypeVar("T")
_MAX_HEAD_BYTES: Final = 64 * 1024


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request as it came, header fields by lower-case name."""

    method: str
    target: str
    headers: FrozenMap[str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


def _header_map(given: Mapping[str, str]) -> FrozenMap[str]:
    return FrozenMap(given)


@attrs.frozen(kw_only=True)
class Answer:
    """What the provider says."""

    status: int = 200
    headers: FrozenMap[str] = attrs.field(default=EMPTY, converter=_header_map)
    body: bytes = b"{}"


def delivers(request: HttpRequest) -> bool:
    """Whether a request hands a message over, where the author says nothing else: every POST does."""
    return request.method == "POST"


_MISBEHAVED: Final = {
    Behaviour.GARBAGE: Answer(body=b"<html>\xff\xfe not what you expected"),
    Behaviour.BROKEN: Answer(status=500, body=b'{"message": "something broke"}'),
    Behaviour.THROTTLED: Answer(
        status=429, headers=FrozenMap({"retry-after": str(RETRY_AFTER_S)}), body=b'{"message": "too many requests"}'
    ),
    Behaviour.UNAUTHORIZED: Answer(status=401, body=b'{"message": "the key is not valid"}'),
    Behaviour.FORBIDDEN: Answer(status=403, body=b'{"message": "the key may not do this"}'),
}


class _Fault(Exception):
    """A function of the author raised; ``faults`` says which."""


class HttpProvider:
    """The server. ``requests`` holds every request that came whole, ``handed_over`` those that hand a message over,
    and ``answers`` what was answered to those.

    ``faults`` says where the author's own functions raised.
    """

    def __init__(
        self,
        answer: Callable[[HttpRequest], Answer],
        *,
        delivers: Callable[[HttpRequest], bool] = delivers,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.requests: list[HttpRequest] = []
        self.handed_over: list[HandedOver] = []
        self.answers: list[bytes] = []
        self.faults: list[str] = []
        self._answer = answer
        self._delivers = delivers
        self._ssl_context = ssl_context
        self._behaviour = Behaviour.NORMAL
        self._everywhere = False
        self._thread = ServerThread("kit HTTP provider")
        self._happenings = Happenings()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._thread.run(self._start())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.run(self._stop())
        self._thread.__exit__(exc_type, exc, traceback)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._ssl_context else 'http'}://{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._writers)

    def can(self, behaviour: Behaviour) -> bool:
        """HTTP knows all of them."""
        return True

    def behave(self, behaviour: Behaviour = Behaviour.NORMAL, *, everywhere: bool = False) -> None:
        """Treat hand-overs like this from now on, or every request."""
        self._behaviour, self._everywhere = behaviour, everywhere

    def forget(self) -> None:
        """Nothing was handed over so far, and nobody is connected."""
        if self._writers:
            self._thread.run(self._disconnect())
        self.requests.clear()
        self.handed_over.clear()
        self.answers.clear()
        self.faults.clear()

    async def received(self, count: int, timeout_s: float) -> None:
        """Return once so many hand-overs came. Raises ``TimeoutError``."""
        await self._happenings.until(lambda: len(self.handed_over) >= count, timeout_s)

    async def deserted(self, timeout_s: float) -> None:
        """Return once no client is connected any more. Raises ``TimeoutError``."""
        await self._thread.settled()
        await self._happenings.until(lambda: not self._writers, timeout_s)

    def knows(self, thread: int) -> bool:
        """Whether this is the server's thread."""
        return thread == self._thread.ident

    async def _start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, self.host, 0, ssl=self._ssl_context, limit=_MAX_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for _ in range(TURNS):  # a connection that was just accepted has its handler some turns of the loop later
            await asyncio.sleep(0)
        for writer in list(self._writers):
            writer.transport.abort()

    async def _disconnect(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        for _ in range(TURNS):
            if not self._writers:
                return
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                if not await self._treat(request, reader, writer):
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, _Fault):
            pass  # a client that went away, or speaks no HTTP; or an author who has to be told
        finally:
            await self._end(writer)

    def _of_the_author(self, name: str, function: Callable[[HttpRequest], T], request: HttpRequest) -> T:
        try:
            return function(request)
        except Exception as error:
            self.faults.append(f"{name}() raised {error!r:.200} for {request.method} {request.target[:100]}")
            raise _Fault from error

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        try:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        finally:
            # A client that reads no more would keep it open for ever.
            writer.transport.abort()
            self._writers.discard(writer)
            self._happenings.tell()

    async def _treat(self, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer, or not; whether the connection goes on."""
        delivers = self._of_the_author("delivers", self._delivers, request)
        behaviour = self._behaviour if self._everywhere or delivers else Behaviour.NORMAL
        self.requests.append(request)
        if delivers:
            self.handed_over.append(HandedOver(content=_as_sent(request)))
        self._happenings.tell()
        if behaviour is Behaviour.SILENT:
            await reader.read()
            return False
        if behaviour is Behaviour.CLOSED:
            return False
        if behaviour is Behaviour.REDIRECTING:
            answer = Answer(
                status=307, headers=FrozenMap({"location": f"http://{ELSEWHERE[0]}:{ELSEWHERE[1]}/"}), body=b""
            )
        else:
            answer = _MISBEHAVED.get(behaviour) or self._of_the_author("answer", self._answer, request)
        written = _written(answer)
        if delivers:
            self.answers.append(written)
        writer.write(written[:-1] if behaviour is Behaviour.TRUNCATED else written)
        await writer.drain()
        return behaviour not in (Behaviour.TRUNCATED, Behaviour.HASTY)


async def _read(reader: asyncio.StreamReader) -> HttpRequest | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = FrozenMap(
        {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    )
    body = await _body(reader, headers)
    return HttpRequest(method=method, target=target, headers=headers, body=body)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = bytearray()
    while size := int((await reader.readline()).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while (await reader.readline()).strip():
        pass  # trailers
    return bytes(body)


def _written(answer: Answer) -> bytes:
    headers = {"content-type": "application/json", "content-length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Kit", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + answer.body


def _as_sent(request: HttpRequest) -> bytes:
    lines = [f"{request.method} {request.target}", *(f"{name}: {value}" for name, value in request.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body
