"""A client for tests of connectors: no network, every request kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from genie_connect.http.client import Response
from genie_connect.http.errors import TransportError
from genie_connect.model.frozen import EMPTY, FrozenMap


@attrs.frozen(kw_only=True)
class Request:
    """What a connector asked for, header fields by lower-case name."""

    method: str
    url: str
    headers: FrozenMap[str]
    content: bytes
    timeout_s: float | None = None


class FakeHttpClient:
    """Answers each request with what ``answer`` makes of it: a ``Response``, or an error to raise.

    ``requests`` holds what was asked for, in order.
    """

    def __init__(self, answer: Callable[[Request], Response | TransportError]) -> None:
        self._answer = answer
        self.requests: list[Request] = []
        self.is_open = False

    async def open(self) -> None:
        """Take note that it was opened."""
        self.is_open = True

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = EMPTY,
        content: bytes = b"",
        timeout_s: float | None = None,
    ) -> Response:
        """Keep the request and give the answer to it."""
        lower = FrozenMap({name.lower(): value for name, value in headers.items()})
        request = Request(method=method, url=url, headers=lower, content=content, timeout_s=timeout_s)
        self.requests.append(request)
        answer = self._answer(request)
        if isinstance(answer, TransportError):
            raise answer
        return answer

    async def close(self) -> None:
        """Take note that it was closed."""
        self.is_open = False
