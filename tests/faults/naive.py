"""What an engine does alone: one job for each chunk of recipients, no ledger, workers killed with SIGKILL.

The host hands all chunks to the engine once and walks away. Two workers send to a sink that counts; now and then one of
them is killed and another started. ``python -m tests.faults.naive`` prints a table of what was lost and what repeated.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from genie_connect.engine import Engine, Place, Work
from genie_connect.engine.pgqueuer import upgrade_tables
from tests.engine import making
from tests.servers.nats import Nats
from tests.servers.postgresql import Postgresql

ENGINES = ("embedded", "pgqueuer", "nats")
CHUNK = 500
WINDOW = 50
"""How many recipients a worker hands over before it waits for answers."""
ANSWER_S = 0.005
WORKERS = 2
CONCURRENCY = 2
RECORD_BYTES = 8
QUIET_S = 10.0
"""When the sink has received nothing for so long, and all workers run, nothing will come.

Work of the dead is taken over after 2 s.
"""


@attrs.frozen(kw_only=True)
class Result:
    """How many recipients got nothing, and how many copies were one too many."""

    engine: str
    recipients: int
    kills: int
    lost: int
    repeated: int


def naive_run(engine: str, recipients: int, kills: int, *, seed: int = 0) -> Result:
    """Send to so many recipients through an engine alone, while so many workers are killed."""
    with _argument(engine) as argument, tempfile.TemporaryDirectory(prefix="genie-connect-naive-") as folder:
        sink = Path(folder) / "sink"
        sink.touch()
        if engine != "embedded":
            asyncio.run(_submit(_made(engine, argument), recipients))
        _killed_now_and_then(engine, argument, sink, recipients, kills, random.Random(seed))
        copies = Counter(_records(sink))
    return Result(
        engine=engine,
        recipients=recipients,
        kills=kills,
        lost=recipients - len(copies),
        repeated=copies.total() - len(copies),
    )


@contextmanager
def _argument(engine: str) -> Iterator[str]:
    """What the engine is made with; its server runs meanwhile."""
    with ExitStack() as stack:
        if engine == "pgqueuer":
            url = stack.enter_context(Postgresql()).make_database()
            asyncio.run(upgrade_tables(Place(store="store", tenant="tests", store_url=url)))
            yield url
        elif engine == "nats":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="genie-connect-nats-")))
            yield f"{stack.enter_context(Nats(folder)).url} tests"
        else:
            yield ""


def _made(engine: str, argument: str) -> Engine:
    made: Engine = getattr(making, engine)(argument)
    return made


async def _submit(engine: Engine, recipients: int) -> None:
    async with engine:
        await engine.submit([Work(unit=number) for number in range(-(-recipients // CHUNK))])


def _killed_now_and_then(
    engine: str, argument: str, sink: Path, recipients: int, kills: int, chance: random.Random
) -> None:
    def start(*, first: bool) -> subprocess.Popen[bytes]:
        # In memory, the work is with the worker that it was handed to, and nobody else knows of it.
        hand_over = "hand-over" if first and engine == "embedded" and not workers else "-"
        command = [sys.executable, "-m", "tests.faults.naive", engine, argument, str(sink), str(recipients), hand_over]
        return subprocess.Popen(command)

    moments = sorted(chance.randrange(recipients) for _ in range(kills))
    workers: list[subprocess.Popen[bytes]] = []
    try:
        while len(workers) < WORKERS:
            workers.append(start(first=True))
        seen, since = 0, time.monotonic()
        while time.monotonic() - since < QUIET_S and not (seen >= recipients and _complete(sink, recipients)):
            time.sleep(0.002)
            count = sink.stat().st_size // RECORD_BYTES
            if count != seen or not all(_ready(sink, worker.pid).exists() for worker in workers):
                seen, since = count, time.monotonic()
            if moments and count >= moments[0]:
                moments.pop(0)
                number = chance.randrange(WORKERS)
                workers[number].kill()
                workers[number].wait()
                workers[number] = start(first=False)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _ready(sink: Path, pid: int) -> Path:
    """The file by which a worker says that it runs: on a busy machine it takes long to start."""
    return sink.with_name(f"ready-{pid}")


def _complete(sink: Path, recipients: int) -> bool:
    return len(set(_records(sink))) == recipients


def _records(sink: Path) -> Sequence[int]:
    return memoryview(sink.read_bytes()).cast("q").tolist()


async def _work(engine: str, argument: str, sink: Path, recipients: int, hand_over: bool) -> None:
    # Appended without a buffer: what was sent before the kill has been received.
    out = os.open(sink, os.O_WRONLY | os.O_APPEND)

    async def handler(work: Work) -> None:
        chunk = range(work.unit * CHUNK, min((work.unit + 1) * CHUNK, recipients))
        for first in range(0, len(chunk), WINDOW):
            for recipient in chunk[first : first + WINDOW]:
                os.write(out, recipient.to_bytes(RECORD_BYTES, sys.byteorder))
            await asyncio.sleep(ANSWER_S)

    async with _made(engine, argument) as made:
        _ready(sink, os.getpid()).touch()
        if hand_over:
            await made.submit([Work(unit=number) for number in range(-(-recipients // CHUNK))])
        await made.run(handler, concurrency=CONCURRENCY)


def main() -> None:
    """Print the table; with arguments, be a worker."""
    if len(sys.argv) > 1:
        engine, argument, sink, recipients, hand_over = sys.argv[1:]
        asyncio.run(_work(engine, argument, Path(sink), int(recipients), hand_over == "hand-over"))
        return
    print("| engine alone | recipients | kills | lost | repeated |\n|---|---|---|---|---|")
    for engine in ENGINES:
        result = naive_run(engine, recipients=20_000, kills=6)
        print(f"| {result.engine} | {result.recipients} | {result.kills} | {result.lost} | {result.repeated} |")


if __name__ == "__main__":
    main()
