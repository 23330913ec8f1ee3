"""Messages through every peer in turn: how many a second, at how much CPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from tests.bench.smtp import message as messages
from tests.bench.smtp.network import network
from tests.bench.smtp.peers import Peer, Round, Runner, content_file, start
from tests.bench.smtp.processes import ChildFailed
from tests.bench.smtp.report import Measured, Quantity, Results
from tests.bench.smtp.sinks import CannotRun, CountedSink, Sink, sink

RATE = "rate"
CPU = "cpu"
QUANTITIES = {RATE: Quantity(title="messages/s", more_is_better=True), CPU: Quantity(title="CPU-s/1000")}
WALL_MS = "wall_ms"
COLD_QUANTITIES = {WALL_MS: Quantity(title="ms/message"), CPU: Quantity(title="CPU-s/1000")}
MOST_MESSAGES = 50_000
_FIRST_MESSAGES = 100
_WINDOW = 64


@attrs.frozen(kw_only=True)
class Effort:
    """How long and how often."""

    round_s: float
    rounds: int


@attrs.frozen(kw_only=True)
class SendCase:
    """Which sink, over which network, how large, on how many connections, and who sends."""

    name: str
    sink: str
    size: str
    connections: int
    delay_ms: int
    peers: Sequence[Peer]
    reference: str
    composes: bool = False
    cold: bool = False

    def title(self, sink_label: str) -> str:
        connections = "1 connection" if self.connections == 1 else f"{self.connections} connections"
        delay = f"{self.delay_ms} ms round trip" if self.delay_ms else "no latency"
        what = "compose and send" if self.composes else "send"
        if self.cold:
            what, connections = "connect, AUTH and send one message of", "a connection for each"
        return f"{self.name}: {what} {self.size}, {connections}, {delay}, to {sink_label}"


class _Entry:
    """A peer during one case."""

    def __init__(self, peer: Peer, runner: Runner) -> None:
        self.peer = peer
        self.runner = runner
        self.rounds: list[Round] = []
        self.count = 0


def run_case(case: SendCase, effort: Effort, folder: Path) -> Results:
    """All peers of a case, round by round."""
    skipped: dict[str, str] = {}
    notes: list[str] = []
    entries: list[_Entry] = []
    label = case.sink
    with ExitStack() as stack:
        try:
            net = stack.enter_context(network(case.delay_ms, folder))
            target = stack.enter_context(sink(case.sink, net, folder))
        except CannotRun as reason:
            return _results(case, label, [], notes, {"all": str(reason)})
        label = target.label
        host, port = stack.enter_context(net.reach(target.host, target.port))
        trip_ms = net.round_trip_ms(host, port)
        notes.append(f"{net.how}; measured round trip {trip_ms:.3g} ms")
        spec = {
            "host": host,
            "port": port,
            "size": case.size,
            "connections": case.connections,
            "composes": case.composes,
            "content_file": content_file(folder, case.size),
        }
        for peer in case.peers:
            try:
                runner = start(peer, stack, net, spec)
            except CannotRun as reason:
                skipped[peer.name] = str(reason)
            else:
                entries.append(_Entry(peer, runner))
        counting = _Counting(case, target)
        for entry in list(entries):
            try:
                _warm_up(entry, case, trip_ms / 1000, effort, counting)
            except (CannotRun, ChildFailed) as reason:
                skipped[entry.peer.name] = str(reason)
                entries.remove(entry)
        for _ in range(effort.rounds):
            for entry in list(entries):
                try:
                    counting.round(entry, entry.count, keep=True)
                    entry.count = _aim(entry.rounds[-1], effort, case)
                except ChildFailed as reason:
                    skipped[entry.peer.name] = str(reason)
                    entries.remove(entry)
        notes += counting.told()
    return _results(case, label, entries, notes, skipped)


def _warm_up(entry: _Entry, case: SendCase, trip_s: float, effort: Effort, counting: _Counting) -> None:
    """Connect, and find out how many messages fill a round."""
    counting.round(entry, 1 if case.cold else 3 * case.connections, keep=False)
    by_round_trips = effort.round_s / max(1e-9, entry.peer.round_trips * trip_s) * case.connections
    first = min(_FIRST_MESSAGES * case.connections, MOST_MESSAGES, int(by_round_trips) + 1)
    # A window must be full for a while to show what it does.
    if entry.peer.round_trips < 1:
        first = max(first, 2 * _WINDOW * case.connections)
    first = max(first, 2 * case.connections)
    last = counting.round(entry, first, keep=False)
    # What a compiler has to see often before it makes it fast; at its own pace, so not where latency sets that.
    if entry.peer.warm_up > last.sent and not case.delay_ms:
        last = counting.round(entry, entry.peer.warm_up, keep=False)
    entry.count = _aim(last, effort, case)


def _aim(last: Round, effort: Effort, case: SendCase) -> int:
    return max(3 * case.connections, min(MOST_MESSAGES, int(last.per_second * effort.round_s)))


class _Counting:
    """Compares what a peer says that it sent with what the sink says that it took."""

    def __init__(self, case: SendCase, target: Sink) -> None:
        self._target = target
        self._size_bytes = None if case.composes else messages.SIZES_BYTES[case.size]
        self._wrong: list[str] = []
        self._checked = 0

    def round(self, entry: _Entry, count: int, *, keep: bool) -> Round:
        target = self._target
        messages_before, bytes_before = target.messages(), target.content_bytes()
        done = entry.runner.round(count)
        expected = done.sent + int(done.more.get("also_sent", 0))
        taken = target.settled_messages(messages_before + expected) - messages_before
        self._checked += taken
        if taken != expected:
            self._wrong.append(f"{entry.peer.name} sent {expected} and the sink took {taken}")
        bytes_after = target.content_bytes()
        # The host makes a Message-ID of its own for each copy, of another length than ours here.
        if self._size_bytes and bytes_before is not None and bytes_after and entry.peer.options.get("level") != "host":
            arrived = bytes_after - bytes_before
            if arrived != taken * (self._size_bytes + entry.peer.extra_bytes):
                self._wrong.append(f"{entry.peer.name} sent {taken} messages in {arrived} bytes")
        if keep:
            entry.rounds.append(done)
        return done

    def told(self) -> list[str]:
        if isinstance(self._target, CountedSink) and self._target.errors():
            self._wrong.append(f"the sink refused {self._target.errors()} commands")
        if self._wrong:
            print("\n".join(f"WRONG: {wrong}" for wrong in self._wrong), file=sys.stderr)
            return [f"WRONG: {wrong}" for wrong in self._wrong]
        exactly = " and every byte" if self._size_bytes and self._target.content_bytes() is not None else ""
        return [f"the sink took each of the {self._checked:,} messages once{exactly}"]


def _results(case: SendCase, label: str, entries: list[_Entry], notes: list[str], skipped: dict[str, str]) -> Results:
    rows = {
        entry.peer.name: {
            RATE: Measured(samples=[each.per_second for each in entry.rounds]),
            WALL_MS: Measured(samples=[1000 / each.per_second for each in entry.rounds]),
            CPU: Measured(samples=[each.cpu_s_per_1000 for each in entry.rounds]),
        }
        for entry in entries
    }
    quantities = COLD_QUANTITIES if case.cold else QUANTITIES
    rows = {name: {quantity: row[quantity] for quantity in quantities} for name, row in rows.items()}
    # Ratios to the reference, or to the best of ours that there is.
    ours = [name for name in rows if name.startswith("ours")]
    reference = case.reference if case.reference in rows else (ours[0] if ours else "")
    return Results(
        name=case.name,
        title=case.title(label),
        quantities=quantities,
        rows=rows,
        reference=reference,
        notes=notes,
        skipped=skipped,
    )
