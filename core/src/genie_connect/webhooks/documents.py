"""Documents that a parser asks for (``WebhookNeeds``): fetched in one place, within bounds, and kept.

The address stands in a request that nobody has verified yet. A parser lets through only what its own pattern allows;
here it is fetched over HTTPS from the usual port, without following a redirect, one at a time and so many a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from genie_connect.clock import Clock, SystemClock
from genie_connect.http.client import Limits, open_client
from genie_connect.http.errors import TransportError
from genie_connect.registry.isolation import log_failure

Fetch: TypeAlias = Callable[[str], Awaitable[bytes | None]]
"""Fetches a document; ``None`` where it cannot be had now. Raises nothing."""
_logger = logging.getLogger("genie_connect.webhooks")
MOST_KEPT: Final = 32
MOST_A_MINUTE: Final = 10
LIMITS: Final = Limits(connect_s=5.0, read_s=5.0, total_s=10.0, max_response_bytes=65_536, max_connections=1)


class Documents:
    """Fetched documents by URL. They are public and do not change: SNS gives a new certificate a new name."""

    def __init__(self, fetch: Fetch | None = None, *, clock: Clock | None = None) -> None:
        self.fetch: Fetch = fetch or fetch_document
        """How one is fetched. A host behind a proxy puts its own here."""
        self._clock = clock or SystemClock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._asked: deque[float] = deque(maxlen=MOST_A_MINUTE)
        self._fetching = asyncio.Lock()

    def put(self, url: str, content: bytes) -> None:
        """Keep a document that the host has, so that it need not be fetched."""
        self._kept[url] = content
        self._kept.move_to_end(url)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    async def get(self, url: str) -> bytes | None:
        """A document, fetched if it is not kept yet; ``None`` where it cannot be had now."""
        if url not in self._kept:
            async with self._fetching:
                # Somebody else may have brought it meanwhile.
                if url not in self._kept and self._may_ask():
                    content = await self.fetch(url)
                    if content is not None:
                        self.put(url, content)
        return self._kept.get(url)

    def _may_ask(self) -> bool:
        now = self._clock.monotonic()
        if len(self._asked) == MOST_A_MINUTE and now - self._asked[0] < 60.0:
            _logger.warning("documents for webhooks were asked for %d times in a minute; no more now", MOST_A_MINUTE)
            return False
        self._asked.append(now)
        return True


async def fetch_document(url: str) -> bytes | None:
    """The body of a 200 answer, over HTTPS, without redirects. Needs the extra ``http``."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.netloc != parts.hostname:
        _logger.warning("a document for a webhook was asked for at a place that is not https://host/path")
        return None
    try:
        client = await open_client(f"https://{parts.netloc}", limits=LIMITS)
        try:
            answer = await client.request("GET", parts.path, timeout_s=LIMITS.total_s)
        finally:
            await client.close()
    except (TransportError, OSError, ValueError, ImportError) as error:
        log_failure(_logger, error, "a document for a webhook could not be fetched from %s", parts.hostname)
        return None
    return answer.body if answer.status == 200 else None
