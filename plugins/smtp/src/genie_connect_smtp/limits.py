"""How long to wait for what (RFC 5321 section 4.5.3.2), never beyond the attempt's deadline."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.stages import Stage

DATA_TIMEOUT_S: Final = 120.0  # section 4.5.3.2.4
BLOCK_TIMEOUT_S: Final = 180.0  # section 4.5.3.2.5
MIN_BYTES_PER_S: Final = 2048
"""A server that takes the content slower than this for long is taken for stuck."""
QUIT_TIMEOUT_S: Final = 2.0
"""Nothing depends on the answer to QUIT or RSET, so nobody waits long for it."""


class Context(Protocol):
    """What an attempt and a test have in common: how much time is left."""

    def remaining_s(self) -> float:
        """Seconds until everything must have ended."""
        ...


class Limits:
    """The waiting times of one attempt."""

    def __init__(self, settings: SmtpSettings, context: Context) -> None:
        connect, reply = settings.connect_timeout_s, settings.reply_timeout_s
        self._context = context
        self._by_stage = {
            Stage.RESOLVE: connect,
            Stage.CONNECT: connect,
            Stage.TLS: connect,
            Stage.GREETING: connect,
            Stage.STARTTLS: connect,
            Stage.EHLO: reply,
            Stage.AUTH: reply,
            Stage.MAIL: reply,
            Stage.RCPT: reply,
            Stage.DATA: min(reply, DATA_TIMEOUT_S),
            Stage.BODY: BLOCK_TIMEOUT_S,
            Stage.FINAL: settings.final_timeout_s,
            Stage.RSET: QUIT_TIMEOUT_S,
        }

    @property
    def over(self) -> bool:
        """Whether no time is left at all."""
        return self._context.remaining_s() <= 0

    @property
    def remaining_s(self) -> float:
        """Seconds that are left of the attempt."""
        return self._context.remaining_s()

    def seconds(self, stage: Stage) -> float:
        """The longest wait for one reply at this stage, whatever is left of the attempt."""
        return self._by_stage[stage]

    def attempt(self) -> asyncio.Timeout:
        """The time limit of the attempt itself, for waits that the server has no part in."""
        return asyncio.timeout(self._context.remaining_s())

    def at(self, stage: Stage) -> asyncio.Timeout:
        """The time limit of one wait at this stage."""
        return asyncio.timeout(min(self._by_stage[stage], self._context.remaining_s()))

    def body_s(self, size_bytes: int) -> float:
        """The longest time for the content as a whole, whatever is left of the attempt."""
        return BLOCK_TIMEOUT_S + size_bytes / MIN_BYTES_PER_S
