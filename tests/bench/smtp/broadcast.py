"""``./dev bench broadcast``: a million recipients in memory and in the ledger, in turn, in one run.

Recipients are generated while they are sent to, and each run has a new process and a new sink, which says whether each
of them was sent to once. A run that broke a promise fails the whole. ``--quick`` takes a twentieth of them, ``--case``
what is named, and ``--ten-million`` two rows, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from genie_connect.store.database import Database
from genie_connect.store.migrate import opened, upgrade
from tests.bench.smtp import peers, promises
from tests.bench.smtp.network import Network, network
from tests.bench.smtp.ours import MODES
from tests.bench.smtp.processes import CLIENT_CORE, PINNED, SERVER_CORE, ChildFailed, child, on_core
from tests.bench.smtp.report import GoalTable, at_least, at_most, number
from tests.bench.smtp.sinks import CountedSink, own_sink
from tests.bench.smtp.suite import Options, Rendered
from tests.servers import postgresql

RECIPIENTS = 1_000_000
QUICK = 50_000
TEN_MILLION = 10_000_000
SENDS = 20_000
LISTMONK_SHARE = 50
"""One in so many recipients is sent to by the peer, which would take hours for all."""
LISTMONK_CONNECTIONS = 10
MEMORY, SQLITE, POSTGRESQL = "in memory (send_each)", "durable, SQLite", "durable, PostgreSQL"
SMALLER = "durable, SQLite, smaller micro-batches"
LISTMONK = f"EmailMessage + aiosmtplib, {LISTMONK_CONNECTIONS} connections"
KILLED, SENT = "killed and gone on with", "durable sends"
"""What is measured beside the rows, by the name that ``--case`` finds."""
OF_TEN_MILLION = r"memory|durable, SQLite$"
"""The others say nothing more of so many, and take hours."""
_MODE = "C16"
LIMIT_MIB = 150.0
LEDGER_LIMIT_MIB = 200.0
MOST_UNKNOWN = 1_000
"""What one micro-batch of the defaults has: so many are in doubt at most after a kill."""
_TIMEOUT_S = 4 * 3600.0
_TELL_EVERY_S = 30.0


@attrs.frozen(kw_only=True)
class Sample:
    """One run. Rates are recipients a second; what a way of sending does not have is ``None``."""

    recipients: int
    send_s: float
    send_cpu_s: float
    load_s: float | None = None
    load_cpu_s: float | None = None
    first_s: float | None = None
    above_start_mib: float | None = None
    ledger_bytes: float | None = None

    @property
    def rate(self) -> float:
        return self.recipients / self.send_s

    @property
    def whole_rate(self) -> float:
        return self.recipients / (self.send_s + (self.load_s or 0.0))

    @property
    def load_rate(self) -> float | None:
        return None if self.load_s is None else self.recipients / self.load_s

    @property
    def load_rate_by_cpu(self) -> float | None:
        return None if self.load_cpu_s is None else self.recipients / self.load_cpu_s

    @property
    def cpu_us(self) -> float:
        return self.send_cpu_s / self.recipients * 1e6


_COLUMNS = {
    "messages/s": "rate",
    "CPU us/message": "cpu_us",
    "load rows/s": "load_rate",
    "rows/CPU-s": "load_rate_by_cpu",
    "messages/s, load and all": "whole_rate",
    "first after, s": "first_s",
    "peak MiB above start": "above_start_mib",
    "ledger bytes/recipient": "ledger_bytes",
}


@attrs.frozen(kw_only=True)
class Broadcasts:
    """All that was measured. ``failures`` are broken promises, in words."""

    rows: Mapping[str, Sequence[Sample]]
    resumed: Mapping[str, Any]
    sends: Mapping[str, Any]
    notes: Sequence[str]
    failures: Sequence[str]

    def median(self, row: str, quantity: str) -> float | None:
        found = [getattr(sample, quantity) for sample in self.rows.get(row, ())]
        known = [value for value in found if value is not None]
        return statistics.median(known) if known else None

    def ratio(self, row: str, over: str, quantity: str = "rate") -> float | None:
        """Round by round."""
        pairs = zip(self.rows.get(row, ()), self.rows.get(over, ()), strict=False)
        ratios = [getattr(one, quantity) / getattr(other, quantity) for one, other in pairs]
        return statistics.median(ratios) if ratios else None

    def render(self) -> str:
        lines = [f"### Broadcasts, mode {_MODE}", "", f"| | {' | '.join(_COLUMNS)} | of in memory |"]
        lines.append("|---" + "|--:" * (len(_COLUMNS) + 1) + "|")
        for row in self.rows:
            values = [self.median(row, quantity) for quantity in _COLUMNS.values()]
            ratio = self.ratio(row, MEMORY)
            cells = ["" if value is None else number(value) for value in (*values, ratio)]
            lines.append(f"| {row} | {' | '.join(cells)} |")
        return "\n".join([*lines, "", *(f"- {note}." for note in self.notes)])

    def as_data(self) -> object:
        return attrs.asdict(self)

    def goals(self) -> GoalTable:
        """What is aimed at, beside what was reached."""
        by_rate = self.ratio(SQLITE, MEMORY)
        by_cpu = self.ratio(MEMORY, SQLITE, "cpu_us")
        listmonk = self.ratio(SQLITE, LISTMONK)
        rows = [
            at_least("durable on SQLite: >= 70 % of the rate in memory", by_rate, 0.7, "", f"by CPU {_text(by_cpu)}"),
            at_least("durable on SQLite: >= 10x per-message sending", listmonk, 10, "x"),
            at_least("loading: >= 40,000 rows a CPU-second", self.median(SQLITE, "load_rate_by_cpu"), 40_000, ""),
            at_most("peak memory above the start: < 200 MiB", self.median(SQLITE, "above_start_mib"), 200, " MiB"),
            at_most("ledger: <= 40 bytes a recipient", self.median(SQLITE, "ledger_bytes"), 40, ""),
            at_most("from start() to the first message: < 5 s", self.median(SQLITE, "first_s"), 5, " s"),
            at_most("from a new process to its first message: < 5 s", self.resumed.get("first_s"), 5, " s"),
            at_most("a lone durable send: <= 2 fsyncs", self.sends.get("whole_syncs"), 2, ""),
            at_least("64 senders: >= 6,000 durable sends a second", self.sends.get("per_s"), 6_000, ""),
        ]
        return GoalTable(rows=rows)


def _text(value: float | None) -> str:
    return "" if value is None else number(value)


class _Watched:
    """Tells how far a long row is. The sink's counters are a file: to read them disturbs nobody."""

    def __init__(self, row: str, sink: CountedSink, count: int) -> None:
        self._row = row
        self._sink = sink
        self._count = count
        self._begun = time.monotonic()
        self._seen = (self._begun, 0)

    def tell(self) -> None:
        """One line, on standard error."""
        now, taken = time.monotonic(), self._sink.messages()
        rate = (taken - self._seen[1]) / (now - self._seen[0])
        self._seen = (now, taken)
        left = f", {(self._count - taken) / rate / 60:.0f} min left" if rate else ""
        said = f"{taken:,} of {self._count:,} at the sink, {rate:,.0f}/s{left}" if taken else "nothing at the sink yet"
        print(f"  {(now - self._begun) / 60:.1f} min, {self._row}: {said}", file=sys.stderr, flush=True)
        if now - self._begun > _TIMEOUT_S:
            raise ChildFailed(f"{self._row} took longer than {_TIMEOUT_S / 3600:g} hours")


