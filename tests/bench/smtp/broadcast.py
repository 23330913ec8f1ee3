"""``./dev bench broadcast``: a million recipients through ``Host.send_each``, and what memory that takes.

Recipients are generated while they are sent to, the sink says whether each of them was sent to once, and the run fails
where one was not, or where the process grew by more than ``LIMIT_MIB`` at any time. ``--quick`` takes a tenth of them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.bench.smtp import message as messages
from tests.bench.smtp.network import network
from tests.bench.smtp.ours import MODES
from tests.bench.smtp.processes import CLIENT_CORE, PINNED, child
from tests.bench.smtp.python_sink import hash_of
from tests.bench.smtp.report import number
from tests.bench.smtp.sinks import CountedSink, own_sink
from tests.bench.smtp.suite import Options

RECIPIENTS = 1_000_000
LIMIT_MIB = 150
_TIMEOUT_S = 3600.0


@attrs.frozen(kw_only=True)
class Broadcast:
    """What the sending process measured. ``failures`` are broken promises, in words."""

    mode: str
    recipients: int
    sink: str
    answer: Mapping[str, Any]
    failures: Sequence[str]

    def render(self) -> str:
        if "wall_s" not in self.answer:
            return f"### A broadcast to {self.recipients:,} generated recipients: {'; '.join(self.failures)}"
        rate, cost = self.recipients / self.answer["wall_s"], self.answer["cpu_s"] * 1000 / self.recipients
        peak = self.answer["above_start_kib"] / 1024
        lines = [
            f"### A broadcast to {self.recipients:,} generated recipients, mode {self.mode}, to {self.sink}",
            "",
            "| messages/s | CPU-s/1000 | peak MiB above start | outcomes |",
            "|--:|--:|--:|---|",
            f"| {number(rate)} | {number(cost)} | {number(peak)} | {self.answer['states']} |",
            "",
            "| after recipients | MiB above start |",
            "|--:|--:|",
            *(f"| {count:,} | {number(kib / 1024)} |" for count, kib in self.answer["series"]),
            "",
            f"- {PINNED}; the whole path: host, gate, planner, composer, engine, outcomes.",
            f"- {'FAILED: ' + '; '.join(self.failures) if self.failures else 'the sink took one message for each'}.",
        ]
        return "\n".join(lines)

    def as_data(self) -> object:
        return attrs.asdict(self)


def run(options: Options) -> list[Broadcast]:
    """The one measurement."""
    count = RECIPIENTS // 10 if options.quick else RECIPIENTS
    mode = "C16"
    with tempfile.TemporaryDirectory(prefix="bench-broadcast-") as name:
        folder = Path(name)
        with network(0, folder) as net, own_sink(net, folder) as sink:
            spec = {"host": sink.host, "port": sink.port, "mode": MODES[mode], "count": count, "uvloop": True}
            command = [sys.executable, "-m", "tests.bench.smtp.probe", "broadcast-ours", json.dumps(spec)]
            with child(command, core=CLIENT_CORE) as process:
                answer = json.loads(process.line(_TIMEOUT_S))
            failures = [answer["failed"]] if "failed" in answer else _failures(answer, count, sink)
            return [Broadcast(mode=mode, recipients=count, sink=sink.label, answer=answer, failures=failures)]


def _failures(answer: Mapping[str, Any], count: int, sink: CountedSink) -> list[str]:
    found = []
    if answer["states"] != {"accepted": count}:
        found.append(f"outcomes {answer['states']}")
    if (taken := sink.settled_messages(count)) != count:
        found.append(f"the sink took {taken} messages")
    wanted = sum(hash_of(messages.recipient(each).encode()) for each in range(count)) % (1 << 64)
    if sink.recipients() != wanted:
        found.append("the sink was not told of each recipient once")
    if answer["above_start_kib"] > LIMIT_MIB * 1024:
        found.append(f"{answer['above_start_kib'] / 1024:.0f} MiB above the start, over the limit of {LIMIT_MIB}")
    return found
