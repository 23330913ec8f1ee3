"""The C programs of the benchmark, compiled into a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def compiled(name: str, folder: Path) -> Path | None:
    """The program, or ``None`` where there is no C compiler or it does not do."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = folder / name
    if not program.exists():
        source = Path(__file__).with_name(f"{name}.c")
        result = subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=False, capture_output=True)
        if result.returncode:
            return None
    return program
