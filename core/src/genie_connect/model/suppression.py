"""Who is not to be written to, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import attrs

from genie_connect.errors import Problem
from genie_connect.model.address import Address, AddressLike
from genie_connect.model.message import Purpose
from genie_connect.model.validation import attempt, settle


class SuppressionScope(StrEnum):
    """What a suppression stops: everything, or marketing only."""

    ALL = "all"
    MARKETING = "marketing"


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


def _address(value: AddressLike) -> Address:
    return attempt(Address.parse, value)


@attrs.frozen(kw_only=True)
class Suppression:
    """One address that is not to be written to. ``added`` and ``expires`` are in UTC; without ``expires`` it stays."""

    address: Address = attrs.field(converter=_address)
    scope: SuppressionScope = SuppressionScope.ALL
    reason: SuppressionReason = SuppressionReason.MANUAL
    source: str = ""
    added: datetime
    expires: datetime | None = None

    def __attrs_post_init__(self) -> None:
        settle(self, self._rules)

    def _rules(self) -> Iterable[Problem]:
        for name, time in (("added", self.added), ("expires", self.expires)):
            if time is not None and time.tzinfo is None:
                yield Problem(name, "has no time zone", "give the time in UTC")

    @property
    def key(self) -> str:
        """The spelling under which it is found."""
        return self.address.key

    def stops(self, purpose: Purpose, now: datetime) -> bool:
        """Whether it stops a message of this purpose at this time."""
        if self.expires is not None and self.expires <= now:
            return False
        return self.scope is SuppressionScope.ALL or purpose is Purpose.MARKETING
