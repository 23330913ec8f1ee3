"""A clock that is set forth and back under running processes, and for these only: the machine keeps its own."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

_STEP = struct.Struct("=q")
_SOURCE = Path(__file__).parent / "native" / "clock.c"


def why_not() -> str | None:
    """Why the clock of a process cannot be stepped here, or None."""
    return None if _compiler() else "no C compiler, which the clock that can be stepped needs"


class SteppedClock:
    """The clock of all processes that are started with ``environment``."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "clock.so"
        self._file = folder / "clock"
        self._file.write_bytes(_STEP.pack(0))
        compiler = _compiler()
        assert compiler is not None
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to go by this clock."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_STEP": str(self._file)}

    def step(self, seconds: float) -> None:
        """Set it so many seconds before the true time, or behind it."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), _STEP.size) as mapped:
            _STEP.pack_into(mapped, 0, int(seconds * 1e9))


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
