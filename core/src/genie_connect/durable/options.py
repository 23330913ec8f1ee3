"""What a caller wants of a durable send."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class SendOptions:
    """What a caller wants of a durable send. Times are seconds since 1970; a higher ``priority`` goes first."""

    connection: str | None = None
    key: str | None = None
    not_before: float | None = None
    expires: float | None = None
    priority: int = 0
    at_least_once: bool = False
