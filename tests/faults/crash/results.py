"""Where the results of a run go: into the page of the documents that shows them, with what made them."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from collections.abc import Mapping
from typing import Self

import attrs

COMMAND = "./dev faults crash"
_PART = re.compile(r"(<!-- results: crash -->\n).*?(<!-- results end -->)", re.DOTALL)


@attrs.frozen(kw_only=True)
class Machine:
    """What it ran on, when it ended, and how long it took."""

    day: dt.date
    cores: int
    system: str
    python: str
    took_s: float

    @classmethod
    def this(cls, *, took_s: float) -> Self:
        """The machine that this runs on."""
        return cls(
            day=dt.datetime.now(dt.UTC).date(),
            cores=os.cpu_count() or 1,
            system=f"{platform.system()} on {platform.machine()}",
            python=platform.python_version(),
            took_s=took_s,
        )

    def sentence(self, counted: Mapping[str, int]) -> str:
        """As the page says it."""
        tests = ", ".join(f"{number} {kind}" for kind, number in counted.items() if number)
        return (
            f"`{COMMAND}`, {self.day.isoformat()}, {self.cores} cores, {self.system}, Python {self.python}: "
            f"{tests} in {self.took_s / 60:.0f} minutes."
        )


def page_with(page: str, results: str) -> str:
    """The text of the page with these results in the place of the former ones."""
    renewed, times = _PART.subn(lambda found: f"{found[1]}\n{results}\n\n{found[2]}", page)
    if times != 1:
        raise ValueError("the page has to have one place for the results")
    return renewed
