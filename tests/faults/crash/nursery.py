"""Where the processes that are to be killed come from: one process that has imported everything, and forks.

A start of Python with all that a host needs takes longer than many of these processes live. A fork of one that is
ready takes milliseconds, and is a process like any other: with a pid of its own, killed by the same signal, and
nothing shared with those before it, since the parent opens nothing.

``python -m tests.faults.crash.nursery FD`` answers on the socket FD. A request is JSON with two descriptors, the
child's standard output and error.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[3]
_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20
_START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 10.0
EXPECTED_WITHIN_S = 60.0
"""Long, as other work may keep the machine busy; what goes well does not wait for it."""
ENDED = "ended"
"""The last line of a process that came to its own end."""


class DiedByItself(AssertionError):
    """A process ended that nobody had killed, or said nothing in time; the text holds what it wrote."""


class Life:
    """One process, from its birth to its end. Signals reach it and no other, even after its end."""

    def __init__(self, role: str, pid: int, output: int, errors: IO[bytes]) -> None:
        self.role = role
        self.pid = pid
        self.lines: list[str] = []
        self._output: int | None = output
        self._errors: IO[bytes] | None = errors
        self._last_errors = ""
        self._rest = b""
        try:
            self._handle: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle = None

    @property
    def alive(self) -> bool:
        """Whether it runs, or is stopped."""
        return self._handle is not None and not _ready(self._handle, 0.0)

    @property
    def ended(self) -> bool:
        """Whether it came to its own end."""
        self.read()
        return ENDED in self.lines[-1:]

    def send(self, number: int) -> bool:
        """Send a signal. Whether there was somebody to receive it."""
        if self._handle is None:
            return False
        try:
            signal.pidfd_send_signal(self._handle, number)
        except ProcessLookupError:
            return False
        return True

    def locks_a_file(self) -> bool:
        """Whether it has a file locked for writing. Only of one that is stopped is this still so a moment later."""
        held = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        return any(fields[3:5] == ["WRITE", str(self.pid)] for fields in held)

    def kill(self) -> bool:
        """Kill it and read the rest of what it said. Whether it still lived."""
        hit = self.alive and self.send(signal.SIGKILL)
        self.join(10.0)
        return hit

    def join(self, timeout_s: float) -> None:
        """Wait for its end, and let go of all but its words. Raises ``DiedByItself`` if it takes too long."""
        deadline = time.monotonic() + timeout_s
        while self.alive:
            if time.monotonic() > deadline:
                raise DiedByItself(f"{self.role} did not end within {timeout_s:g} s\n{self.errors()}")
            self.read(0.02)
        while self._output is not None:
            self.read(0.5)
        self._last_errors = self.errors()
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def read(self, wait_s: float = 0.0) -> None:
        """Take in what it has said."""
        while self._output is not None and _ready(self._output, wait_s):
            got = os.read(self._output, 1 << 16)
            *lines, self._rest = (self._rest + got).split(b"\n")
            self.lines += [line.decode() for line in lines]
            wait_s = 0.0
            if not got:
                os.close(self._output)
                self._output = None

    def expect(self, beginning: str, timeout_s: float = EXPECTED_WITHIN_S) -> str:
        """The first line that begins so. Raises ``DiedByItself`` when none comes."""
        deadline = time.monotonic() + timeout_s
        while True:
            line = self.said(beginning)
            if line is not None:
                return line
            if time.monotonic() > deadline:
                raise DiedByItself(self._missing(beginning))

    def said(self, beginning: str) -> str | None:
        """The first line that begins so, or ``None`` for now. Raises ``DiedByItself`` where it can say nothing more."""
        self.read(0.02)
        line = next((line for line in self.lines if line.startswith(beginning)), None)
        if line is None and self._output is None:
            raise DiedByItself(self._missing(beginning))
        return line

    def _missing(self, beginning: str) -> str:
        return f"{self.role} did not say {beginning!r}; it said {self.lines[-3:]}\n{self.errors()}"

    def errors(self) -> str:
        """The end of what it wrote to standard error."""
        if self._errors is None:
            return self._last_errors
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-6000:]


def _ready(descriptor: int, wait_s: float) -> bool:
    # Not select: that knows the first thousand descriptors only.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


class Nursery:
    """Gives birth to processes in the roles of ``tests.faults.crash.program``."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lives: list[Life] = []

    def birth(self, role: str, **options: Any) -> Life:
        """A new process in this role."""
        read_end, write_end = os.pipe()
        with contextlib.suppress(OSError):
            # So that nobody has to read all the time.
            fcntl.fcntl(read_end, _F_SETPIPE_SZ, _PIPE_BYTES)
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # the life keeps it
        try:
            request = json.dumps({"role": role, **options}).encode()
            socket.send_fds(self._line, [request], [write_end, errors.fileno()])
        finally:
            os.close(write_end)
        life = Life(role, int(self._line.recv(64)), read_end, errors)
        self._lives = [other for other in self._lives if other.alive]
        self._lives.append(life)
        return life

    def close(self) -> None:
        """Kill all that is left."""
        for life in self._lives:
            life.kill()


@contextlib.contextmanager
def nursery(*, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Iterator[Nursery]:
    """A nursery for as long as the block runs. ``prefix`` is a command that runs it somewhere else."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            command = [*prefix, sys.executable, "-m", "tests.faults.crash.nursery", str(theirs.fileno())]
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        born = Nursery(ours)
        try:
            ours.settimeout(_START_TIMEOUT_S)
            if ours.recv(64) != b"ready":
                raise DiedByItself("the nursery did not start")
            yield born
        finally:
            born.close()
            # It ends when nobody is left at the other end, so it does too when this process is killed.
            ours.close()
            process.wait(_END_TIMEOUT_S)


def _serve(line: socket.socket) -> None:
    # Imported before the first birth, which is what all this is for; and not by those who only start a nursery.
    from tests.faults.crash import program

    program.warm()
    # What no child will ever let go of need not be looked at by its collector, which would copy every page of it.
    gc.collect()
    gc.freeze()
    # The kernel then buries the dead by itself, and none of them looks like a process that still lives.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    line.send(b"ready")
    while True:
        request, descriptors, _, _ = socket.recv_fds(line, 1 << 16, 2)
        if not request:
            # The children go with their parent.
            return
        pid = os.fork()
        if pid == 0:
            line.close()
            _live(program.live, json.loads(request), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        line.send(str(pid).encode())


def _live(live: Any, options: dict[str, Any], output: int, errors: int) -> None:
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.close(output)
        os.close(errors)
        live(options.pop("role"), options)
        os.write(1, f"{ENDED}\n".encode())
        status = 0
    except BaseException:  # nobody above could tell of it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
