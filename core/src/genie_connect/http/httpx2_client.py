"""The client on httpx2's transport: its pool and HTTP/1.1, without redirects, cookies, proxies or decoding."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from genie_connect.http.answer import answer_of
from genie_connect.http.client import Limits, Response
from genie_connect.http.errors import NoAnswer, NotSent, TransportError
from genie_connect.http.prepare import Prepared, prepare
from genie_connect.http.target import Origin
from genie_connect.model.frozen import EMPTY

if TYPE_CHECKING:
    import httpcore2

_ERRORS: dict[type[Exception], tuple[type[TransportError], str, str]] = {
    httpx2.PoolTimeout: (NotSent, "pool", "no connection became free in time"),
    httpx2.ConnectTimeout: (NotSent, "time_out", "the connection was not made in time"),
    httpx2.ConnectError: (NotSent, "connect", "the connection was not made"),
    httpx2.UnsupportedProtocol: (NotSent, "refused_locally", "the scheme is not supported"),
    httpx2.LocalProtocolError: (NotSent, "refused_locally", "the request is not valid HTTP"),
    httpx2.WriteTimeout: (NoAnswer, "time_out", "the request could not be written in time"),
    httpx2.WriteError: (NoAnswer, "closed", "the connection broke while the request was written"),
    httpx2.ReadTimeout: (NoAnswer, "time_out", "no answer came in time"),
    httpx2.ReadError: (NoAnswer, "closed", "the connection broke before the answer was whole"),
    httpx2.CloseError: (NoAnswer, "closed", "the connection broke before the answer was whole"),
    httpx2.RemoteProtocolError: (NoAnswer, "protocol", "the connection ended, or what came is not HTTP"),
    TimeoutError: (NoAnswer, "time_out", "the exchange did not end in time"),
    OSError: (NoAnswer, "closed", "the connection broke"),  # what anyio lets through, as a broken TLS record
    httpx2.TransportError: (NoAnswer, "protocol", "the exchange failed"),
}
"""httpx2's errors, the special before the general. Where writing has begun, none of them is ``NotSent``."""

_CONNECT_CAUSES: dict[type[Exception], tuple[str, str]] = {
    socket.gaierror: ("dns", "the host name cannot be resolved"),
    ssl.SSLCertVerificationError: ("certificate", "the server's certificate is not trusted"),
    ssl.SSLError: ("tls", "the TLS handshake failed"),
}


class Httpx2Client:
    """An ``HttpClient``. Use ``open_client`` to make one."""

    def __init__(self, origin: Origin, *, limits: Limits, ca_file: Path | None = None) -> None:
        self._origin = origin
        self._limits = limits
        self._ca_file = ca_file
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def open(self) -> None:
        """Make the pool. Connects to nothing."""
        if self._transport is None:
            # The transport below the client: no environment, cookies or log lines with URLs come between.
            self._transport = httpx2.AsyncHTTPTransport(
                verify=tls_context(self._ca_file) if self._origin.scheme == "https" else _trusting_nobody(),
                trust_env=False,
                limits=httpx2.Limits(
                    max_connections=self._limits.max_connections,
                    max_keepalive_connections=self._limits.max_connections,
                    keepalive_expiry=self._limits.keepalive_s,
                ),
            )

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

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
        transport = self._transport
        if transport is None:
            raise NotSent("refused_locally", "the client is closed")
        prepared = prepare(self._origin, self._limits, method, url, headers, timeout_s)
        progress = _Progress()
        request = self._request(method, prepared, content, progress)
        try:
            async with asyncio.timeout(prepared.total_s):
                return await self._exchange(transport, request, progress)
        except TransportError:
            raise
        except (httpx2.TransportError, OSError) as error:
            failure = _failure(error, progress)
        finally:
            await progress.close_unfinished()
        # Outside the handler: the chain of an httpx2 error may quote what was to be sent.
        raise failure

    def _request(self, method: str, prepared: Prepared, content: bytes, progress: _Progress) -> httpx2.Request:
        limits = self._limits
        extensions = {
            "timeout": {
                "pool": limits.connect_s,
                "connect": limits.connect_s,
                "read": limits.read_s,
                "write": limits.read_s,
            },
            "trace": progress.note,
        }
        return httpx2.Request(method, prepared.url, headers=prepared.headers, content=content, extensions=extensions)

    async def _exchange(
        self, transport: httpx2.AsyncHTTPTransport, request: httpx2.Request, progress: _Progress
    ) -> Response:
        answer = await transport.handle_async_request(request)
        progress.status = answer.status_code
        try:
            most_bytes = self._limits.max_response_bytes
            return await answer_of(answer.status_code, answer.headers.raw, answer.aiter_raw(), most_bytes=most_bytes)
        finally:
            await answer.aclose()


class _Progress:
    """How far one request has come, as httpcore2's extension ``trace`` tells it."""

    def __init__(self) -> None:
        self.writing = False
        self.status: int | None = None
        self._handshaking: httpcore2.AsyncNetworkStream | None = None

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Take in one trace event."""
        if event == "connection.connect_tcp.complete":
            self._handshaking = info["return_value"]
        elif event == "connection.start_tls.complete":
            self._handshaking = None
        elif not event.startswith(("connection.connect_tcp.", "connection.start_tls.")):
            # Whatever is not part of connecting counts as writing: a wrong guess may cost a repetition, not a copy.
            self._handshaking = None
            self.writing = True

    async def close_unfinished(self) -> None:
        """Close the socket of a handshake that was cancelled; httpcore2 2.16 leaves it open."""
        stream, self._handshaking = self._handshaking, None
        if stream is not None:
            await stream.aclose()


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that checks certificates and names, against ``ca_file`` alone where given."""
    if ca_file is not None:
        context = ssl.create_default_context(cafile=str(ca_file))
    else:
        context = httpx2.create_ssl_context(trust_env=False)
    # Neither client speaks HTTP/2; httpx2 would say so itself, aiohttp would say nothing.
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting_nobody() -> ssl.SSLContext:
    # Plain HTTP has no use for a context, and loading the system's certificates costs tens of milliseconds.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _failure(error: Exception, progress: _Progress) -> TransportError:
    kind, reason, message = next(entry for known, entry in _ERRORS.items() if isinstance(error, known))
    if isinstance(error, httpx2.ConnectError):
        reason, message = _connect_cause(error) or (reason, message)
    if isinstance(error, OSError) and not progress.writing:
        # Not an error of reading or writing, but the limit on the whole, or a socket that was never connected.
        kind, message = NotSent, "the connection was not made"
    if kind is NoAnswer or progress.writing:
        return NoAnswer(reason, message, status=progress.status)
    return NotSent(reason, message)


def _connect_cause(error: BaseException | None) -> tuple[str, str] | None:
    while error is not None:
        for known, entry in _CONNECT_CAUSES.items():
            if isinstance(error, known):
                return entry
        error = error.__cause__ or error.__context__
    return None
