"""What an exchange costs over each HTTP library: CPU time of this process; the server is another one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from genie_connect.http import HttpClient, Library, open_client
from tests.bench.in_turn import cpu_us
from tests.bench.smtp.report import Quantity, Results

CPU: Final = "CPU us/exchange"
BODY: Final = b"x" * 4_000
AT_ONCE: Final = 10
_SERVER: Final = """
import asyncio

HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 40\\r\\n\\r\\n"


class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.held = transport, b""

    def data_received(self, data):
        self.held += data
        while (end := self.held.find(b"\\r\\n\\r\\n")) >= 0 and len(self.held) >= end + 4 + LENGTH:
            self.held = self.held[end + 4 + LENGTH :]
            self.transport.write(HEAD + b"x" * 40)


async def main():
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
"""


def run() -> list[Results]:
    server = subprocess.Popen(
        [sys.executable, "-c", f"LENGTH = {len(BODY)}\n{_SERVER}"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        return _measured(int(server.stdout.readline()))
    finally:
        server.kill()
        server.wait()


def _measured(port: int) -> list[Results]:
    loop = asyncio.new_event_loop()
    clients = {
        library: loop.run_until_complete(open_client(f"http://127.0.0.1:{port}", library=library))
        for library in Library
    }
    try:
        costs = {
            count: cpu_us({name.value: _asking(loop, client, count) for name, client in clients.items()}, items=count)
            for count in (1, AT_ONCE)
        }
    finally:
        for client in clients.values():
            loop.run_until_complete(client.close())
        loop.close()
    return [
        Results(
            name=f"http-{count}",
            title=f"An exchange over HTTP, {len(BODY):,} bytes, {count} at a time",
            quantities={CPU: Quantity(title=CPU)},
            rows={name: {CPU: measured} for name, measured in rows.items()},
            reference=Library.HTTPX2.value,
        )
        for count, rows in costs.items()
    ]


def _asking(loop: asyncio.AbstractEventLoop, client: HttpClient, count: int) -> Callable[[], object]:
    async def ask() -> None:
        await asyncio.gather(*[client.request("POST", "/v1/send", content=BODY) for _ in range(count)])

    return lambda: loop.run_until_complete(ask())
