"""The sink where there is no C compiler, and the one that speaks TLS.

``python -m tests.bench.smtp.python_sink ADDRESS COUNTERS [-P] [-C] [-A] [--tls CERTIFICATE]``: as ``native/sink.c``.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import ssl
import struct
from collections.abc import Callable
from typing import Any

_FIELDS = {"port": 0, "messages": 8, "bytes": 16, "open": 24, "made": 32, "errors": 40, "recipients": 48}
COUNTERS = struct.Struct("=7Q")
_64_BITS = (1 << 64) - 1


def hash_of(recipient: bytes) -> int:
    """FNV-1a. The sum over all recipients shows that each was sent to once."""
    found = 0xCBF29CE484222325
    for byte in recipient:
        found = (found ^ byte) * 0x100000001B3 & _64_BITS
    return found


class _Counters:
    def __init__(self, path: str) -> None:
        with open(path, "w+b") as file:
            file.truncate(COUNTERS.size)
            self._map = mmap.mmap(file.fileno(), COUNTERS.size)

    def add(self, name: str, amount: int = 1) -> None:
        place = _FIELDS[name]
        value = struct.unpack_from("=Q", self._map, place)[0]
        struct.pack_into("=Q", self._map, place, value + amount & _64_BITS)


class _Session(asyncio.Protocol):
    def __init__(self, counters: _Counters, extensions: list[bytes]) -> None:
        self._counters = counters
        self._extensions = extensions
        self._buffer = bytearray()
        self._understand: Callable[[], bool] = self._command
        self._has_mail = self._has_recipient = self._last = False
        self._left = self._bytes = self._recipients = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._counters.add("open")
        self._counters.add("made")
        self._transport.write(b"220 sink.test ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._counters.add("open", -1)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and self._understand():
            pass

    def _command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        verb = line[:4].upper()
        reply = b"250 2.0.0 Ok"
        if verb in (b"EHLO", b"HELO"):
            reply = b"\r\n".join([b"250-sink.test", *self._extensions, b"250 SIZE 104857600"])
        elif verb == b"MAIL":
            self._has_mail = True
        elif verb == b"RCPT":
            self._has_recipient = self._has_mail
            self._recipients += hash_of(line.partition(b"<")[2].partition(b">")[0])
        elif verb == b"RSET":
            self._reset()
        elif verb == b"AUTH":
            reply = b"235 2.7.0 Welcome"
        elif verb == b"DATA" and self._has_recipient:
            self._understand = self._content
            reply = b"354 Go on"
        elif verb == b"BDAT" and self._has_recipient:
            words = line.split()
            self._left, self._last = int(words[1]), len(words) > 2
            self._understand = self._chunk
            return self._chunk()
        elif verb == b"QUIT":
            self._transport.write(b"221 2.0.0 Bye\r\n")
            self._transport.close()
            return False
        elif verb != b"NOOP":
            self._counters.add("errors")
            reply = b"503 5.5.1 Not now"
        self._transport.write(reply + b"\r\n")
        return True

    def _content(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            end = 0
        else:
            end = self._buffer.find(b"\r\n.\r\n") + 2
            if end < 2:
                return False
        content = b"\r\n" + self._buffer[:end]
        self._bytes = end - content.count(b"\r\n.")
        del self._buffer[: end + 3]
        self._accepted()
        return True

    def _chunk(self) -> bool:
        taken = min(self._left, len(self._buffer))
        del self._buffer[:taken]
        self._left -= taken
        self._bytes += taken
        if self._left:
            return False
        self._understand = self._command
        if self._last:
            self._accepted()
        else:
            self._transport.write(b"250 2.0.0 Ok\r\n")
        return True

    def _accepted(self) -> None:
        self._counters.add("messages")
        self._counters.add("bytes", self._bytes)
        self._counters.add("recipients", self._recipients)
        self._reset()
        self._understand = self._command
        self._transport.write(b"250 2.0.0 Ok: queued\r\n")

    def _reset(self) -> None:
        self._has_mail = self._has_recipient = False
        self._bytes = self._recipients = 0


async def _serve(options: argparse.Namespace) -> None:
    counters = _Counters(options.counters)
    offered = {b"PIPELINING": not options.P, b"CHUNKING": not options.C, b"AUTH PLAIN LOGIN": options.A}
    extensions = [b"250-8BITMIME", *(b"250-" + keyword for keyword, is_offered in offered.items() if is_offered)]
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.tls)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Session(counters, extensions), options.address, 0, ssl=context, backlog=1024
    )
    counters.add("port", server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("counters")
    for flag in ("-P", "-C", "-A"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--tls")
    options = parser.parse_args()
    try:
        from uvloop import new_event_loop  # faster, where it is installed
    except ImportError:
        new_event_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(options))


if __name__ == "__main__":
    main()
