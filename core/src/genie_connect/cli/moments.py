"""Times as a person gives them to a command."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

METAVAR: Final = "TIME|+DURATION"
_LATER: Final = re.compile(r"\+(\d+(?:\.\d+)?)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def moment(given: str) -> datetime:
    """A time from ``2026-11-26T09:00+01:00``, the same without a zone for this machine's, or ``+90m`` from now."""
    later = _LATER.fullmatch(given)
    try:
        if later is not None:
            return datetime.now(UTC) + timedelta(seconds=float(later[1]) * _SECONDS[later[2]])
        return datetime.fromisoformat(given).astimezone()
    except (ValueError, OverflowError, OSError):
        how = "write 2026-11-26T09:00+01:00, or +30s, +90m, +2h, +3d from now"
        raise click.BadParameter(f"{given!r} is no time; {how}") from None


def check_order(not_before: datetime | None, expires: datetime | None) -> None:
    """Raise ``UsageError`` for an end that leaves no time to send in."""
    if expires is not None and expires <= datetime.now(UTC):
        raise click.UsageError("--expires is over already")
    if expires is not None and not_before is not None and expires <= not_before:
        raise click.UsageError("--expires is before --not-before")


def told(moment: datetime) -> str:
    """A time as it is shown: to the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def lasting(seconds: float) -> str:
    """A length of time as it is shown: in the two largest units that it has."""
    left = max(0, round(seconds))
    said = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        said += [f"{count} {unit}"] if count else []
    return " ".join(said[:2]) or "0 s"
