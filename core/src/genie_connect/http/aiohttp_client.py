"""The client on aiohttp: its pool and HTTP/1.1 parser, without redirects, cookies, proxies or decoding."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import aiohttp
from yarl import URL

from genie_connect.http.answer import answer_of
from genie_connect.http.client import Limits, Response
from genie_connect.http.errors import NoAnswer, NotSent, TransportError
from genie_connect.http.httpx2_client import tls_context
from genie_connect.http.prepare import Prepared, prepare
from genie_connect.http.target import Origin
from genie_connect.model.frozen import EMPTY

_ERRORS: Final[dict[type[Exception], tuple[type[TransportError], str, str]]] = {
    aiohttp.ConnectionTimeoutError: (NotSent, "time_out", "the connection was not made in time"),
    aiohttp.ClientConnectorDNSError: (NotSent, "dns", "the host name cannot be resolved"),
    aiohttp.ClientConnectorCertificateError: (NotSent, "certificate", "the server's certificate is not trusted"),
    aiohttp.ClientConnectorSSLError: (NotSent, "tls", "the TLS handshake failed"),
    aiohttp.ClientConnectorError: (NotSent, "connect", "the connection was not made"),
    aiohttp.ServerTimeoutError: (NoAnswer, "time_out", "no answer came in time"),
    aiohttp.ServerDisconnectedError: (NoAnswer, "protocol", "the connection ended before the answer was whole"),
    aiohttp.ClientPayloadError: (NoAnswer, "protocol", "the connection ended before the answer was whole"),
    aiohttp.ClientOSError: (NoAnswer, "closed", "the connection broke"),
    aiohttp.ClientResponseError: (NoAnswer, "protocol", "what came is not HTTP"),
    TimeoutError: (NoAnswer, "time_out", "the exchange did not end in time"),
    OSError: (NoAnswer, "closed", "the connection broke"),
    aiohttp.ClientError: (NoAnswer, "protocol", "the exchange failed"),
}
"""aiohttp's errors, the special before the general. Where writing has begun, none of them is ``NotSent``."""
_OURS: Final = frozenset({"Accept", "Accept-Encoding", "User-Agent", "Content-Type"})
"""Header fields that aiohttp would add."""


class AiohttpClient:
    """An ``HttpClient``. Use ``open_client`` to make one."""

    def __init__(self, origin: Origin, *, limits: Limits, ca_file: Path | None = None) -> None:
        self._origin = origin
        self._limits = limits
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pool. Connects to nothing."""
        if self._session is not None:
            return
        limits = self._limits
        connector = aiohttp.TCPConnector(
            ssl=tls_context(self._ca_file) if self._origin.scheme == "https" else False,
            limit=limits.max_connections,
            keepalive_timeout=limits.keepalive_s,
            resolver=aiohttp.ThreadedResolver(),
            use_dns_cache=False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect_s, sock_read=limits.read_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OURS,
            auto_decompress=False,
            trust_env=False,
            middlewares=(_once,),
            trace_configs=[_traced()],
        )

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = EMPTY,
        content: bytes = b"",
        timeout_s: float | None = None,
    ) -> Response:
        """See ``HttpClient.request``."""
        session = self._session
        if session is None:
            raise NotSent("refused_locally", "the client is closed")
        prepared = prepare(self._origin, self._limits, method, url, headers, timeout_s)
        progress = _Progress()
        try:
            async with asyncio.timeout(prepared.total_s):
                return await self._exchange(session, method, prepared, content, progress)
        except TransportError:
            raise
        except _Broken as broken:
            failure = _failure(broken.error, progress)
        except (aiohttp.ClientError, OSError) as error:
            failure = _failure(error, progress)
        # Outside the handler: the chain of an aiohttp error may quote what was to be sent.
        raise failure

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, prepared: Prepared, content: bytes, progress: _Progress
    ) -> Response:
        request = session.request(
            method,
            URL(prepared.url, encoded=True),
            headers=prepared.headers,
            data=content or None,
            allow_redirects=False,
            trace_request_ctx=progress,
        )
        async with request as answer:
            progress.status = answer.status
            # One that is not read to its end is dropped with its connection.
            chunks = answer.content.iter_any()
            most_bytes = self._limits.max_response_bytes
            return await answer_of(answer.status, answer.raw_headers, chunks, most_bytes=most_bytes)


class _Broken(Exception):
    """A connection that broke. aiohttp makes a GET again when it sees its own error, which nobody asked for."""

    def __init__(self, error: aiohttp.ClientConnectionError) -> None:
        super().__init__()
        self.error = error


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectionError as error:
        raise _Broken(error) from None


class _Progress:
    """How far one request has come, as aiohttp's tracing tells it."""

    def __init__(self) -> None:
        self.queued = False
        self.writing = False
        self.status: int | None = None


def _traced() -> aiohttp.TraceConfig:
    """Tells each request's ``_Progress`` how far it has come."""

    async def queued(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.queued = True

    async def free(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.queued = False

    async def connected(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        # Whatever is not part of connecting counts as writing: a wrong guess may cost a repetition, not a copy.
        context.trace_request_ctx.writing = True

    traced = aiohttp.TraceConfig()
    traced.on_connection_queued_start.append(queued)
    traced.on_connection_queued_end.append(free)
    traced.on_connection_create_end.append(connected)
    traced.on_connection_reuseconn.append(connected)
    return traced


def _failure(error: Exception, progress: _Progress) -> TransportError:
    kind, reason, message = next(entry for known, entry in _ERRORS.items() if isinstance(error, known))
    if progress.writing:
        return NoAnswer(reason, message, status=progress.status)
    if progress.queued and isinstance(error, TimeoutError):
        return NotSent("pool", "no connection became free in time")
    if _is_of_tls(error):
        return NotSent("tls", "the TLS handshake failed")
    return NotSent(reason, message if kind is NotSent else "the connection was not made")


def _is_of_tls(error: BaseException | None) -> bool:
    """Whether a handshake failed in a way that aiohttp takes for a broken connection."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
