"""What the processes under test tell their driver: one line at a time, past every buffer."""

from __future__ import annotations

import os


def say(line: str) -> None:
    """Write a line that is there even if the next moment is the last."""
    os.write(1, f"{line}\n".encode())
