"""What a caller asks of a send beside its message, checked before anything is written down."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from genie_connect.errors import ValidationError
from genie_connect.model import text

MAX_KEY_CHARACTERS: Final = 255
MAX_PRIORITY: Final = 1000
"""Either way; a store keeps it in two bytes."""


def checked_key(key: str | None) -> str | None:
    """An idempotency key, which providers take in a header. Raises ``ValidationError``."""
    if key is None:
        return None
    if key == "":
        raise ValidationError.single("idempotency_key", "is empty", "leave it out, or give one for each send")
    try:
        return text.one_line(key, limit=MAX_KEY_CHARACTERS)
    except ValidationError as error:
        raise ValidationError(error.under("idempotency_key")) from None


def checked_priority(priority: int) -> int:
    """A priority. Raises ``ValidationError``."""
    if not isinstance(priority, int) or not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        cause = f"{str(priority)[:40]} is none"
        raise ValidationError.single(
            "priority", cause, f"give a whole number from {-MAX_PRIORITY} to {MAX_PRIORITY}; a higher one goes first"
        )
    return priority


def seconds(field: str, time: datetime | None) -> float | None:
    """A time in seconds since 1970. Raises ``ValidationError`` for one without a zone."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValidationError.single(field, "has no time zone", "give the time in UTC")
    return time.timestamp()


def checked_window(not_before: datetime | None, expires: datetime | None) -> tuple[float | None, float | None]:
    """When it may leave first, and until when, in seconds since 1970. Raises ``ValidationError``."""
    first, last = seconds("not_before", not_before), seconds("expires", expires)
    if first is not None and last is not None and last <= first:
        raise ValidationError.single("expires", "is not after not_before, so it could never leave", "give a later time")
    return first, last
