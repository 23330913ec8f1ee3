"""Times as the store keeps them, and as the model has them."""

from __future__ import annotations

from datetime import UTC, datetime


def from_seconds(seconds: float) -> datetime:
    """A time in UTC, from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