class _Run:
    """One run of the suite: its folder, its servers, and the promises that were broken."""

    def __init__(self, folder: Path, net: Network, count: int, server: postgresql.Postgresql | None) -> None:
        self.folder = folder
        self.net = net
        self.count = count
        self.server = server
        self.failures: list[str] = []
        self._stores = 0

    def ways(self) -> Mapping[str, Callable[[], Sample]]:
        """The rows, and how each is measured."""
        ways = {
            MEMORY: self.memory,
            SQLITE: lambda: self.durable(SQLITE),
            SMALLER: lambda: self.durable(SMALLER, micro_batch=200),
        }
        if self.server is not None:
            ways[POSTGRESQL] = lambda: self.durable(POSTGRESQL)
        return {**ways, LISTMONK: self.listmonk}

    def memory(self) -> Sample:
        with own_sink(self.net, self.folder) as sink:
            answer = self._probe("probe", "broadcast-ours", self._spec(sink), _Watched(MEMORY, sink, self.count))
            self._check(MEMORY, answer["states"], answer["above_start_kib"], sink)
        mib = answer["above_start_kib"] / 1024
        return Sample(recipients=self.count, send_s=answer["wall_s"], send_cpu_s=answer["cpu_s"], above_start_mib=mib)

    def durable(self, row: str, **engine: int) -> Sample:
        with self._store(row) as store, own_sink(self.net, self.folder) as sink:
            before = store.bytes()
            spec = self._spec(sink) | {"url": store.url, "engine": engine}
            answer = self._probe("durable_probe", "broadcast", spec, _Watched(row, sink, self.count))
            self._check(row, answer["counts"], answer["above_start_kib"], sink)
            kept = store.bytes() - before
        return Sample(
            recipients=self.count,
            send_s=answer["send"]["wall_s"],
            send_cpu_s=answer["send"]["cpu_s"],
            load_s=answer["load"]["wall_s"],
            load_cpu_s=answer["load"]["cpu_s"],
            first_s=answer["first_s"],
            above_start_mib=answer["above_start_kib"] / 1024,
            ledger_bytes=kept / self.count,
        )

    def listmonk(self) -> Sample:
        count = max(1_000, self.count // LISTMONK_SHARE)
        with own_sink(self.net, self.folder) as sink, ExitStack() as stack:
            spec = {"host": sink.host, "port": sink.port, "connections": LISTMONK_CONNECTIONS, "size": "2KB"}
            spec |= {"composes": True, "content_file": peers.content_file(self.folder, "2KB")}
            runner = peers.start(peers.COMPOSING_AIOSMTPLIB, stack, self.net, spec)
            runner.round(200)
            done = runner.round(count)
        return Sample(recipients=count, send_s=done.wall_s, send_cpu_s=done.cpu_s)

    def resumed(self) -> dict[str, Any]:
        """Kill -9 in the middle; another process goes on."""
        with self._store(SQLITE) as store, own_sink(self.net, self.folder) as sink:
            spec = self._spec(sink) | {"url": store.url}
            with child(self._command("durable_probe", "broadcast", spec), core=CLIENT_CORE) as process:
                while sink.messages() < self.count // 2 and process.process.poll() is None:
                    time.sleep(0.01)
            killed_at = _still(sink)
            answer = self._probe("durable_probe", "resume", spec | {"begun": time.monotonic()})
            counts, taken = answer["counts"], sink.messages()
        if counts["accepted"] + counts["unknown"] != self.count:
            self.failures.append(f"after the kill: outcomes {counts}")
        if counts["unknown"] > MOST_UNKNOWN:
            self.failures.append(f"after the kill: {counts['unknown']} unknown, more than a micro-batch")
        if not counts["accepted"] <= taken <= self.count:
            self.failures.append(f"after the kill: the sink took {taken:,} messages, of {counts} outcomes")
        return {"killed_at": killed_at, "first_s": answer["first_s"], "counts": counts, "taken": taken}

    def sends(self) -> dict[str, Any]:
        with self._store(SQLITE) as store, own_sink(self.net, self.folder) as sink:
            spec = self._spec(sink) | {"url": store.url, "count": min(SENDS, self.count)}
            answer = self._probe("durable_probe", "sends", spec)
        by_cpu = answer["sent"] / answer["cpu_s"]
        return {**answer, "per_s": answer["sent"] / answer["wall_s"], "per_cpu_s": by_cpu}

    def _spec(self, sink: CountedSink) -> dict[str, Any]:
        return {
            "host": sink.host,
            "port": sink.port,
            "counters": str(sink.counters),
            "mode": MODES[_MODE],
            "count": self.count,
            "uvloop": True,
        }

    def _command(self, module: str, name: str, spec: Mapping[str, Any]) -> list[str]:
        return [sys.executable, "-m", f"tests.bench.smtp.{module}", name, json.dumps(spec)]

    def _probe(
        self, module: str, name: str, spec: Mapping[str, Any], watched: _Watched | None = None
    ) -> dict[str, Any]:
        with child(self._command(module, name, spec), core=CLIENT_CORE) as process:
            while watched is not None and not process.says_something(_TELL_EVERY_S):
                watched.tell()
            answer: dict[str, Any] = json.loads(process.line(_TIMEOUT_S))
        if "failed" in answer:
            raise RuntimeError(answer["failed"])
        return answer

    def _check(self, row: str, states: Mapping[str, int], above_start_kib: int, sink: CountedSink) -> None:
        self.failures += [f"{row}: {promise}" for promise in promises.broken(states, sink, self.count)]
        limit = LIMIT_MIB if row == MEMORY else LEDGER_LIMIT_MIB
        if (mib := above_start_kib / 1024) > limit:
            self.failures.append(f"{row}: {mib:.0f} MiB above the start, over the limit of {limit:.0f}")

    @contextlib.contextmanager
    def _store(self, row: str) -> Iterator[_Store]:
        self._stores += 1
        if row != POSTGRESQL:
            file = self.folder / f"store-{self._stores}.db"
            made = _SqliteStore(f"sqlite:///{file}", file)
            yield made
            file.unlink(missing_ok=True)
            return
        assert self.server is not None
        url = self.server.make_database()
        asyncio.run(_make_tables(url))
        yield _PostgresqlStore(url, self.server)
        self.server.drop_database(url)


@attrs.frozen
class _SqliteStore:
    url: str
    file: Path

    def bytes(self) -> int:
        if not self.file.exists():
            return 0
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.file.stat().st_size


@attrs.frozen
class _PostgresqlStore:
    url: str
    server: postgresql.Postgresql

    def bytes(self) -> int:
        return int(self.server.psql(self.url, "SELECT pg_database_size(current_database())"))


_Store = _SqliteStore | _PostgresqlStore


async def _make_tables(url: str) -> None:
    async with opened(Database(url)) as database:
        await upgrade(database)


def _still(sink: CountedSink) -> int:
    """How many messages it has once no more come: what was on its way to it arrives after the kill."""
    count = -1
    while (now := sink.messages()) != count:
        count = now
        time.sleep(0.2)
    return count


def run(options: Options) -> list[Rendered]:
    """Every way of sending in turn, as many rounds as asked for; then a kill, then single sends."""
    count = options.recipients or (QUICK if options.quick else RECIPIENTS)
    rounds = options.rounds or (1 if count >= TEN_MILLION else 2)
    wanted = re.compile(options.case or (OF_TEN_MILLION if count >= TEN_MILLION else ""))
    missing = postgresql.why_not() if wanted.search(POSTGRESQL) else None
    found = Broadcasts(rows={}, resumed={}, sends={}, notes=[], failures=[])
    with tempfile.TemporaryDirectory(prefix="bench-broadcast-") as name, ExitStack() as stack:
        net = stack.enter_context(network(0, Path(name)))
        with on_core(SERVER_CORE):
            # As it is installed: its commits wait for the disk, as those of SQLite do.
            there = wanted.search(POSTGRESQL) and not missing
            server = stack.enter_context(postgresql.Postgresql({"shared_buffers": "'128MB'"})) if there else None
        it = _Run(Path(name), net, count, server)

        def kept(**more: Any) -> Broadcasts:
            so_far = attrs.evolve(found, **more, failures=list(it.failures))
            so_far = attrs.evolve(so_far, notes=_notes(so_far, count, rounds, missing))
            options.keep([so_far, so_far.goals()])
            return so_far

        for round_ in range(rounds):
            for row, way in it.ways().items():
                if not wanted.search(row):
                    continue
                print(f"[{round_ + 1}/{rounds}] {row}", file=sys.stderr)
                found = kept(rows={**found.rows, row: [*found.rows.get(row, ()), way()]})
        if wanted.search(KILLED):
            found = kept(resumed=it.resumed())
        if wanted.search(SENT):
            found = kept(sends=it.sends())
    return [found, found.goals()]


def _notes(found: Broadcasts, count: int, rounds: int, missing: str | None) -> list[str]:
    notes = [f"{count:,} recipients, {rounds} round(s) in turn, medians; {PINNED}, PostgreSQL with the sink"]
    if LISTMONK in found.rows:
        notes.append(f"the peer sent to one recipient in {LISTMONK_SHARE}")
    if SMALLER in found.rows:
        notes.append(f"{SMALLER}: 100 recipients between two commits, not 500")
    if found.resumed:
        notes.append(_told_of_kill(found.resumed))
    if found.sends:
        notes.append(_told_of_sends(found.sends))
    if missing:
        notes.append(f"without PostgreSQL: {missing}")
    if not found.failures:
        more = ", and none twice after the kill" if found.resumed else ""
        notes.append(f"the sink took one message for each recipient in every whole run{more}")
    return notes


def _told_of_kill(resumed: Mapping[str, Any]) -> str:
    return (
        f"killed after {resumed['killed_at']:,} messages; the next process sent its first {resumed['first_s']:.2f} s "
        f"after it was begun; {resumed['counts']['unknown']} unknown, {resumed['taken']:,} messages in the end"
    )


def _told_of_sends(sends: Mapping[str, Any]) -> str:
    return (
        f"a lone durable send waits for the disk {sends['accept_syncs']} time(s) before it returns, and "
        f"{sends['whole_syncs']} until it is settled; {number(sends['per_s'])} a second from 64 senders "
        f"({number(sends['per_cpu_s'])} a CPU-second), {number(sends['sends_a_sync'])} of them in a commit"
    )
