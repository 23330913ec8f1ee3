"""Two hosts, and a network between them that can be cut: network namespaces, joined by virtual cables.

::

    "here"  10.77.0.1 ======= the cable that is cut ======= 10.77.0.2  "there"
            10.77.1.1 --- 10.77.1.2   "mail"   10.77.2.2 --- 10.77.2.1

The database is in "here". The mail server stands in "mail" and is reached from both, always: a host that is cut off
from the database can still send, and that is the danger. A cut drops packets and tells nobody, as a real one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.bench.smtp.processes import child

DATABASE_ADDRESS = "10.77.0.1"
DATABASE_PORT = 5432
MAIL_FROM_HERE = "10.77.1.2"
MAIL_FROM_THERE = "10.77.2.2"
_CABLES = (
    ("here", "cut", "10.77.0.1", "there", "cut", "10.77.0.2"),
    ("here", "post", "10.77.1.1", "mail", "post1", "10.77.1.2"),
    ("there", "post", "10.77.2.1", "mail", "post2", "10.77.2.2"),
)
_ENDS = (("here", "10.77.0.1", "10.77.0.2"), ("there", "10.77.0.2", "10.77.0.1"))
_NOBODY = "02:00:00:00:00:01"


def why_not() -> str | None:
    """Why there can be no network namespaces here, or None."""
    if shutil.which("ip") is None:
        return "no program ip, which makes network namespaces"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"genie-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if tried.returncode:
        return f"no network namespaces: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    return None


@attrs.frozen
class TwoHosts:
    """The namespaces. What is started with ``prefix`` runs in one of them."""

    label: str

    def name(self, place: str) -> str:
        """The name of a namespace."""
        return f"genie-{self.label}-{place}"

    def prefix(self, place: str) -> list[str]:
        """The beginning of a command that runs in that place."""
        return ["ip", "netns", "exec", self.name(place)]

    def cut(self) -> None:
        """Let nothing through any more: each sends its packets to a machine that is not there."""
        for place, _, other in _ENDS:
            _ip(
                "-n",
                self.name(place),
                "neighbour",
                "replace",
                other,
                "lladdr",
                _NOBODY,
                "nud",
                "permanent",
                "dev",
                "cut",
            )

    def mend(self) -> None:
        """Let everything through again."""
        for place, _, other in _ENDS:
            _ip("-n", self.name(place), "neighbour", "delete", other, "dev", "cut")

    @contextlib.contextmanager
    def database_on_network(self, socket: Path) -> Iterator[None]:
        """Offer PostgreSQL's Unix socket on the address of "here"."""
        command = [*self.prefix("here"), sys.executable, "-m", "tests.faults.crash.two_hosts", str(socket)]
        with child(command, core=None) as process:
            assert process.line(30.0) == "listening"
            yield


@contextlib.contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """The namespaces for as long as the block runs."""
    hosts = TwoHosts(str(os.getpid()))
    places = ("here", "there", "mail")
    try:
        for place in places:
            _ip("netns", "add", hosts.name(place))
            _ip("-n", hosts.name(place), "link", "set", "lo", "up")
        for near, near_end, near_address, far, far_end, far_address in _CABLES:
            pair = ["type", "veth", "peer", "name", far_end, "netns", hosts.name(far)]
            _ip("-n", hosts.name(near), "link", "add", near_end, *pair)
            for place, end, address in ((near, near_end, near_address), (far, far_end, far_address)):
                _ip("-n", hosts.name(place), "address", "add", f"{address}/30", "dev", end)
                _ip("-n", hosts.name(place), "link", "set", end, "up")
        yield hosts
    finally:
        for place in places:
            subprocess.run(["ip", "netns", "delete", hosts.name(place)], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


async def _forward(socket: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            near_reader, near_writer = await asyncio.open_unix_connection(socket)
            await asyncio.gather(_pump(reader, near_writer), _pump(near_reader, writer))

    server = await asyncio.start_server(serve, DATABASE_ADDRESS, DATABASE_PORT)
    os.write(1, b"listening\n")
    async with server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(_forward(sys.argv[1]))
