"""Webhooks over HTTP: an ASGI application that hands each request to a host and answers with what the host says.

::

    async with Host.open("genie-connect.toml") as host:
        app = WebhookReceiver(host)   # for uvicorn, hypercorn, or mounted in Starlette, FastAPI, Django

A connection's webhook is posted to ``/NAME``, or to ``/NAME/SECRET`` where the provider can send its secret in the path
only. It needs no framework; what a server in front of it limits (header size, slow clients) is limited there as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from genie_connect.clock import Clock, SystemClock
from genie_connect.contract import WebhookRequest
from genie_connect.delivery.intake import WebhookResult
from genie_connect.host import Host
from genie_connect.model.frozen import FrozenMap
from genie_connect.registry.isolation import log_failure

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_logger = logging.getLogger("genie_connect.webhooks")
MAX_BODY_BYTES: Final = 1_000_000
READ_TIMEOUT_S: Final = 10.0
MAX_AT_ONCE: Final = 64
MAX_QUERY_FIELDS: Final = 50
ALLOWED: Final = "POST, HEAD"
ORIGIN: Final = b"webhook-request-origin"
"""CloudEvents, HTTP 1.1 Web Hooks for Event Delivery, section 4: https://github.com/cloudevents/spec"""
_WORDS: Final[Mapping[int, bytes]] = {
    200: b"ok\n",
    400: b"bad request\n",
    401: b"not signed, or not by this connection's provider\n",
    404: b"not found\n",
    405: b"method not allowed\n",
    408: b"too slow\n",
    413: b"too large\n",
    415: b"unsupported media type\n",
    503: b"try again later\n",
}
"""What is answered. Why something was refused is for the log: whoever guesses is told nothing."""


class WebhookReceiver:
    """An ASGI application over an open host.

    ``max_body_bytes`` has to be larger where inbound messages come with their attachments. ``read_timeout_s`` is for
    the whole body, and ``max_at_once`` requests are read at a time: the rest is answered 503, and comes again.
    """

    def __init__(
        self,
        host: Host,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_at_once: int = MAX_AT_ONCE,
        clock: Clock | None = None,
    ) -> None:
        self._host = host
        self._max_body_bytes = max_body_bytes
        self._read_timeout_s = read_timeout_s
        self._places = max_at_once
        self._clock = clock or SystemClock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of the server: ``http``, or ``lifespan``, which is only acknowledged."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _answer(send, await self._handle(scope, receive), with_body=scope["method"] != "HEAD")
        else:
            raise ValueError(f"this application takes http, not {scope['type']}")

    async def _handle(self, scope: Scope, receive: Receive) -> WebhookResult:
        if scope["method"] == "HEAD":
            return WebhookResult()  # how some providers look whether there is anybody
        if scope["method"] != "POST" and not _asks_permission(scope):
            return WebhookResult(status=405)
        if self._places <= 0:
            return WebhookResult(status=503)
        self._places -= 1
        try:
            return await self._take(scope, receive)
        except Exception as error:  # noqa: BLE001  # a defect of ours must not end the server's connection
            log_failure(_logger, error, "a webhook could not be handled")
            return WebhookResult(status=503)
        finally:
            self._places += 1

    async def _take(self, scope: Scope, receive: Receive) -> WebhookResult:
        path = _below_root(scope)
        headers = _joined(scope["headers"])
        received_at = self._clock.now()
        if _announced(headers) > self._max_body_bytes:
            return WebhookResult(status=413)
        try:
            async with asyncio.timeout(self._read_timeout_s):
                body = await _body(receive, self._max_body_bytes)
        except TimeoutError:
            return WebhookResult(status=408)
        if body is None:
            return WebhookResult(status=413)
        request = WebhookRequest(
            method=scope["method"],
            path=path,
            headers=headers,
            query=_query(scope.get("query_string", b"")),
            body=body,
            received_at=received_at,
        )
        name = path.strip("/").partition("/")[0]
        return await self._host.webhook(name, request)


def _asks_permission(scope: Scope) -> bool:
    """Whether it is the request by which CloudEvents asks before it posts; most providers ask nothing."""
    return scope["method"] == "OPTIONS" and any(name.lower() == ORIGIN for name, _ in scope["headers"])


def _below_root(scope: Scope) -> str:
    # A server that mounts us says where in root_path; whether the path repeats it differs between them.
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> FrozenMap[str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        # A field that comes twice is one value (RFC 9110 section 5.3): a second signature is never tried by itself.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return FrozenMap(headers)


def _announced(headers: Mapping[str, str]) -> int:
    given = headers.get("content-length", "0")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0


def _query(raw: bytes) -> FrozenMap[str]:
    try:
        return FrozenMap(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        return FrozenMap()


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The body; ``None`` where it is longer, or the client has gone."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            return None
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def _answer(send: Send, result: WebhookResult, *, with_body: bool) -> None:
    status = result.status
    body = result.answer.encode() or _WORDS.get(status, b"refused\n")
    kind = b"application/json" if result.answer else b"text/plain; charset=utf-8"
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in result.headers.items()]
    if status == 401:
        # Some providers send user and password only when they are asked to (Amazon SNS).
        headers.append((b"www-authenticate", b'Basic realm="webhooks", charset="UTF-8"'))
    if status == 405:
        headers.append((b"allow", ALLOWED.encode()))
    if status == 503:
        headers.append((b"retry-after", b"30"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if with_body else b""})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
