"""Child processes: pinned to a core, ended with the run whatever ends it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[3]
_PR_SET_PDEATHSIG = 1
_END_TIMEOUT_S = 5.0
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SERVER_CORE = _CORES[0] if len(_CORES) > 1 else None
CLIENT_CORE = _CORES[1] if len(_CORES) > 1 else None
PINNED = f"clients on core {CLIENT_CORE}, sinks and wire on core {SERVER_CORE}" if len(_CORES) > 1 else "not pinned"


class ChildFailed(Exception):
    """A child ended, or said that it failed."""


def _prepare(core: int | None, *, told_of_death: bool) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        # Should this process be killed, nobody would be left to end the child.
        if told_of_death and hasattr(libc, "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if core is not None:
            os.sched_setaffinity(0, {core})

    return prepare


class Child:
    """A process that takes a line and answers with one.

    It is killed when this process is, whatever kills that. One that ``ends_with_input`` is left to notice for itself
    that its input has ended, and to end others.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int | None,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[Any] = subprocess.PIPE,
        cwd: Path = ROOT,
        ends_with_input: bool = False,
    ) -> None:
        self._ends_with_input = ends_with_input
        self.name = Path(command[0]).name
        # A session of its own: Ctrl-C reaches this process, which then ends all others in order.
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=stdout,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            preexec_fn=_prepare(core, told_of_death=not ends_with_input),
            start_new_session=True,
        )
        self._buffer = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ChildFailed(f"{self.name} ended with status {self.process.wait()}") from None

    def says_something(self, within_s: float) -> bool:
        """Whether there is something to be read, or it has ended, within that time. It costs the other side nothing."""
        assert self.process.stdout is not None
        return b"\n" in self._buffer or bool(select.select([self.process.stdout], [], [], within_s)[0])

    def line(self, timeout_s: float) -> str:
        """The next line that it prints. Raises ``ChildFailed`` if it ends, or says nothing in time."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ChildFailed(f"{self.name} said nothing for {timeout_s:g} s")
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                raise ChildFailed(f"{self.name} ended with status {self.process.wait()}")
            self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def end(self) -> None:
        if self._ends_with_input and self.process.stdin is not None:
            self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process.wait()


@contextlib.contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[Child]:
    """A child for as long as the block runs."""
    started = Child(command, **options)
    try:
        yield started
    finally:
        started.end()


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Whatever this process starts inside the block runs on that core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
