"""The certificates of the scripted server, and the table that the crash tests end with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genie_connect_spec.fixtures import smtp_certificates
from tests.faults.crash.table import lines_of, markdown, sums

__all__ = ["pytest_terminal_summary", "smtp_certificates"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what became of everybody, in the form that the documents show; and keep it in the cache of pytest."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    lines = lines_of(reports)
    if not lines:
        return
    text = markdown([*lines, sums(lines, ledger=True), sums(lines, ledger=False)])
    terminalreporter.section("what became of everybody")
    terminalreporter.write_line(text)
    file = Path(config.cache.mkdir("crash")) / "table.md" if config.cache is not None else None
    if file is not None:
        file.write_text(text + "\n")
        terminalreporter.write_line(f"(also in {file})")
