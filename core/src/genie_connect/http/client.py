"""The HTTP client that connectors see: three methods, one origin, and errors that say whether a request left."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import attrs

from genie_connect.http.target import Origin
from genie_connect.model.frozen import EMPTY, FrozenMap


@attrs.frozen(kw_only=True, repr=False)
class Response:
    """A whole response: ``headers`` by lower-case name, ``body`` as it came."""

    status: int
    headers: FrozenMap[str] = EMPTY
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status <= 299

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"


@attrs.frozen(kw_only=True)
class Limits:
    """How long a request may take and how much may come back.

    ``connect_s`` holds for each of waiting for the pool, TCP and TLS (with aiohttp for all of them together),
    ``read_s`` for the silence between two pieces of the answer, ``total_s`` for everything together. ``keepalive_s``
    is short on purpose: a server that closes an idle connection just as a request leaves on it turns that request into
    an unknown.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 60.0
    max_response_bytes: int = 4_000_000
    max_connections: int = 20
    keepalive_s: float = 15.0


class HttpClient(Protocol):
    """Requests to one origin over a pool of kept-alive connections."""

    async def open(self) -> None:
        """Make the pool. Connects to nothing."""
        ...

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = EMPTY,
        content: bytes = b"",
        timeout_s: float | None = None,
    ) -> Response:
        """One request and its answer, whatever its status; redirects are answers too.

        ``url`` is a path below the base URL, or an absolute URL of the same origin. ``timeout_s`` bounds the whole
        exchange, within the client's own limit. Raises ``NotSent`` and ``NoAnswer``, and nothing else.
        """
        ...

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        ...


class Library(StrEnum):
    """Who speaks HTTP. Both do the same."""

    HTTPX2 = "httpx2"
    """the usual one"""
    AIOHTTP = "aiohttp"
    """less work for each request"""


async def open_client(
    base_url: str,
    *,
    limits: Limits | None = None,
    ca_file: Path | None = None,
    library: Library = Library.HTTPX2,
) -> HttpClient:
    """An open client for the origin of ``base_url``, whose path goes before every path that is asked for.

    TLS certificates are always checked, against ``ca_file`` (PEM) where given and the system's store otherwise.
    Raises ``ValueError`` for a URL that is not plain http or https, ``OSError`` for a CA file that cannot be read,
    and ``ModuleNotFoundError`` without the extra ``http``, or for aiohttp without the extra ``aiohttp``.
    """
    origin, limits = Origin.of(base_url), limits or Limits()
    client: HttpClient
    # Each costs about 100 ms: it is paid by whoever opens an API connection, not by whoever lists connectors.
    if library is Library.AIOHTTP:
        from genie_connect.http.aiohttp_client import AiohttpClient

        client = AiohttpClient(origin, limits=limits, ca_file=ca_file)
    else:
        from genie_connect.http.httpx2_client import Httpx2Client

        client = Httpx2Client(origin, limits=limits, ca_file=ca_file)
    await client.open()
    return client
