"""Places at which a test may kill the process, so that what is promised after a crash can be tried at each of them.

Nothing happens unless ``GENIE_CONNECT_FAILPOINT`` names one: ``NAME``, or ``NAME:3`` for the third time it is passed.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "GENIE_CONNECT_FAILPOINT"


class _Armed:
    """What the environment asked for when the process began."""

    def __init__(self, wanted: str) -> None:
        self.name, _, count = wanted.partition(":")
        self.left = int(count) if count.isdigit() else 1

    def passed(self) -> bool:
        self.left -= 1
        return self.left == 0


_armed: Final = _Armed(os.environ.get(VARIABLE, ""))


def point(name: str) -> None:
    """A place of this name. A process that is to die here dies, as if its power had gone: nothing is cleaned up."""
    if _armed.name == name and _armed.passed():
        os.kill(os.getpid(), signal.SIGKILL)
