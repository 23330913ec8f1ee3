"""When what was put off is tried again, and when it is given up."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

import attrs

from genie_connect.model.outcome import Outcome

DAY_S: Final = 86_400.0


@attrs.frozen(kw_only=True)
class Schedule:
    """Waits between passes, in seconds: each twice the one before, the half of it by chance, up to the longest.

    Without a time of its own, work is given up ``give_up_after_s`` after it was first due: five days would be usual
    between servers (RFC 5321 section 4.5.4.1); nobody waits so long for a message from an application.
    """

    first_s: float = 60.0
    longest_s: float = 3600.0
    give_up_after_s: float = 3 * DAY_S

    def wait_s(self, tries: int, outcomes: Iterable[Outcome]) -> float:
        """Seconds until the next pass, after so many that put somebody off before this one.

        A pass is for all who were put off, so it waits for the latest time that the other side named. Where it named
        one for everybody, that is when.
        """
        whole_s = min(self.longest_s, self.first_s * 2.0 ** min(tries, 30))
        # Not for secrecy: so that what was put off together does not come back together.
        ours_s = whole_s * random.uniform(0.5, 1.0)  # noqa: S311
        named = [outcome.retry_after_s for outcome in outcomes]
        told = [wait for wait in named if wait is not None]
        if told and len(told) == len(named):
            return max(told)
        return max([ours_s, *told])
