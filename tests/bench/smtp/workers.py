"""``./dev bench workers``: a broadcast on PostgreSQL by one worker and by two, in turn, on each engine they can share.

The other side is far away, so that a worker waits for its connections and not for a processor, of which all share few
here. Each run has new processes, a new database and a new sink, which says whether each recipient was sent to once.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.bench.smtp import promises
from tests.bench.smtp.network import Network, network
from tests.bench.smtp.ours import MODES
from tests.bench.smtp.processes import CLIENT_CORE, PINNED, SERVER_CORE, Child, ChildFailed, child, on_core
from tests.bench.smtp.report import GoalTable, at_least, number
from tests.bench.smtp.sinks import CannotRun, own_sink
from tests.bench.smtp.suite import Options, Rendered
from tests.bench.smtp.used import cpu_by_program
from tests.servers import nats, postgresql

RECIPIENTS = 20_000
QUICK = 6_000
DELAY_MS = 20
CONNECTIONS = 20
"""Of each worker."""
NATS, PGQUEUER = "nats", "pgqueuer"
ENGINES = (NATS, PGQUEUER)
WORKERS = (1, 2)
_MODE = "B"
_DATABASE, _ENGINE, _OTHER_SIDE = "postgres", "nats-server", ("sink", "link")
"""Programs, as the system names them."""
_TIMEOUT_S = 900.0


@attrs.frozen(kw_only=True)
class Sample:
    """One run. ``shares`` are the chunks that each worker did."""

    recipients: int
    wall_s: float
    worker_cpu_s: float
    database_cpu_s: float
    engine_cpu_s: float
    other_side_cpu_s: float
    shares: Sequence[int]

    @property
    def rate(self) -> float:
        return self.recipients / self.wall_s

    @property
    def worker_us(self) -> float:
        return self.worker_cpu_s / self.recipients * 1e6

    @property
    def database_us(self) -> float:
        return self.database_cpu_s / self.recipients * 1e6

    @property
    def engine_us(self) -> float:
        return self.engine_cpu_s / self.recipients * 1e6

    @property
    def other_side_us(self) -> float:
        return self.other_side_cpu_s / self.recipients * 1e6

    @property
    def least_share(self) -> float:
        """Of all chunks, in percent, those of the worker that had fewest."""
        return 100 * min(self.shares) / max(1, sum(self.shares))

    @property
    def workers_busy(self) -> float:
        """How much of a core the workers took, in percent."""
        return 100 * self.worker_cpu_s / self.wall_s

    @property
    def others_busy(self) -> float:
        """The same of the database, the engine, the sink and the wire."""
        return 100 * (self.database_cpu_s + self.engine_cpu_s + self.other_side_cpu_s) / self.wall_s


_COLUMNS = {
    "messages/s": "rate",
    "workers, CPU us/message": "worker_us",
    "database, us": "database_us",
    "NATS, us": "engine_us",
    "sink and wire, us": "other_side_us",
    "workers, % of a core": "workers_busy",
    "all others, %": "others_busy",
    "chunks of who had fewest, %": "least_share",
}


@attrs.frozen(kw_only=True)
class Shared:
    """All that was measured, by engine and number of workers. ``failures`` are broken promises, in words."""

    rows: Mapping[tuple[str, int], Sequence[Sample]]
    notes: Sequence[str]
    failures: Sequence[str]

    def ratio(self, engine: str, workers: int) -> float | None:
        """The rate over that of one worker, round by round."""
        pairs = zip(self.rows.get((engine, workers), ()), self.rows.get((engine, 1), ()), strict=False)
        ratios = [many.rate / one.rate for many, one in pairs]
        return statistics.median(ratios) if ratios else None

    def render(self) -> str:
        lines = ["### A broadcast that workers share, PostgreSQL", "", f"| | {' | '.join(_COLUMNS)} | of one worker |"]
        lines.append("|---" + "|--:" * (len(_COLUMNS) + 1) + "|")
        for (engine, workers), samples in self.rows.items():
            name = f"{engine}, {workers} worker{'s' if workers > 1 else ''}"
            values = [statistics.median(getattr(each, quantity) for each in samples) for quantity in _COLUMNS.values()]
            ratio = self.ratio(engine, workers)
            cells = [number(value) if value else "" for value in (*values, ratio)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join([*lines, "", *(f"- {note}." for note in self.notes)])

    def as_data(self) -> object:
        rows = [
            {"engine": engine, "workers": workers, "samples": [attrs.asdict(each) for each in samples]}
            for (engine, workers), samples in self.rows.items()
        ]
        return {"rows": rows, "notes": list(self.notes), "failures": list(self.failures)}

    def goals(self) -> GoalTable:
        """What is aimed at, beside what was reached."""
        goal = "two workers on PostgreSQL with {}: >= 1.7x one"
        return GoalTable(
            rows=[at_least(goal.format(engine), self.ratio(engine, 2), 1.7, "x") for engine in ENGINES],
        )


class _Run:
    """What all runs of the suite share, and the promises that were broken."""

    def __init__(self, folder: Path, net: Network, count: int, server: postgresql.Postgresql) -> None:
        self.folder = folder
        self.net = net
        self.count = count
        self.server = server
        self.failures: list[str] = []
        self.round_trip_ms: list[float] = []

    def sample(self, engine: str, workers: int) -> Sample:
        with ExitStack() as stack:
            sink = stack.enter_context(own_sink(self.net, self.folder))
            host, port = stack.enter_context(self.net.reach(sink.host, sink.port))
            self.round_trip_ms.append(self.net.round_trip_ms(host, port))
            url = self.server.make_database()
            stack.callback(self.server.drop_database, url)
            spec = {
                "host": host,
                "port": port,
                "url": url,
                "engine": stack.enter_context(self._engine(engine)),
                "mode": MODES[_MODE],
                "connections": CONNECTIONS,
                "count": self.count,
                "uvloop": True,
            }
            loader = stack.enter_context(self._process("load", spec))
            _answer(loader)
            working = [stack.enter_context(self._process("work", spec)) for _ in range(workers)]
            for each in working:
                _answer(each)
            before = cpu_by_program()
            loader.say("start")
            ended = _answer(loader)
            used = {name: seconds - before.get(name, 0.0) for name, seconds in cpu_by_program().items()}
            for each in working:
                each.say("end")
            said = [_answer(each) for each in working]
            broken = promises.broken(ended["counts"], sink, self.count)
            self.failures += [f"{engine}, {workers}: {promise}" for promise in broken]
        return Sample(
            recipients=self.count,
            wall_s=ended["wall_s"],
            worker_cpu_s=sum(each["cpu_s"] for each in said),
            database_cpu_s=used.get(_DATABASE, 0.0),
            engine_cpu_s=used.get(_ENGINE, 0.0),
            other_side_cpu_s=sum(used.get(name, 0.0) for name in _OTHER_SIDE),
            shares=[each["chunks"] for each in said],
        )

    @contextmanager
    def _process(self, role: str, spec: Mapping[str, Any]) -> Iterator[Child]:
        command = [sys.executable, "-m", "tests.bench.smtp.worker_probe", role, json.dumps(spec)]
        with child([*self.net.client_prefix, *command], core=CLIENT_CORE) as process:
            yield process

    @contextmanager
    def _engine(self, engine: str) -> Iterator[str]:
        if engine == PGQUEUER:
            yield "pgqueuer:"
            return
        with tempfile.TemporaryDirectory(prefix="nats-", dir=self.folder) as folder, self._nats(Path(folder)) as url:
            yield url

    @contextmanager
    def _nats(self, folder: Path) -> Iterator[str]:
        # Beside the workers, on their side of the wire; it says by itself on which port.
        options = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(folder), "--ports_file_dir", str(folder)]
        command = [*self.net.client_prefix, str(nats.program()), *options, "-l", str(folder / "log")]
        with child(command, core=SERVER_CORE) as process:
            deadline = time.monotonic() + 30.0
            while not (found := [json.loads(each.read_text()) for each in folder.glob("*.ports")]):
                if process.process.poll() is not None or time.monotonic() > deadline:
                    raise ChildFailed("the NATS server did not start")
                time.sleep(0.02)
            yield found[0]["nats"][0]


def _answer(process: Child) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(process.line(_TIMEOUT_S))
    if "failed" in answer:
        raise RuntimeError(answer["failed"])
    return answer


def run(options: Options) -> list[Rendered]:
    """Each engine, with one worker and with two, as many rounds as asked for."""
    if missing := postgresql.why_not() or nats.why_not():
        raise CannotRun(missing)
    count = options.recipients or (QUICK if options.quick else RECIPIENTS)
    rounds = options.rounds or (1 if options.quick else 2)
    samples: dict[tuple[str, int], list[Sample]] = {(engine, many): [] for engine in ENGINES for many in WORKERS}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as name, ExitStack() as stack:
        net = stack.enter_context(network(DELAY_MS, Path(name)))
        with on_core(SERVER_CORE):
            server = stack.enter_context(postgresql.Postgresql({"shared_buffers": "'128MB'"}))
        it = _Run(Path(name), net, count, server)
        for round_ in range(rounds):
            for (engine, many), kept in samples.items():
                print(f"[{round_ + 1}/{rounds}] {engine}, {many}", file=sys.stderr)
                kept.append(it.sample(engine, many))
    notes = [
        f"{count:,} recipients, 2 KB, mode {_MODE}, {CONNECTIONS} connections for each worker",
        f"{rounds} round(s) in turn, medians",
        f"{net.how}; measured round trip {number(statistics.median(it.round_trip_ms))} ms",
        f"{PINNED}, PostgreSQL and NATS with the sink; load {load:.1f} at the start",
        "a worker waits for its connections here, not for a processor; what one costs is in the columns of CPU time",
        "from start() until the last outcome is written, and with it up to a second until a worker has noticed",
    ]
    if not it.failures:
        notes.append("every sink took one message for each recipient")
    found = Shared(rows=samples, notes=notes, failures=it.failures)
    return [found, found.goals()]
