"""Signing beside a busy event loop.

An RSA-2048 signature takes some 0.3 ms, in which OpenSSL lets go of the interpreter lock. Once, that is nothing to an
event loop; two or three thousand a second are all that it can do. So the loop signs for itself as long as that takes a
small share of its time, and hands what goes beyond to threads, several messages together.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import attrs

from genie_connect.clock import Clock, SystemClock
from genie_connect.mime.composer import Composed
from genie_connect.mime.dkim import DkimSigner

INLINE_SHARE: Final = 0.2
"""The part of the loop's time that may go into signing."""
BURST_S: Final = 0.01
"""How much of it may be used at once, after a pause."""
GROUP: Final = 16
"""Messages that a thread takes together."""
_INLINE_BYTES: Final = 64 * 1024
_MAX_THREADS: Final = 4


@attrs.frozen(eq=False)
class _Request:
    composed: Composed
    now: datetime
    signed: asyncio.Future[Composed]


class SigningPool:
    """Signs messages without holding the event loop up. It has nothing to close."""

    def __init__(self, signer: DkimSigner, *, clock: Clock | None = None, threads: int | None = None) -> None:
        self.signer = signer
        self._clock = clock or SystemClock()
        self._threads = threads or min(_MAX_THREADS, os.cpu_count() or 1)
        self._busy: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Request] = deque()
        self._allowed_s = BURST_S
        self._at = self._clock.monotonic()

    async def sign(self, composed: Composed, *, now: datetime) -> Composed:
        """The message with its signature, signed at ``now``. Raises what reading its files raises."""
        if self._may_sign_here(composed):
            begun = self._clock.monotonic()
            result = self._signed(composed, now)
            self._allowed_s -= self._clock.monotonic() - begun
            return result
        return await self._hand_over(composed, now)

    async def sign_all(self, messages: Sequence[Composed], *, now: datetime) -> list[Composed]:
        """Many messages with their signatures, all of them in threads. Raises what reading their files raises."""
        return await asyncio.gather(*[self._hand_over(composed, now) for composed in messages])

    def _signed(self, composed: Composed, now: datetime) -> Composed:
        return composed.signed(self.signer.sign(composed.head, composed.body_chunks(), now=now))

    def _may_sign_here(self, composed: Composed) -> bool:
        if not composed.in_memory or composed.size_bytes > _INLINE_BYTES:
            return False
        now = self._clock.monotonic()
        self._allowed_s = min(BURST_S, self._allowed_s + (now - self._at) * INLINE_SHARE)
        self._at = now
        return self._allowed_s > 0

    def _hand_over(self, composed: Composed, now: datetime) -> asyncio.Future[Composed]:
        loop = asyncio.get_running_loop()
        request = _Request(composed, now, loop.create_future())
        self._waiting.append(request)
        if len(self._busy) < self._threads:
            # It begins in the next round of the loop, so that what comes in this one goes together.
            task = loop.create_task(self._work(), name="DKIM signing")
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        return request.signed

    async def _work(self) -> None:
        while self._waiting:
            # Divided over the threads, where few wait.
            size = min(GROUP, -(-len(self._waiting) // self._threads))
            group = [self._waiting.popleft() for _ in range(size)]
            try:
                results = await asyncio.to_thread(self._sign_group, group)
            except BaseException:
                for request in group:
                    request.signed.cancel()
                raise
            for request, result in zip(group, results, strict=True):
                if request.signed.done():
                    continue  # whoever waited for it was cancelled
                if isinstance(result, Composed):
                    request.signed.set_result(result)
                else:
                    request.signed.set_exception(result)

    def _sign_group(self, group: Sequence[_Request]) -> list[Composed | Exception]:
        return [self._attempt(request) for request in group]

    def _attempt(self, request: _Request) -> Composed | Exception:
        try:
            return self._signed(request.composed, request.now)
        except Exception as error:  # noqa: BLE001  # raised again where the message is waited for
            return error
