"""Which process this is, told so that another one can find out whether it still runs.

Two processes are at the same place when a process id means the same to both: same boot of the same kernel, same
namespace of process ids. There, a process that has gone is known to have gone at once; elsewhere only by its silence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import attrs

_PROC: Final = Path("/proc")
_STATE, _START = 0, 19
"""Where they stand behind the command's name in ``/proc/PID/stat`` (proc(5), fields 3 and 22)."""


@attrs.frozen(kw_only=True)
class Place:
    """A process. ``where`` is empty where nobody can tell from outside; ``started`` is in ticks since the boot."""

    where: str
    pid: int
    started: float


def here() -> Place:
    """This process."""
    pid = os.getpid()
    return Place(where=_where(pid), pid=pid, started=_start(pid) or 0.0)


def has_gone(other: Place, seen_from: Place) -> bool:
    """Whether it is known for certain that a process runs no more."""
    if not seen_from.where or other.where != seen_from.where:
        return False
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        # Another user's: it is there, and /proc may hide it from us.
        return False
    started = _start(other.pid)
    # The number was given to another process since, or nobody has collected the dead one yet.
    return started is not None and started != other.started


def _where(pid: int) -> str:
    try:
        # A /proc of another namespace speaks of other processes than os.kill does.
        if str(Path("/proc/self").readlink()) != str(pid):
            return ""
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = (_PROC / "self/ns/pid").readlink()
    except (OSError, ValueError):
        return ""
    return f"{boot} {namespace}"


def _start(pid: int) -> float | None:
    """When a process was started: 0 for one that is dead and not collected, ``None`` where it cannot be read."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    facts = text.rpartition(")")[2].split()
    return 0.0 if facts[_STATE] in "ZX" else float(facts[_START])
