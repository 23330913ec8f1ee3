"""Whether a hand-over that had no answer may be made once more, so that the provider recognises it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from genie_connect.delivery.planner import Route
from genie_connect.delivery.repetition import batch_key, key_kept_s, send_key
from genie_connect.store.claims import HandOver


class Fate(Enum):
    """What becomes of it in this pass. ``OVER``: never, it would be a second copy."""

    NOW = "now"
    LATER = "later"
    OVER = "over"


def fate(hand_over: HandOver, recipients: Iterable[str], route: Route | None, *, now: float) -> Fate:
    """Whether it may be made again to ``recipients`` (bare addresses), who have to be all of it, in its order.

    ``now`` is seconds since 1970. Without a ``route`` no connection could ever carry it.
    """
    if route is None or now >= (hand_over.repeat_until or 0.0):
        return Fate.OVER
    if batch_key(send_key(hand_over.key), recipients) != hand_over.key:
        return Fate.OVER
    for connection in route.connections:
        if connection.name == hand_over.connection:
            return Fate.NOW if key_kept_s(connection.capabilities) is not None else Fate.OVER
    paused = any(connection.name == hand_over.connection for connection in route.paused)
    return Fate.LATER if paused else Fate.OVER
