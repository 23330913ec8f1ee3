"""Who talks to whom: the network guard, on Python's audit events.

An audit hook cannot be taken away again, so there is one for the process, which does nothing while no guard is up. It
sees what Python's own sockets do; a library that makes system calls of its own is not seen.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_CONNECTING: Final = frozenset({"socket.connect", "socket.sendto"})
_RUNNING: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"})
_WRITING: Final = frozenset("wax+")
_guards: list[Guard] = []
_installed = threading.Lock()


class Blocked(ConnectionRefusedError):
    """The guard has stopped a connection to another place than the connection's own."""


class Guard:
    """What a connector reached for: ``outside`` its own server, ``programs`` it ran, ``files`` it wrote to.

    ``touched`` has everything together, and reads of files and look-ups of names beside it, for the hooks that are to
    do nothing of the kind.
    """

    def __init__(self, allowed: Iterable[tuple[str, int]], *, spares: Callable[[int], bool]) -> None:
        self.outside: list[str] = []
        self.programs: list[str] = []
        self.files: list[str] = []
        self.touched: list[str] = []
        self._allowed = set(allowed)
        self._hosts = {host for host, _ in self._allowed}
        self._spares = spares

    def allow(self, host: str, port: int) -> None:
        """Another server of the kit."""
        self._allowed.add((host, port))
        self._hosts.add(host)

    def forget(self) -> None:
        """Nothing was reached for so far."""
        for seen in (self.outside, self.programs, self.files, self.touched):
            seen.clear()

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an event of a thread that is guarded. Raises ``Blocked``."""
        if self._spares(threading.get_ident()):
            return
        if event in _CONNECTING:
            self._see_address(arguments[1])
        elif event == "socket.getaddrinfo":
            self._see_name(str(arguments[0]))
        elif event in _RUNNING:
            self._note(self.programs, f"ran {str(arguments[0])[:100]}")
        elif event == "open":
            self._see_file(str(arguments[0]), str(arguments[1] or ""))

    def _see_address(self, address: Any) -> None:
        if isinstance(address, tuple) and (str(address[0]), address[1]) in self._allowed:
            self.touched.append(f"connected to {address[0]}")
            return
        self._note(self.outside, f"connected to {str(address)[:100]}")
        raise Blocked("the connector reached for another place than its base URL")

    def _see_name(self, name: str) -> None:
        if name in self._hosts or name in ("None", ""):
            self.touched.append(f"looked up {name}")
            return
        self._note(self.outside, f"looked up {name[:100]}")
        raise Blocked("the connector looked up a name that is not in its settings")

    def _see_file(self, name: str, mode: str) -> None:
        if _WRITING & set(mode):
            self._note(self.files, f"wrote to {name[:100]}")
        else:
            self.touched.append(f"read {name[:100]}")

    def _note(self, where: list[str], what: str) -> None:
        where.append(what)
        self.touched.append(what)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _guards and (event in _CONNECTING or event in _RUNNING or event in ("socket.getaddrinfo", "open")):
        for guard in tuple(_guards):
            guard.see(event, arguments)


@contextmanager
def up(guard: Guard) -> Iterator[Guard]:
    """The guard stands while the block runs."""
    with _installed:
        if not getattr(_hook, "installed", False):
            sys.addaudithook(_hook)
            _hook.installed = True  # type: ignore[attr-defined]  # one for the process, remembered where it is
    _guards.append(guard)
    try:
        yield guard
    finally:
        _guards.remove(guard)
