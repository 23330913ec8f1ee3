"""When a broadcast can end at the earliest, by the limits of the connections that would carry it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from genie_connect.delivery.connection import Connection


@attrs.frozen(kw_only=True)
class Forecast:
    """The earliest end, and whether that is in time.

    ``limited_by`` is the connection whose rate bounds it, ``None`` where no connection has a limit of its owner's: then
    only the server knows, and ``earliest`` is unknown. ``in_time`` is ``None`` where no end was asked for, or unknown.
    """

    recipients: int
    rate_per_s: float | None
    limited_by: str | None
    earliest: datetime | None
    finish_by: datetime | None
    in_time: bool | None

    def explain(self) -> str:
        """In one sentence."""
        if self.earliest is None:
            return "no limit is set, so only the server's own pace bounds it"
        said = f"{self.recipients} recipients at {self.rate_per_s:g} a second through {self.limited_by} end"
        said += f" at {self.earliest:%Y-%m-%d %H:%M} UTC at the earliest"
        if self.in_time is False:
            said += f", after the {self.finish_by:%Y-%m-%d %H:%M} UTC that was asked for"
        return said


def forecast(
    recipients: int, connections: Sequence[Connection], *, starts: datetime, finish_by: datetime | None
) -> Forecast:
    """What the first connection of the plan allows: others carry what it refuses, and make nothing faster."""
    first = connections[0] if connections else None
    rate = first.config.rate_per_s if first is not None else None
    if first is None or rate is None:
        return Forecast(
            recipients=recipients, rate_per_s=None, limited_by=None, earliest=None, finish_by=finish_by, in_time=None
        )
    earliest = starts + timedelta(seconds=recipients / rate)
    return Forecast(
        recipients=recipients,
        rate_per_s=rate,
        limited_by=first.name,
        earliest=earliest,
        finish_by=finish_by,
        in_time=None if finish_by is None else earliest <= finish_by,
    )
