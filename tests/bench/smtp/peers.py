"""Who is measured, and how to have each send a round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import attrs

from tests.bench.smtp import message as messages
from tests.bench.smtp import nodemailer
from tests.bench.smtp.network import Network
from tests.bench.smtp.ours import MODES
from tests.bench.smtp.processes import CLIENT_CORE, ChildFailed, child, on_core
from tests.bench.smtp.sinks import CannotRun, postfix_tool

READY_TIMEOUT_S = 60.0
ROUND_TIMEOUT_S = 120.0
OURS = "ours"


@attrs.frozen(kw_only=True)
class Peer:
    """One row of a table: which program, and what it is told."""

    name: str
    kind: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    round_trips: float = 4
    """For each message, by what it is known to do; only to choose how many messages a round has."""
    quick: bool = True
    """Whether ``--quick`` has it too."""
    warm_up: int = 0
    """How many messages it takes until it is as fast as it will be."""
    extra_bytes: int = 0
    """What it adds to the content."""


@attrs.frozen(kw_only=True)
class Round:
    """What sending some messages took."""

    sent: int
    wall_s: float
    cpu_s: float
    more: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def per_second(self) -> float:
        return self.sent / self.wall_s

    @property
    def cpu_s_per_1000(self) -> float:
        return self.cpu_s / self.sent * 1000


class Runner(Protocol):
    """A peer that is connected, or connects for each round."""

    def round(self, count: int) -> Round:
        """Send that many messages. Raises ``ChildFailed``."""
        ...


class _Process:
    """A client process that is told a number and answers with what it took."""

    def __init__(self, stack: ExitStack, command: list[str], network: Network) -> None:
        self._child = stack.enter_context(child([*network.client_prefix, *command], core=CLIENT_CORE))
        self._ready = False

    def ready(self) -> None:
        """Wait until it is. Raises ``CannotRun`` if it never will be."""
        if self._ready:
            return
        answer = json.loads(self._child.line(READY_TIMEOUT_S))
        if "unavailable" in answer:
            raise CannotRun(answer["unavailable"])
        self._ready = True

    def round(self, count: int) -> Round:
        self.ready()
        self._child.say(str(count))
        return as_round(json.loads(self._child.line(ROUND_TIMEOUT_S)))


def as_round(answer: dict[str, Any]) -> Round:
    """The answer of a client process. Raises ``ChildFailed``."""
    if "failed" in answer:
        raise ChildFailed(answer["failed"])
    more = {name: value for name, value in answer.items() if name not in ("sent", "wall_s", "cpu_s")}
    return Round(sent=answer["sent"], wall_s=answer["wall_s"], cpu_s=answer["cpu_s"], more=more)


class _SmtpSource:
    """Postfix smtp-source, one process for each round.

    What it takes to start, connect and say good-bye is measured with a few messages for each connection, and taken off.
    """

    _FEW = 4

    def __init__(self, network: Network, host: str, port: int, connections: int, content_file: str) -> None:
        program, self._environment = postfix_tool("smtp-source")
        # It ends each line itself, and would keep the CR of a line end as content.
        lines = Path(content_file).with_suffix(".lf")
        lines.write_bytes(Path(content_file).read_bytes().replace(b"\r\n", b"\n"))
        self._connections = connections
        self._place = f"inet:{host}:{port}"
        envelope = ["-f", messages.SENDER.email, "-t", messages.recipient(0), "-M", "client.test"]
        self._command = [*network.client_prefix, program, "-d", *envelope, "-F", str(lines), "-s", str(connections)]
        self._start: Round | None = None

    def round(self, count: int) -> Round:
        # As many for each connection, since all wait for the one that has most; and some more than are taken off.
        count = max(3 * self._FEW, -(-count // self._connections)) * self._connections
        few = also_sent = self._FEW * self._connections
        if self._start is None:
            starts = [self._run(few) for _ in range(3)]
            also_sent += 3 * few
            self._start = Round(
                sent=few,
                wall_s=median(each.wall_s for each in starts),
                cpu_s=median(each.cpu_s for each in starts),
            )
        whole = self._run(count + few)
        floor_s = 1e-6
        return Round(
            sent=count,
            wall_s=max(floor_s, whole.wall_s - self._start.wall_s),
            cpu_s=max(floor_s, whole.cpu_s - self._start.cpu_s),
            more={"also_sent": also_sent},
        )

    def _run(self, count: int) -> Round:
        started = time.perf_counter()
        with on_core(CLIENT_CORE):
            process = subprocess.Popen(
                [*self._command, "-m", str(count), self._place],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.stderr is not None
        with process.stderr as errors:
            if process.returncode:
                raise ChildFailed(f"smtp-source: {errors.read().decode(errors='replace')[-300:]}")
        return Round(sent=count, wall_s=wall_s, cpu_s=used.ru_utime + used.ru_stime)


def start(peer: Peer, stack: ExitStack, network: Network, spec: dict[str, Any]) -> Runner:
    """Have a peer connect. Raises ``CannotRun``."""
    if peer.kind == "smtp-source":
        return _SmtpSource(network, spec["host"], spec["port"], spec["connections"], spec["content_file"])
    if peer.kind == "nodemailer":
        folder = nodemailer.installed()
        whole = {**spec, **peer.options, "sender": messages.SENDER.email}
        if whole.get("composes"):
            whole["fields"] = as_fields(spec["size"], files=spec.get("files", False))
        return _Process(stack, [nodemailer.node(), str(nodemailer.PROGRAM), str(folder), json.dumps(whole)], network)
    command = [sys.executable, "-m", "tests.bench.smtp.client", json.dumps({"peer": peer.kind, **spec, **peer.options})]
    return _Process(stack, command, network)


def as_fields(size: str, *, files: bool = False) -> dict[str, Any]:
    """The message as nodemailer takes it; of a file, how often its 256 different bytes are repeated."""
    made = messages.with_files(size) if files else messages.message(size)
    attachments = [
        {
            "filename": file.filename,
            "repeat": len(file.read()) // 256,
            "contentType": file.content_type,
            **({"cid": file.content_id} if file.content_id else {}),
        }
        for file in made.attachments
    ]
    return {
        "from": str(messages.SENDER),
        "subject": made.subject,
        "text": made.text,
        "html": made.html,
        "attachments": attachments,
    }


def content_file(folder: Path, size: str) -> str:
    """The file with the bytes that the peers send."""
    file = folder / f"{size}.eml"
    if not file.exists():
        file.write_bytes(messages.composed_bytes(messages.message(size)))
    return str(file)


SMTPLIB = Peer(name="smtplib", kind="smtplib")
AIOSMTPLIB = Peer(name="aiosmtplib, asyncio", kind="aiosmtplib", quick=False)
AIOSMTPLIB_UVLOOP = Peer(name="aiosmtplib, uvloop", kind="aiosmtplib", options={"uvloop": True})
NODE_WARM_UP = 1000
NODEMAILER = Peer(name="nodemailer", kind="nodemailer", round_trips=2, warm_up=NODE_WARM_UP)
# It puts an empty line of its own at the end.
SMTP_SOURCE = Peer(name="smtp-source", kind="smtp-source", extra_bytes=2)
OTHERS = (SMTPLIB, AIOSMTPLIB, AIOSMTPLIB_UVLOOP, NODEMAILER, SMTP_SOURCE)
_ROUND_TRIPS = {"auto": 4.0, "A": 4.0, "B2": 2.0, "B": 1.0, "C1": 1.0, "C16": 1 / 16, "C64": 1 / 64}
LEVELS = {"connector": "", "bytes": ", ready bytes", "host": ", host", "cold": ""}
COLD_AIOSMTPLIB = Peer(name="aiosmtplib.send", kind="cold-aiosmtplib", round_trips=8)
COLD_NODEMAILER = Peer(name="nodemailer", kind="nodemailer", options={"what": "cold"}, round_trips=6)
COMPOSING_AIOSMTPLIB = Peer(name="EmailMessage + aiosmtplib, uvloop", kind="aiosmtplib", options={"uvloop": True})
COMPOSING_NODEMAILER = Peer(name="nodemailer", kind="nodemailer", warm_up=NODE_WARM_UP)


def ours(mode: str, level: str = "connector", *, uvloop: bool = True) -> Peer:
    """Us: a mode, how much of the way, and which loop."""
    loop = "" if uvloop else ", asyncio"
    return Peer(
        name=f"{OURS} {mode}{LEVELS[level]}{loop}",
        kind=OURS,
        options={"mode": MODES[mode], "level": level, "uvloop": uvloop},
        round_trips=_ROUND_TRIPS[mode],
        quick=uvloop and mode != "B2" and (mode != "C64" or level == "connector"),
    )
