"""Access tokens of OAuth 2.0 (RFC 6749): one is fetched for all who wait for it, and renewed before it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import attrs

from genie_connect.api.call import object_in, text_at
from genie_connect.clock import Clock
from genie_connect.errors import SecretUnavailable
from genie_connect.http import HttpClient, NotSent, Response, TransportError, retry_after_s
from genie_connect.model.secret import MASK
from genie_connect.model.text import clean_reply

RENEWED_BEFORE_S = 300.0
"""How long before its end a token is renewed; a short-lived one when a fifth of its time is left."""
AGAIN_AFTER_S = 10.0
"""How long after a renewal was begun the next may be, while the token is still good: a failed one is not repeated with
every message."""
UNSAID_S = 300.0
"""How long a token is used whose answer names no end."""
# A token lasts for an hour or so: a connection that is kept for the next one is kept for nothing.
_HEADERS = {
    "content-type": "application/x-www-form-urlencoded",
    "accept": "application/json",
    "connection": "close",
}
_SECRET = ("client_secret", "refresh_token", "assertion")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{1,16000}=*\Z")  # RFC 6750 section 2.1
_BUSY = frozenset({408, 425, 429})


@attrs.frozen(kw_only=True, repr=False)
class _Token:
    bearer: str
    renew_at: float
    ends_at: float


class TokenSource:
    """The tokens of one connection. Nothing is fetched before somebody asks.

    ``grant`` gives the form that is posted to ``path``, with the credentials in it; it may raise
    ``SecretUnavailable``. Every failure is a ``NotSent``: without a token nothing is handed over. Its reason is
    ``auth`` where the credentials are refused.
    """

    def __init__(self, client: HttpClient, path: str, grant: Callable[[], Mapping[str, str]], clock: Clock) -> None:
        self._client = client
        self._path = path
        self._grant = grant
        self._clock = clock
        self._token: _Token | None = None
        self._served = ""
        self._begun = float("-inf")
        self._task: asyncio.Task[_Token] | None = None

    async def bearer(self, timeout_s: float) -> str:
        """A token that has not ended. Raises ``NotSent``."""
        token, now = self._token, self._clock.monotonic()
        if token is None or now >= token.ends_at:
            token = await self._awaited(timeout_s)
        elif now >= max(token.renew_at, self._begun + AGAIN_AFTER_S):
            self._fetching()  # this one is still good, so nobody waits for the next
        return token.bearer

    def served(self, bearer: str) -> None:
        """The provider has taken this token."""
        self._served = bearer

    def refused(self, bearer: str) -> bool:
        """The provider takes this token no more; whether another may do better.

        One that never served is no use for another reason than its age. The next who asks has a new one all the same:
        by then somebody may have mended its rights.
        """
        if self._token is not None and self._token.bearer != bearer:
            return True
        self._token = None
        return bearer == self._served

    async def close(self) -> None:
        """Give up what is being fetched, and close the client."""
        if self._task is not None:
            self._task.cancel()
        await self._client.close()

    async def _awaited(self, timeout_s: float) -> _Token:
        task = self._fetching()
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(task)
        except TimeoutError:
            failure = NotSent("time_out", "the token endpoint gave no answer in time")
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if not task.cancelled() or (me is not None and me.cancelling()):
                raise
            failure = NotSent("closed", "the connection was closed before there was a token")
        raise failure

    def _fetching(self) -> asyncio.Task[_Token]:
        if self._task is None or self._task.done():
            self._begun = self._clock.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._fetched(), name="OAuth token")
            self._task.add_done_callback(_heard)
        return self._task

    async def _fetched(self) -> _Token:
        now = self._clock.monotonic()
        try:
            form = self._grant()
        except SecretUnavailable as error:
            raise NotSent("auth", error.message, hint=error.hint) from None
        try:
            response = await self._client.request(
                "POST", self._path, headers=_HEADERS, content=urlencode(form).encode("ascii")
            )
        except TransportError as error:
            raise NotSent(error.reason, f"the token endpoint: {error.message}") from None
        self._token = _read(response, form, now, retry_after_s(response.headers, self._clock.now()))
        return self._token


def _heard(task: asyncio.Task[_Token]) -> None:
    # Whoever waited may be gone by now; asyncio would complain that nobody heard of the failure.
    if not task.cancelled():
        task.exception()


def _read(response: Response, form: Mapping[str, str], now: float, wait_s: float | None) -> _Token:
    data = object_in(response)
    if response.status in _BUSY or response.status >= 500:
        raise NotSent("busy", f"the token endpoint answered {response.status}", retry_after_s=wait_s)
    if not response.ok:
        raise NotSent("auth", f"the token endpoint gave no token: {_said(data, form) or response.status}")
    bearer, kind = text_at(data, "access_token"), text_at(data, "token_type")
    if bearer is None or kind is None or kind.lower() != "bearer" or not _BEARER.match(bearer):
        raise NotSent("protocol", "the token endpoint's answer holds no bearer token")
    lasts_s = _seconds(data.get("expires_in"))
    ends_at = now + lasts_s
    return _Token(bearer=bearer, renew_at=ends_at - min(RENEWED_BEFORE_S, lasts_s / 5), ends_at=ends_at)


def _seconds(value: Any) -> float:
    text = str(value)
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else UNSAID_S


def _said(data: Mapping[str, Any], form: Mapping[str, str]) -> str:
    """What an error says (RFC 6749 section 5.2), without any secret that it may repeat."""
    said = ": ".join(text for text in (text_at(data, "error"), text_at(data, "error_description")) if text)
    for name in _SECRET:
        if form.get(name):
            said = said.replace(form[name], MASK)
    return clean_reply(said)
