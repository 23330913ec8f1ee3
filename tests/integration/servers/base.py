"""What all the real servers have in common: a place, a process, a port; and mail servers a sink behind them."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.integration.servers.sink import Delivery, Sink

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0


class NotInstalledError(Exception):
    """The server cannot run here; the text says why, and what to do."""


class ServerFailedError(Exception):
    """The server ended or never greeted; the text holds its log."""


def servers_folder() -> Path:
    """Where ``install-servers`` unpacks the servers: ``GENIE_CONNECT_SERVERS``, or ``.servers`` in the checkout."""
    return Path(os.environ.get("GENIE_CONNECT_SERVERS") or Path(__file__).parents[3] / ".servers").resolve()


class LocalProgram(ABC):
    """A program that ``install-servers`` brings, on a loopback port, for as long as its ``with`` block runs."""

    name: ClassVar[str]
    host: ClassVar[str] = "127.0.0.1"
    needs_root: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installed = servers_folder() / self.name
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._output = folder / "output.log"

    @classmethod
    def why_not(cls) -> str | None:
        """Why this program cannot be started here, or None if it can."""
        if not (servers_folder() / cls.name / ".installed").exists():
            return f"{cls.name} is not installed: run tests/integration/install-servers {cls.name}"
        if cls.needs_root and os.geteuid() != 0:
            return f"{cls.name} changes its root folder and its user, so it must be started as root"
        return None

    @abstractmethod
    def configure(self) -> list[str]:
        """Write configuration and spool below ``self.folder``; return the command that runs in the foreground."""

    @abstractmethod
    def greets(self) -> bool:
        """Whether it answers on its port as it should."""

    def logs(self) -> Iterable[Path]:
        """The files that it logs to, beside its output."""
        return ()

    def __enter__(self) -> Self:
        reason = self.why_not()
        if reason:
            raise NotInstalledError(reason)
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            undo.callback(self._stop_process)
            self._start_process()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_process()

    def log(self) -> str:
        """The end of what the server printed and logged."""
        parts = [path.read_text(errors="replace")[-8000:] for path in [self._output, *self.logs()] if path.is_file()]
        return f"--- {self.name}\n" + "\n".join(parts)

    def _start_process(self) -> None:
        self.port = _free_port()
        command = self.configure()
        with self._output.open("wb") as output:
            # A process group of its own, so that what the server forks can be ended with it.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                start_new_session=True,
            )
        # Ends the group if this process is killed before it can: the pipe closes then, whatever the cause.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "guard", str(self.process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.greets():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.05)
                raise ServerFailedError(f"{self.name} ended with status {self.process.returncode}\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailedError(f"{self.name} did not greet within {_START_TIMEOUT_S} s\n{self.log()}")

    def _stop_process(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._guard is not None:
            # Killed, not asked: the number of a group that has ended may be another's by now.
            with self._guard:
                self._guard.kill()
        # The group outlives its leader as long as a delivery process does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class RealServer(LocalProgram):
    """A real mail server, with a sink behind it."""

    size_limit_bytes: ClassVar[int] = 10 * 1024 * 1024
    """What SIZE announces."""
    supports: ClassVar[frozenset[str]]
    """The EHLO keywords that tests rely on."""
    refuses_sender_at: ClassVar[str] = "MAIL"
    """The command that is answered with the refusal of ``badsender@...``."""
    refuses_declared_size: ClassVar[bool] = True
    """Whether MAIL with a SIZE over the limit is refused; if not, the content is, after its last byte."""
    oversize_code: ClassVar[int] = 552
    """The reply code for a message over the limit, at either place."""
    needs_root: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sink = Sink()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.sink)
            super().__enter__()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.sink.__exit__(kind, error, trace)

    def deliveries(self, marker: bytes = b"") -> list[Delivery]:
        """What has come out of the server so far and holds ``marker``."""
        return self.sink.deliveries(marker)

    def wait_for(self, recipients: Iterable[str], marker: bytes = b"", timeout_s: float = 30.0) -> dict[str, Delivery]:
        """Wait until the server has handed on a message for each recipient; the last one for each is returned.

        ``marker`` (a Message-ID, say) tells the messages of one test from those of another.
        """
        try:
            return self.sink.wait(recipients, marker, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log()}") from None

    async def arrived(
        self, recipients: Iterable[str], marker: bytes = b"", timeout_s: float = 30.0
    ) -> dict[str, Delivery]:
        """Like ``wait_for``, without holding up the event loop."""
        return await asyncio.to_thread(self.wait_for, recipients, marker, timeout_s)

    def greets(self) -> bool:
        """With 220, as every mail server does."""
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5) as connection:
            greets = connection.recv(512).startswith(b"220")
            connection.sendall(b"QUIT\r\n")
            connection.recv(512)
            return greets
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
