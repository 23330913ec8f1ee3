"""What is run, in which order."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

import attrs

from tests.bench.smtp import computing, memory, nodemailer, sending
from tests.bench.smtp.computing import ComputeCase
from tests.bench.smtp.goals import evaluated
from tests.bench.smtp.memory import IdleCase, LargeCase, ProbeRow
from tests.bench.smtp.network import why_no_wire
from tests.bench.smtp.peers import (
    AIOSMTPLIB,
    AIOSMTPLIB_UVLOOP,
    COLD_AIOSMTPLIB,
    COLD_NODEMAILER,
    COMPOSING_AIOSMTPLIB,
    COMPOSING_NODEMAILER,
    NODEMAILER,
    OTHERS,
    SMTP_SOURCE,
    SMTPLIB,
    Peer,
    ours,
)
from tests.bench.smtp.processes import PINNED
from tests.bench.smtp.report import GoalTable, Heading, Results
from tests.bench.smtp.sending import Effort, SendCase
from tests.bench.smtp.sinks import CannotRun

_MEMORY = Path("/dev/shm")


class Rendered(Protocol):
    """What a suite gives back."""

    def render(self) -> str:
        """As Markdown."""
        ...

    def as_data(self) -> object:
        """As plain data for JSON."""
        ...


@attrs.frozen(kw_only=True)
class Options:
    """What the command line asks for."""

    quick: bool = False
    case: str = ""
    recipients: int | None = None
    rounds: int | None = None
    keep: Callable[[Sequence[Rendered]], None] = lambda tables: None
    """Told of what there is so far whenever a suite has measured more that it would be a pity to lose."""


@attrs.frozen(kw_only=True)
class Case:
    """A case by its name, whether ``--quick`` has it, and how to run it."""

    name: str
    quick: bool
    run: Callable[[Options, Path], Results]


_LOCAL = Effort(round_s=0.6, rounds=5)
_LATENT = Effort(round_s=1.5, rounds=3)
_QUICK = Effort(round_s=0.5, rounds=2)
_REFERENCE = "ours B"
_MODES = ("A", "B2", "B", "C16", "C64")


def _send(
    sink: str,
    size: str,
    connections: int,
    delay_ms: int,
    peers: Sequence[Peer],
    *,
    quick: bool = False,
    name: str = "",
    reference: str = _REFERENCE,
    composes: bool = False,
    cold: bool = False,
) -> Case:
    case = SendCase(
        name=name or f"send/{sink}/{size}/{connections}c/{delay_ms}ms",
        sink=sink,
        size=size,
        connections=connections,
        delay_ms=delay_ms,
        peers=peers,
        reference=reference,
        composes=composes,
        cold=cold,
    )
    usual = _LATENT if delay_ms else _LOCAL

    def run(options: Options, folder: Path) -> Results:
        if not options.quick:
            return sending.run_case(case, usual, folder)
        fewer = attrs.evolve(case, peers=[peer for peer in case.peers if peer.quick])
        return sending.run_case(fewer, _QUICK, folder)

    return Case(name=case.name, quick=quick, run=run)


def _local_peers() -> list[Peer]:
    """Every peer, and us in each mode: through the connector, with ready bytes, through the host, and on asyncio."""
    levels = [ours(mode, level) for mode in _MODES for level in ("connector", "bytes", "host")]
    return [*OTHERS, *levels, *(ours(mode, "bytes", uvloop=False) for mode in ("A", "B", "C16"))]


def _latent_peers() -> list[Peer]:
    others = [SMTPLIB, AIOSMTPLIB_UVLOOP, NODEMAILER, SMTP_SOURCE]
    return [*others, *(ours(mode) for mode in _MODES), ours("B", "host"), ours("C16", "host")]


def _send_cases() -> Iterator[Case]:
    quick = {("2KB", 1, 0), ("2KB", 1, 20), ("2KB", 10, 20)}
    for delay_ms in (0, 20, 50):
        for size in ("2KB", "30KB"):
            for connections in (1, 10):
                peers = _latent_peers() if delay_ms else _local_peers()
                chosen = (size, connections, delay_ms) in quick
                yield _send("own", size, connections, delay_ms, peers, quick=chosen)
    some = [SMTPLIB, AIOSMTPLIB_UVLOOP, NODEMAILER, SMTP_SOURCE]
    modes = [ours(mode) for mode in ("A", "B2", "B", "C16")]
    for connections in (1, 10):
        yield _send("smtp-sink", "2KB", connections, 0, [*some, *modes])
    for connections in (1, 10):
        yield _send("postfix", "2KB", connections, 0, [*some, *modes], quick=connections == 1)
    yield _send("postfix", "30KB", 1, 0, [*some, ours("A"), ours("B"), ours("C1"), ours("C16")])
    automatic = [AIOSMTPLIB_UVLOOP, NODEMAILER, ours("A"), ours("B2"), ours("auto")]
    yield _send("haraka", "2KB", 1, 0, automatic, quick=True, reference="ours auto")
    plain = [SMTPLIB, AIOSMTPLIB, AIOSMTPLIB_UVLOOP, NODEMAILER, ours("auto"), ours("auto", "bytes")]
    for delay_ms in (0, 20):
        yield _send("no-pipelining", "2KB", 1, delay_ms, plain, reference="ours auto")
    composing = [COMPOSING_AIOSMTPLIB, COMPOSING_NODEMAILER, *(ours(mode) for mode in ("A", "B", "C16", "C64"))]
    yield _send("own", "2KB", 1, 0, composing, quick=True, name="compose+send", composes=True)
    cold = [COLD_AIOSMTPLIB, COLD_NODEMAILER, ours("auto", "cold")]
    yield _send("sign-in", "2KB", 1, 20, cold, quick=True, name="cold/20ms", reference="ours auto", cold=True)


def _idle_cases() -> Iterator[Case]:
    loops = {"asyncio": False, "uvloop": True}
    for name, tls in (("idle/plain", False), ("idle/tls", True)):
        rows = [
            ProbeRow(name=f"ours, {loop}", probe="idle-ours", options={"uvloop": is_uvloop})
            for loop, is_uvloop in loops.items()
        ]
        for context, shared in ({"": True, ", a context each": False} if tls else {"": True}).items():
            rows += [
                ProbeRow(
                    name=f"aiosmtplib, {loop}{context}",
                    probe="idle-aiosmtplib",
                    options={"uvloop": is_uvloop, "shared_context": shared},
                )
                for loop, is_uvloop in loops.items()
            ]

        def run(
            options: Options, folder: Path, name: str = name, tls: bool = tls, rows: Sequence[ProbeRow] = tuple(rows)
        ) -> Results:
            connections = 100 if options.quick else 200
            case = IdleCase(name=name, tls=tls, connections=connections, rows=rows, reference="ours, uvloop")
            return memory.run_idle(case, 1 if options.quick else 2, folder)

        yield Case(name=name, quick=True, run=run)


def _large_case() -> Case:
    rows = [
        ProbeRow(name="ours", probe="large-ours", options={"uvloop": True}),
        ProbeRow(name="aiosmtplib", probe="large-aiosmtplib", options={"uvloop": True}),
        ProbeRow(name="smtplib", probe="large-smtplib"),
        ProbeRow(name="nodemailer, path", probe="nodemailer", options={"what": "large"}),
    ]

    def run(options: Options, folder: Path) -> Results:
        case = LargeCase(name="attachment", rows=rows, reference="ours")
        return memory.run_large(case, 1 if options.quick else 3, folder)

    return Case(name="attachment", quick=True, run=run)


_COMPOSERS = {
    "one-shot": "ours, one-shot",
    "compiled": "ours, compiled",
    "compiling": "ours, compiled for one copy",
    "EmailMessage": "EmailMessage",
}
_SIGNERS = {
    "rsa2048": "ours, rsa2048",
    "ed25519": "ours, ed25519",
    "both": "ours, both",
    "bare": "RSA alone",
    "dkimpy": "dkimpy, rsa2048",
}
_COMPOSE_NOTE = "ours fills in four merge fields and a List-Unsubscribe of each copy's own; the others have none"


def _compute_cases() -> Iterator[Case]:
    for name, size, files in (("2KB", "2KB", False), ("30KB", "30KB", False), ("files", "2KB", True)):
        what = f"{size}, 100 KB attachment, 10 KB inline image" if files else size
        yield _compute(
            ComputeCase(
                name=f"compose/{name}",
                title=f"composition, {what}",
                probe=f"compose-{name}",
                rows=_COMPOSERS,
                reference="ours, compiled",
                nodemailer_size=size,
                files=files,
                notes=(_COMPOSE_NOTE,),
            ),
            quick=name != "30KB",
        )
    for size in ("2KB", "30KB"):
        case = ComputeCase(
            name=f"sign/{size}",
            title=f"DKIM signatures, {size}",
            probe=f"sign-{size}",
            rows=_SIGNERS,
            reference="ours, rsa2048",
        )
        yield _compute(case, quick=size == "2KB")


def _compute(case: ComputeCase, *, quick: bool) -> Case:
    def run(options: Options, folder: Path) -> Results:
        return computing.run_case(case, Effort(round_s=0.3, rounds=3 if options.quick else 7))

    return Case(name=case.name, quick=quick, run=run)


def cases() -> list[Case]:
    """Everything there is."""
    return [*_send_cases(), *_idle_cases(), _large_case(), *_compute_cases()]


def run(options: Options) -> list[Rendered]:
    """The cases that were asked for, then the goals they have to do with."""
    wanted = re.compile(options.case)
    chosen = [
        case for case in cases() if wanted.search(case.name) and (case.quick or options.case or not options.quick)
    ]
    started = time.monotonic()
    results: list[Results] = []
    with _interruptible(), _folder() as folder:
        facts = _facts(folder, options)
        for number, case in enumerate(chosen, 1):
            print(f"[{number}/{len(chosen)}, {time.monotonic() - started:.0f} s] {case.name}", file=sys.stderr)
            try:
                results.append(case.run(options, folder))
            except Exception as error:
                # Half an hour of other cases is not thrown away for one.
                traceback.print_exc()
                facts.append(f"FAILED: {case.name}: {type(error).__name__}: {error}")
    facts.append(f"{len(chosen)} cases in {time.monotonic() - started:.0f} s")
    return [Heading(facts=facts), *results, GoalTable(rows=evaluated(results))]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # Queues of real servers belong in memory: what is measured is not the disk.
    with tempfile.TemporaryDirectory(prefix="bench-smtp-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: with everything that was started."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _facts(folder: Path, options: Options) -> list[str]:
    no_wire = why_no_wire(folder)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    facts = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {PINNED}; load {load:.1f} at the start",
        "latency by network namespaces" if no_wire is None else f"latency by a delaying proxy ({no_wire})",
        "quick: few and short rounds" if options.quick else "full",
    ]
    with contextlib.suppress(CannotRun):
        nodemailer.installed()
    return facts
