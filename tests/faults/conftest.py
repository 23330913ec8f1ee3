"""The certificates of the scripted server, and the table that the crash tests end with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from genie_connect_spec.fixtures import smtp_certificates
from tests.faults.crash.results import Machine, page_with
from tests.faults.crash.table import lines_of, markdown, sums
from tests.faults.malformed import table_of as malformed_table

__all__ = ["pytest_sessionstart", "pytest_terminal_summary", "smtp_certificates"]

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "faults.md"
WHOLE = "crash"
"""The word by which ``./dev faults`` runs all that is in the table."""
_BEGAN = pytest.StashKey[float]()


class _Diary:
    """Writes down what each test found as soon as it has: a run of an hour that breaks off has not been for nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_text("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """After each step of a test."""
        if report.when != "call" and not report.failed and not report.skipped:
            return
        said = {
            "test": report.nodeid,
            "outcome": report.outcome,
            "seconds": round(report.duration, 1),
            "lines": [json.loads(line.dumped()) for line in lines_of([report])],
            "said": "" if report.passed else report.longreprtext,
        }
        with self._file.open("a") as file:
            file.write(json.dumps(said) + "\n")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin the diary, in the process that hears of all tests."""
    session.config.stash[_BEGAN] = time.monotonic()
    if not hasattr(session.config, "workerinput") and session.config.cache is not None:
        diary = _Diary(Path(session.config.cache.mkdir("crash")) / "reports.jsonl")
        session.config.pluginmanager.register(diary)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print what became of everybody, in the form that the documents show; a run of all of it goes into its page."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    if table := malformed_table(reports):
        terminalreporter.section("what became of malformed webhooks")
        terminalreporter.write_line(table)
    lines = lines_of(reports)
    if not lines:
        return
    text = markdown([*lines, sums(lines, ledger=True), sums(lines, ledger=False)])
    terminalreporter.section("what became of everybody")
    terminalreporter.write_line(text)
    if config.option.keyword != WHOLE:
        return
    machine = Machine.this(took_s=time.monotonic() - config.stash[_BEGAN])
    counted = {kind: len(terminalreporter.stats.get(kind, ())) for kind in ("passed", "failed", "skipped")}
    PAGE.write_text(page_with(PAGE.read_text(), f"{machine.sentence(counted)}\n\n{text}"))
    terminalreporter.write_line(f"(also in {PAGE})")
