"""Whether a hand-over that had no answer may be made once more, so that the provider recognises it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from genie_connect.delivery.planner import Route
from genie_connect.delivery.repetition import batch_key, key_kept_s, send_key
from genie_connect.store.claims import HandOver


class Chance(Enum):
    """Whether it may be made in this pass. ``OVER``: never, it would be a second copy."""

    NOW = "now"
    LATER = "later"
    OVER = "over"


def chance_of(hand_over: HandOver, recipients: Iterable[str], route: Route | None, *, now: float) -> Chance:
    """Whether it may be made again to ``recipients`` (bare addresses), who have to be all of it, in its order.

    ``now`` is seconds since 1970. Without a ``route`` no connection could ever carry it.
    """
    if route is None or now >= (hand_over.repeat_until or 0.0):
        return Chance.OVER
    if batch_key(send_key(hand_over.key), recipients) != hand_over.key:
        return Chance.OVER
    for connection in route.connections:
        if connection.name == hand_over.connection:
            return Chance.NOW if key_kept_s(connection.capabilities) is not None else Chance.OVER
    paused = any(connection.name == hand_over.connection for connection in route.paused)
    return Chance.LATER if paused else Chance.OVER
