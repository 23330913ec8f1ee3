"""The demonstration, run as a person would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

DEMO = Path(__file__).parents[2] / "docs" / "examples" / "demo.py"


def test_ends_with_the_numbers_it_promises() -> None:
    """Sandbox first, SMTP when it is down, three suppressed, two refused, nobody twice; readable when piped."""
    pytest.importorskip("genie_connect_smtp")
    pytest.importorskip("genie_connect_contrib")
    plain = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    ran = subprocess.run([sys.executable, str(DEMO)], capture_output=True, text=True, timeout=110, env=plain)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert "\x1b" not in ran.stdout
    table = ran.stdout.partition("What was sent")[2].partition("Where to look next")[0]
    rows = [line.rsplit(maxsplit=5) for line in table.splitlines() if line.strip()][1:]
    assert {name.strip(): [int(cell) for cell in cells] for name, *cells in rows} == {
        "order": [1, 0, 0, 0, 1],
        "order, sandbox down": [0, 1, 0, 0, 1],
        "broadcast": [497, 498, 3, 2, 1000],
        "total": [498, 499, 3, 2, 1002],
    }
    assert "sandbox  deferred at connect" in ran.stdout
    assert "done: 200 accepted, 0 unknown" in ran.stdout
    assert "Transactional sends" in ran.stdout
