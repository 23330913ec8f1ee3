"""The wait that a reply names, as in "try again in 60 seconds"."""

from __future__ import annotations

import re
from typing import Final

LONGEST_NAMED_WAIT_S: Final = 3600.0

_WAIT: Final = re.compile(
    r"(?:\b(?:in|after|for|wait)|retry-after:?)\s+(?:about\s+|at least\s+|another\s+)?(\d{1,6})\s*"
    r"(seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)\b",
    re.IGNORECASE,
)
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def named_wait_s(text: str) -> float | None:
    """In seconds, an hour at most; ``None`` where the reply names none."""
    found = _WAIT.search(text)
    if found is None:
        return None
    return min(LONGEST_NAMED_WAIT_S, float(found[1]) * _UNIT_S[found[2][0].lower()])
