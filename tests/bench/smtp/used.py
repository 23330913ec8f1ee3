"""CPU time of the processes that a run has started, by the program they run."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

_PARENT = 1
_SPENT = (11, 12, 13, 14)
"""Fields of ``/proc/PID/stat`` behind the program's name: user and system time, its own and that of its dead."""


def cpu_by_program() -> Mapping[str, float]:
    """CPU seconds of all that come from this process. Of those that have ended, their parents have it. Linux only."""
    ticks = os.sysconf("SC_CLK_TCK")
    known = {pid: fields for pid in _pids() if (fields := _stat(pid)) is not None}
    used: dict[str, float] = defaultdict(float)
    for name, fields in known.values():
        if _comes_from(os.getpid(), fields, known):
            used[name] += sum(fields[place] for place in _SPENT) / ticks
    return used


def _pids() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def _stat(pid: int) -> tuple[str, list[int]] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    _state, *numbers = rest.split()
    return name, [0, *map(int, numbers)]


def _comes_from(root: int, fields: list[int], known: dict[int, tuple[str, list[int]]]) -> bool:
    while (parent := fields[_PARENT]) in known:
        if parent == root:
            return True
        fields = known[parent][1]
    return False
