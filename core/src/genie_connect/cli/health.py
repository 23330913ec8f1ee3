"""A worker's health over HTTP, for whoever supervises it: ``GET /health`` and ``GET /live``.

No more of HTTP than that takes: one request a connection, answered and closed.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import click

from genie_connect.cli.errors import Failed

LOOPBACK: Final = "127.0.0.1"
REQUEST_TIMEOUT_S: Final = 5.0
MAX_REQUEST_BYTES: Final = 8192
_PLACE: Final = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.%]+\]|[^:\[\]]*):)?(?P<port>\d{1,5})")
Answer: TypeAlias = "tuple[HTTPStatus, dict[str, Any]]"


def place(given: str) -> tuple[str, int]:
    """Host and port from ``HOST:PORT`` or ``PORT``, which is on this machine alone."""
    found = _PLACE.fullmatch(given)
    if found is None or int(found["port"]) > 65_535:
        raise click.BadParameter(f"{given!r} is no place to listen on; write 127.0.0.1:8080, [::1]:8080 or 8080")
    return (found["host"] or "").strip("[]") or LOOPBACK, int(found["port"])


class HealthEndpoint:
    """The endpoint, while it is entered. ``look`` says whether all is well, and what is to be shown."""

    def __init__(self, host: str, port: int, look: Callable[[], tuple[bool, dict[str, Any]]]) -> None:
        self._host = host
        self._port = port
        self._look = look
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            raise Failed(
                f"--health: cannot listen on {self._host} port {self._port}",
                cause=error.strerror or type(error).__name__,
                hint="give another port, or 0 for a free one",
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it is."""
        if self._server is None:
            raise AssertionError("it is entered")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/health"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks so gets no answer
        finally:
            writer.close()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        status, shown = self._answer(method, path)
        body = json.dumps(shown).encode() + b"\n"
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == b"HEAD" else body)

    def _answer(self, method: bytes, path: bytes) -> Answer:
        if path not in (b"/health", b"/live"):
            return HTTPStatus.NOT_FOUND, {"error": "there are /health and /live"}
        if method not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "use GET"}
        if path == b"/live":
            return HTTPStatus.OK, {"live": True}
        well, shown = self._look()
        return (HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE), {"ok": well, **shown}
