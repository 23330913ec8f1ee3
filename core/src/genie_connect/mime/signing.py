"""Signing beside a busy event loop.

An RSA signature takes some 0.3 ms (2048 bits), in which OpenSSL lets go of the interpreter lock. One of them is nothing
to an event loop, and handing it to a thread would cost half as much; many in one turn of the loop hold up everything
else. So each turn has a little time for signing, and what goes beyond it goes to threads, several messages together. An
Ed25519 signature is mostly Python, which threads only slow down: what goes beyond waits for the next turn.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import attrs

from genie_connect.mime.composer import Composed
from genie_connect.mime.dkim import DkimSigner
from genie_connect.mime.dkim_key import Algorithm

TURN_S: Final = 0.002
"""How much of one turn of the loop may go into signatures."""
GROUP: Final = 8
"""Messages that a thread takes together."""
_INLINE_BYTES: Final = 64 * 1024
_MAX_THREADS: Final = 4


@attrs.frozen(eq=False)
class _Request:
    composed: Composed
    now: datetime
    signed: asyncio.Future[Composed]


class SigningPool:
    """Signs messages without holding up the event loop that it is used in, which is one. It has nothing to close."""

    def __init__(
        self, signer: DkimSigner, *, threads: int | None = None, timer: Callable[[], float] = time.perf_counter
    ) -> None:
        self.signer = signer
        self._timer = timer
        self._releases_lock = any(key.algorithm is Algorithm.RSA_SHA256 for key in signer.keys)
        self._threads = threads or min(_MAX_THREADS, os.cpu_count() or 1)
        self._busy: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Request] = deque()
        self._cost_s: float | None = None  # of one signature
        self._turn_s = 0.0  # what this turn has spent

    def sign_now(self, composed: Composed, *, now: datetime) -> Composed | None:
        """The message with its signature, or ``None`` where ``sign`` would wait for a thread or for the next turn."""
        if not composed.in_memory or composed.size_bytes > _INLINE_BYTES:
            return None
        if self._turn_is_full() and (self._turn_s or self._releases_lock):
            return None
        return None if self._releases_lock and self._busy else self._sign_here(composed, now)

    async def sign(self, composed: Composed, *, now: datetime) -> Composed:
        """The message with its signature, signed at ``now``. Raises what reading its files raises.

        Called for many at once, as by ``asyncio.gather``, it hands them to the threads in groups.
        """
        if not composed.in_memory or composed.size_bytes > _INLINE_BYTES:
            return await self._hand_over(composed, now)
        if self._releases_lock and (self._busy or self._turn_is_full()):
            # While threads sign, the loop would only compete with them.
            return await self._hand_over(composed, now)
        while self._turn_s and self._turn_is_full():  # noqa: ASYNC110  # for no event: every turn has time again
            await asyncio.sleep(0)
        return self._sign_here(composed, now)

    def _sign_here(self, composed: Composed, now: datetime) -> Composed:
        if not self._turn_s:
            asyncio.get_running_loop().call_soon(self._next_turn)
        result, took_s = self._signed(composed, now)
        self._turn_s += took_s
        return result

    def _signed(self, composed: Composed, now: datetime) -> tuple[Composed, float]:
        begun = self._timer()
        result = composed.below(self.signer.sign(composed.head, composed.body_chunks(), now=now))
        took_s = self._timer() - begun
        # The least of all counts, wherever it was made: one that had to wait for something says nothing of the next.
        self._cost_s = took_s if self._cost_s is None else min(self._cost_s, took_s)
        return result, took_s

    def _turn_is_full(self) -> bool:
        return self._turn_s + (self._cost_s or 0.0) > TURN_S

    def _next_turn(self) -> None:
        self._turn_s = 0.0

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
            return self._signed(request.composed, request.now)[0]
        except Exception as error:  # noqa: BLE001  # raised again where the message is waited for
            return error
