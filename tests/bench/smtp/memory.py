"""Memory: what an idle connection keeps, and what a large attachment takes on its way."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import trustme

from tests.bench.smtp import message as messages
from tests.bench.smtp import nodemailer
from tests.bench.smtp.network import Network, network
from tests.bench.smtp.peers import READY_TIMEOUT_S, ROUND_TIMEOUT_S
from tests.bench.smtp.processes import CLIENT_CORE, ChildFailed, child
from tests.bench.smtp.report import Measured, Quantity, Results
from tests.bench.smtp.sinks import CannotRun, own_sink

KIB = "kib"
ABOVE_START_MIB = "above_start_mib"
STALL_MS = "stall_ms"
CPU_S = "cpu_s"
IDLE = {KIB: Quantity(title="KiB/connection")}
LARGE = {
    ABOVE_START_MIB: Quantity(title="peak MiB above start"),
    STALL_MS: Quantity(title="longest stall, ms"),
    CPU_S: Quantity(title="CPU-s"),
}
LARGE_BYTES = 25 * 1024 * 1024
_ANSWER_TIMEOUT_S = 180.0


@attrs.frozen(kw_only=True)
class ProbeRow:
    """A row: which probe in a new process, and what it is told."""

    name: str
    probe: str
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class IdleCase:
    """Connections that have nothing to do, with TLS or without."""

    name: str
    tls: bool
    connections: int
    rows: Sequence[ProbeRow]
    reference: str


def run_idle(case: IdleCase, rounds: int, folder: Path) -> Results:
    """Each row in a new process, and again for each round."""
    samples: dict[str, list[float]] = {row.name: [] for row in case.rows}
    skipped: dict[str, str] = {}
    authority, certificate = _certificates(folder)
    with network(0, folder) as net, own_sink(net, folder, tls=certificate if case.tls else None) as sink:
        spec = {
            "host": sink.host,
            "port": sink.port,
            "tls": case.tls,
            "ca_file": str(authority),
            "connections": case.connections,
        }
        for _ in range(rounds):
            for row in case.rows:
                try:
                    answer = _probe(row, spec, net)
                except ChildFailed as reason:
                    skipped[row.name] = str(reason)
                else:
                    samples[row.name].append((answer["after_kib"] - answer["before_kib"]) / answer["more"])
    security = "TLS" if case.tls else "plain"
    return Results(
        name=case.name,
        title=f"{case.name}: idle connections, {security}",
        quantities=IDLE,
        rows={name: {KIB: Measured(samples=values)} for name, values in samples.items() if values},
        reference=case.reference,
        notes=[f"resident memory of {case.connections} connections over that of the first few, divided"],
        skipped=skipped,
    )


@attrs.frozen(kw_only=True)
class LargeCase:
    """A file of 25 MB to one recipient."""

    name: str
    rows: Sequence[ProbeRow]
    reference: str


def run_large(case: LargeCase, rounds: int, folder: Path) -> Results:
    """Each row in a new process, and again for each round."""
    file = folder / "large.bin"
    file.write_bytes(bytes(range(256)) * (LARGE_BYTES // 256))
    rows: dict[str, dict[str, list[float]]] = {row.name: {} for row in case.rows}
    skipped: dict[str, str] = {}
    sent = 0
    with network(0, folder) as net, own_sink(net, folder) as sink:
        spec = {"host": sink.host, "port": sink.port, "attachment": str(file)}
        for _ in range(rounds):
            for row in case.rows:
                try:
                    answer = _probe(row, spec, net)
                except (ChildFailed, CannotRun) as reason:
                    skipped[row.name] = str(reason)
                    continue
                sent += answer["sent"]
                for quantity, value in _large_quantities(answer).items():
                    rows[row.name].setdefault(quantity, []).append(value)
        taken = sink.settled_messages(sent)
        label = sink.label
    file.unlink()
    count = f"the sink took each of the {sent} messages once" if taken == sent else f"WRONG: {sent} sent, {taken} taken"
    return Results(
        name=case.name,
        title=f"{case.name}: a 25 MB attachment to {label}",
        quantities=LARGE,
        rows={
            name: {quantity: Measured(samples=values) for quantity, values in measured.items()}
            for name, measured in rows.items()
            if measured
        },
        reference=case.reference,
        notes=[
            count,
            "a stall is the most CPU time of the loop's thread between two turns: other processes do not lengthen it",
            "nodemailer's CPU time is that of a first, small message too",
        ],
        skipped=skipped,
    )


def _large_quantities(answer: Mapping[str, Any]) -> dict[str, float]:
    # The least that the page size lets be told apart from nothing, so that ratios to it exist.
    found = {ABOVE_START_MIB: max(answer["above_start_kib"], 4) / 1024, CPU_S: answer["cpu_s"]}
    if "stall_cpu_s" in answer:
        found[STALL_MS] = answer["stall_cpu_s"] * 1000
    return found


def _probe(row: ProbeRow, spec: Mapping[str, Any], net: Network) -> dict[str, Any]:
    whole = json.dumps({**spec, **row.options})
    with ExitStack() as stack:
        if row.probe == "nodemailer":
            arguments = json.dumps({**spec, **row.options, "sender": messages.SENDER.email})
            command = [nodemailer.node(), str(nodemailer.PROGRAM), str(nodemailer.installed()), arguments]
            process = stack.enter_context(child([*net.client_prefix, *command], core=CLIENT_CORE))
            process.line(READY_TIMEOUT_S)
            process.say("1")
            answer = json.loads(process.line(ROUND_TIMEOUT_S))
        else:
            command = [sys.executable, "-m", "tests.bench.smtp.probe", row.probe, whole]
            process = stack.enter_context(child([*net.client_prefix, *command], core=CLIENT_CORE))
            answer = json.loads(process.line(_ANSWER_TIMEOUT_S))
    if "failed" in answer:
        raise ChildFailed(answer["failed"])
    return dict(answer)


def _certificates(folder: Path) -> tuple[Path, Path]:
    authority_file, certificate_file = folder / "authority.pem", folder / "server.pem"
    if not certificate_file.exists():
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(authority_file))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate_file))
    return authority_file, certificate_file
