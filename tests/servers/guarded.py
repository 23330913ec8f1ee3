"""A child process that does not outlive the tests, however they end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0


class ServerFailedError(Exception):
    """The server ended or never listened; the text holds its log."""


class Guarded:
    """A server in a process group of its own, which ends when this process does.

    ``alone`` is a signal on which the server ends the others of its group by itself.
    """

    def __init__(self, log: Path, *, alone: str | None = None) -> None:
        self._log = log
        self._last = 'kill -s KILL -- "-$1"' if alone is None else f'kill -s {alone} -- "$1"'
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return None if self._process is None else self._process.pid

    def start(
        self,
        command: Sequence[str | Path],
        ready: Callable[[], bool],
        *,
        env: Mapping[str, str] | None = None,
        user: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Start it, and wait until it is ready. ``user`` says as whom, as ``Popen`` has it."""
        assert self._process is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                **user,
            )
        # Ends it if this process is killed before it can: the pipe closes then, whatever the cause.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", f"read -r _; {self._last}", "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.02)
                raise ServerFailedError(f"{command[0]} ended with status {self._process.returncode}\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailedError(f"{command[0]} did not listen within {_START_TIMEOUT_S} s\n{self.log()}")

    def stop(self, number: int) -> None:
        """Send it a signal, and wait until it has ended. May be called when it does not run."""
        process, self._process = self._process, None
        guard, self._guard = self._guard, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if guard is not None:
            # Killed, not asked: the number of a group that has ended may be another's by now.
            with guard:
                guard.kill()

    def log(self) -> str:
        """The end of what the server printed."""
        return self._log.read_text(errors="replace")[-8000:] if self._log.exists() else ""


def answers(port: int, greeting: bytes, *, hello: bytes = b"") -> bool:
    """Whether who listens on a loopback port says what is expected."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(hello)
        return connection.recv(512).startswith(greeting)
    return False


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
