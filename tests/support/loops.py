"""An event loop that says which test left a connection open, instead of leaving it to the collector of garbage."""

from __future__ import annotations

import asyncio
from selectors import SelectorKey
from typing import Any

TURNS = 20
"""How many times a loop runs before it closes: a transport that was closed lets go of its socket a turn later."""


class TidyLoop(asyncio.SelectorEventLoop):
    """The ordinary loop, which refuses to close over sockets that are open.

    What is left open is collected some time later, and the warning then fails a test that has nothing to do with it.
    """

    _selector: Any
    _ssock: Any
    _transports: Any

    def close(self) -> None:
        """Close. Raises ``AssertionError`` with what was left open, after closing that."""
        left: list[str] = []
        if not self.is_closed() and not self.is_running():
            for _ in range(TURNS):
                if not self._open():
                    break
                self.run_until_complete(asyncio.sleep(0))
            left = [self._described(key) for key in self._open()]
            for transport in list(self._transports.values()):
                transport.abort()
            if left:
                self.run_until_complete(asyncio.sleep(0))
        super().close()
        assert not left, f"left open when the loop closed: {'; '.join(left)}"

    def _open(self) -> list[SelectorKey]:
        """What the loop still watches or holds, but for the pair of sockets that wakes it."""
        own = self._ssock.fileno()
        watched = {key.fd: key for key in self._selector.get_map().values() if key.fd != own}
        for fd, transport in self._transports.items():
            if getattr(transport, "_sock", None) is not None:
                watched.setdefault(fd, SelectorKey(transport, fd, 0, None))
        return list(watched.values())

    def _described(self, key: SelectorKey) -> str:
        transport = self._transports.get(key.fd)
        if transport is None:
            return f"descriptor {key.fd} ({key.data})"
        return f"{transport!r} to {transport.get_extra_info('peername')} for {transport.get_protocol()!r}"
