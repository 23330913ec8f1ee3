"""Composition and signatures: CPU time for each message, nothing sent."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

import attrs

from tests.bench.smtp import nodemailer
from tests.bench.smtp.peers import NODE_WARM_UP, ROUND_TIMEOUT_S, as_fields, as_round
from tests.bench.smtp.processes import CLIENT_CORE, Child, ChildFailed, child
from tests.bench.smtp.report import Measured, Quantity, Results
from tests.bench.smtp.sending import Effort
from tests.bench.smtp.sinks import CannotRun

CPU_US = "cpu_us"
QUANTITIES = {CPU_US: Quantity(title="CPU us/message")}
NODEMAILER = "nodemailer MailComposer"
_READY_TIMEOUT_S = 60.0


@attrs.frozen(kw_only=True)
class ComputeCase:
    """Which rows of ``cpu_probe`` under which names; with the size, nodemailer composes that message as well."""

    name: str
    title: str
    probe: str
    rows: dict[str, str]
    reference: str
    nodemailer_size: str = ""
    files: bool = False
    notes: tuple[str, ...] = ()


class _Row:
    def __init__(self, process: Child, prefix: str, warm_up: int = 1) -> None:
        self._process = process
        self._prefix = prefix
        self.warm_up = warm_up
        self.samples: list[float] = []
        self.count = 1

    def round(self, effort: Effort) -> None:
        self._process.say(f"{self._prefix}{self.count}")
        done = as_round(json.loads(self._process.line(ROUND_TIMEOUT_S)))
        self.samples.append(done.cpu_s / self.count * 1e6)
        self.count = max(1, int(effort.round_s / max(1e-6, done.cpu_s / self.count)))


def run_case(case: ComputeCase, effort: Effort) -> Results:
    """All rows of a case, round by round."""
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        command = [sys.executable, "-m", "tests.bench.smtp.cpu_probe", case.probe]
        process = stack.enter_context(child(command, core=CLIENT_CORE))
        process.line(_READY_TIMEOUT_S)
        rows = {title: _Row(process, f"{name} ") for name, title in case.rows.items()}
        if case.nodemailer_size:
            try:
                rows[NODEMAILER] = _nodemailer(case, stack)
            except CannotRun as reason:
                skipped[NODEMAILER] = str(reason)
        for title, row in list(rows.items()):
            try:
                # Once with one message, to find out how long it takes; then with many, to warm up.
                row.round(effort)
                row.count = max(row.count, row.warm_up)
                row.round(effort)
            except ChildFailed as reason:
                skipped[title] = str(reason)
                del rows[title]
            row.samples.clear()
        for _ in range(effort.rounds):
            for row in rows.values():
                row.round(effort)
    return Results(
        name=case.name,
        title=f"{case.name}: {case.title}",
        quantities=QUANTITIES,
        rows={title: {CPU_US: Measured(samples=row.samples)} for title, row in rows.items()},
        reference=case.reference,
        notes=case.notes,
        skipped=skipped,
    )


def _nodemailer(case: ComputeCase, stack: ExitStack) -> _Row:
    folder = nodemailer.installed()
    spec = {"what": "compose", "fields": as_fields(case.nodemailer_size, files=case.files)}
    command = [nodemailer.node(), str(nodemailer.PROGRAM), str(folder), json.dumps(spec)]
    process = stack.enter_context(child(command, core=CLIENT_CORE))
    process.line(_READY_TIMEOUT_S)
    return _Row(process, "", NODE_WARM_UP)
