"""``python -m tests.bench.smtp.proxy HOST PORT DELAY_MS``: hand bytes on, each way, that much later.

For machines that allow no network namespaces. It prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque


class _End(asyncio.Protocol):
    """One side of a connection; what it is given leaves at the other side when its time has come."""

    def __init__(self, delay_s: float) -> None:
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._later(data)

    def eof_received(self) -> bool:
        self._later(b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._later(b"")

    def _later(self, data: bytes) -> None:
        if not self._due:
            self._loop.call_later(self._delay_s, self._pass_on)
        self._due.append((self._loop.time() + self._delay_s, data))

    def _pass_on(self) -> None:
        while self._due and self._due[0][0] <= self._loop.time():
            _, data = self._due.popleft()
            if self.other is None or self.other.transport is None or self.other.transport.is_closing():
                continue
            if data:
                self.other.transport.write(data)
            else:
                self.other.transport.close()
        if self._due:
            self._loop.call_at(self._due[0][0], self._pass_on)


class _Front(_End):
    def __init__(self, delay_s: float, target: tuple[str, int]) -> None:
        super().__init__(delay_s)
        self._target = target
        self._joining: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._joining = self._loop.create_task(self._join())

    async def _join(self) -> None:
        back = _End(self._delay_s)
        back.other = self
        await self._loop.create_connection(lambda: back, *self._target)
        self.other = back


async def _serve(host: str, port: int, delay_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Front(delay_s, (host, port)), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
