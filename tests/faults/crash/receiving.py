"""Starting the receiving server, and asking it what it has taken."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.bench.smtp.processes import child

_START_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 60.0


@attrs.frozen(kw_only=True)
class Taken:
    """What the server has taken: the number of copies by pair of Message-ID and recipient."""

    copies: Counter[tuple[str, str]]

    @property
    def by_recipient(self) -> Counter[str]:
        """How many messages each recipient got."""
        found: Counter[str] = Counter()
        for (_, recipient), count in self.copies.items():
            found[recipient] += count
        return found

    @property
    def message_ids(self) -> frozenset[str]:
        """The Message-IDs it has seen."""
        return frozenset(message_id for message_id, _ in self.copies)


@attrs.frozen(kw_only=True)
class Receiver:
    """The running server."""

    host: str
    port: int
    folder: Path

    def ask(self, asked: str, **fields: Any) -> Any:
        """Ask a question."""
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rw") as file:
            line.settimeout(_ANSWER_TIMEOUT_S)
            line.connect(str(self.folder / "ask"))
            file.write(json.dumps({"ask": asked, **fields}) + "\n")
            file.flush()
            return json.loads(file.readline())

    def behave(self, **behaviour: float) -> None:
        """From now on misbehave like this; everything that is not named behaves."""
        self.ask("behave", **behaviour)

    def forget(self) -> None:
        """Begin to count anew."""
        self.ask("forget")

    def count(self) -> int:
        """How many copies it has taken."""
        return int(self.ask("count"))

    def taken(self) -> Taken:
        """What it has taken."""
        return Taken(copies=Counter({(mid, recipient): count for mid, recipient, count in self.ask("copies")}))


@contextlib.contextmanager
def receiver(address: str = "127.0.0.1", *, prefix: Sequence[str] = ()) -> Iterator[Receiver]:
    """The server for as long as the block runs. ``prefix`` is a command that runs it somewhere else."""
    # The name of a Unix socket has to be short, which pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="genie-connect-rx-"))
    try:
        command = [*prefix, sys.executable, "-m", "tests.faults.crash.receiver", address, str(folder)]
        with child(command, core=None) as process:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not (folder / "port").exists():
                if time.monotonic() > deadline or process.process.poll() is not None:
                    raise AssertionError("the receiving server did not start")
                time.sleep(0.01)
            yield Receiver(host=address, port=int((folder / "port").read_text()), folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
