"""How far commands may run ahead of their replies on one server, learned as we go: down at run time, never up.

::

    ONE_BY_ONE   MAIL | RCPT | DATA | content                 four round trips a message; every server
    ENVELOPE     MAIL RCPT DATA | content                     two;  PIPELINING (RFC 2920)
    NEXT         content, and the next MAIL RCPT DATA |       one;  PIPELINING
    CHUNKING     MAIL RCPT BDAT content RSET, many at once    less; PIPELINING and CHUNKING (RFC 3030)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from genie_connect_smtp.extensions import Extensions

_log = logging.getLogger(__name__)

MANY: Final = 16
"""Copies from which a batch is worth having several of them on their way at once."""


class Rung(IntEnum):
    """A rung of the ladder; a higher one has more on its way at once."""

    ONE_BY_ONE = 0
    ENVELOPE = 1
    NEXT = 2
    CHUNKING = 3


_TOP: Final[Mapping[str, Rung]] = MappingProxyType(
    {
        "auto": Rung.CHUNKING,
        "off": Rung.ONE_BY_ONE,
        "envelope": Rung.ENVELOPE,
        "next": Rung.NEXT,
        "chunking": Rung.CHUNKING,
    }
)


class Ladder:
    """What is known of one server. ``top`` is the highest rung that is left.

    ``chunking_works`` says that a message has gone through with BDAT and its replies could be told apart; until then
    no second one is sent before the first is answered. ``window`` and ``window_bytes`` are how much may be on its way
    with BDAT.
    """

    def __init__(self, pipelining: str = "auto", *, window: int = 16, window_bytes: int = 256 * 1024) -> None:
        self.top = _TOP[pipelining]
        self.window = window
        self.window_bytes = window_bytes
        self.chunking_works = False
        self._for_many_only = pipelining == "auto"

    def rung(self, extensions: Extensions, *, copies: int) -> Rung:
        """The rung for a batch of so many copies on a server that offers this."""
        if "pipelining" not in extensions:
            return Rung.ONE_BY_ONE
        chunking = "chunking" in extensions and (copies >= MANY or not self._for_many_only)
        return min(self.top, Rung.CHUNKING if chunking else Rung.NEXT)

    def step_down(self, to: Rung, why: str) -> None:
        """Do not climb beyond ``to`` again."""
        if to < self.top:
            self.top = to
            _log.warning("SMTP commands run ahead less far from here on: %s", why)
