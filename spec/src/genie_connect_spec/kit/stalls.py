"""Whether the machine itself stood still while a check ran: then its deadlines said nothing of the connector."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs

BEAT_S: Final = 0.05
STALL_S: Final = 0.15
"""So late a thread that does nothing but sleep counts as held up; the shortest deadline of a check is 0.4 s."""


@attrs.define
class Stalls:
    """How long the machine stood still at a time, at most."""

    longest_s: float = 0.0

    @property
    def any(self) -> bool:
        """Whether it was so long that a deadline may have passed for nothing."""
        return self.longest_s >= STALL_S


@contextmanager
def watched() -> Iterator[Stalls]:
    """Watch while the block runs, from a thread of its own.

    A connector that blocks its event loop does not make that late; one that holds the interpreter does, and a check
    that it fails is made again for nothing.
    """
    stalls, over = Stalls(), threading.Event()
    thread = threading.Thread(target=watch, args=(stalls, over.wait), name="kit stall watch", daemon=True)
    thread.start()
    try:
        yield stalls
    finally:
        over.set()
        thread.join()


def watch(stalls: Stalls, over: Callable[[float], bool]) -> None:
    """Note how late each beat comes. ``over`` waits so many seconds, or until it is over, and says whether it is."""
    ended = False
    while not ended:
        begun = time.monotonic()
        ended = over(BEAT_S)
        # The last one too: what stood still and then failed may be over before the beat that it held up.
        stalls.longest_s = max(stalls.longest_s, time.monotonic() - begun - BEAT_S)
