"""The Retry-After header field (RFC 9110 section 10.2.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 86_400.0
_SECONDS = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*\Z")  # some providers give fractions


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, from seconds or an HTTP date; between 0 and a day, or ``None`` where there is nothing usable.

    ``headers`` by lower-case name. A day bounds what a broken or hostile server can make a queue wait.
    """
    value = headers.get("retry-after", "")
    seconds = _SECONDS.match(value)
    if seconds:
        return min(float(seconds.group(1)), LONGEST_S)
    if len(value) > 60:
        return None
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(0.0, (when - now).total_seconds()), LONGEST_S)
