"""The places at which a process can be killed: all listed, each there once, and deadly only when asked for."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import genie_connect
from genie_connect.failpoints import POINTS, STEPS, VARIABLE, WRITES

SOURCE = Path(genie_connect.__file__).parent


def calls() -> Iterator[ast.Call]:
    """Every call in the package."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def test_each_step_is_passed_at_one_place() -> None:
    """The table and the code say the same."""
    found = Counter(
        argument.value
        for call in calls()
        if isinstance(call.func, ast.Name) and call.func.id == "point"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    )
    assert found == Counter(list(STEPS))


def test_each_kind_of_write_is_listed() -> None:
    """A write that is added later has its points by itself, and has to be in the table."""
    written = {
        call.args[0].attr.lstrip("_")
        for call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "write"
        and isinstance(call.func.value, ast.Attribute)
        and call.func.value.attr == "_writer"
        and isinstance(call.args[0], ast.Attribute)
    }
    assert written == set(WRITES)


def test_there_are_many() -> None:
    """Sixty at least, so that no step between two commits is left out."""
    assert len(POINTS) >= 60


def died(wanted: str, program: str) -> int:
    """How a program ended in which that point was asked for."""
    done = subprocess.run([sys.executable, "-c", program], env={VARIABLE: wanted}, check=False, timeout=30)
    return done.returncode


PROGRAM = "from genie_connect.failpoints import point\npoint('accept.after')\npoint('accept.after')"


def test_a_process_dies_where_it_was_asked_to() -> None:
    """By the signal that nobody can handle."""
    assert died("accept.after", PROGRAM) == -signal.SIGKILL
    assert died("accept.after:2", PROGRAM) == -signal.SIGKILL


def test_a_process_lives_on_everywhere_else() -> None:
    """Not asked for, or not passed often enough."""
    assert died("accept.after:3", PROGRAM) == 0
    assert died("accept.before", PROGRAM) == 0
    assert died("", PROGRAM) == 0
