"""A small SMTP client that follows the outcome table to the letter, to check that the grids say what is true."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
import struct

import attrs

SECRET = "canary-password"
_LINE = re.compile(rb"([2-5][0-9]{2})([ -])[^\r\n]*\r\n")
_MAX_REPLY_BYTES = 16_384


class Failed(Exception):
    """The conversation cannot go on; nothing was said about the message."""


class Refused(Exception):
    """The server said no."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@attrs.frozen(kw_only=True)
class Envelope:
    """One message to send."""

    host: str
    port: int
    security: str
    context: ssl.SSLContext | None
    content: bytes
    authenticate: bool = False


class _Stream:
    """Strict replies over a stream: one code, nothing unasked."""

    def __init__(self) -> None:
        self._buffer = b""

    async def open(self, envelope: Envelope) -> None:
        self.reader, self.writer = await asyncio.open_connection(
            envelope.host,
            envelope.port,
            ssl=envelope.context if envelope.security == "tls" else None,
            server_hostname="127.0.0.1" if envelope.security == "tls" else None,
        )

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context, server_hostname="127.0.0.1")

    async def reply(self, *, alone: bool = True) -> tuple[int, bytes]:
        seen: set[bytes] = set()
        text = b""
        while True:
            while b"\n" not in self._buffer:
                if len(self._buffer) + len(text) > _MAX_REPLY_BYTES:
                    raise Failed("the reply has no end")
                data = await self.reader.read(4096)
                if not data:
                    raise Failed("the server left")
                self._buffer += data
            line, _, self._buffer = self._buffer.partition(b"\n")
            match = _LINE.fullmatch(line + b"\n")
            if match is None:
                raise Failed("not a reply")
            seen.add(match[1])
            text += match[0]
            if len(seen) > 1 or len(text) > _MAX_REPLY_BYTES:
                raise Failed("codes that differ, or no end")
            if match[2] == b" ":
                break
        if self._buffer and alone:
            raise Failed("an unasked reply")
        return int(match[1]), text

    async def command(self, line: bytes, expected: int) -> bytes:
        self.writer.write(line + b"\r\n")
        await self.writer.drain()
        code, text = await self.reply()
        if code // 100 != expected:
            raise Refused(code)
        return text

    def abort(self) -> None:
        if hasattr(self, "writer"):
            sock = self.writer.get_extra_info("socket")
            # A TLS transport forgets its socket once the connection is lost.
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()


async def send(envelope: Envelope, deadline_s: float) -> str:
    """Return the outcome: accepted, deferred, rejected or unknown."""
    stream = _Stream()
    end_mark_written = False
    outcome = "deferred"
    try:
        async with asyncio.timeout(deadline_s):
            await _prepare(stream, envelope)
            await stream.command(b"MAIL FROM:<a@x.test>", 2)
            await stream.command(b"RCPT TO:<b@x.test>", 2)
            await stream.command(b"DATA", 3)
            for start in range(0, len(envelope.content), 65536):
                stream.writer.write(envelope.content[start : start + 65536])
                await stream.writer.drain()
            end_mark_written = True
            stream.writer.write(b".\r\n")
            code, _ = await stream.reply(alone=False)
            outcome = "accepted" if code // 100 == 2 else "rejected" if code // 100 == 5 else "deferred"
            if outcome == "accepted":
                await stream.command(b"QUIT", 2)
    except Refused as refused:
        if outcome != "accepted":
            outcome = "rejected" if refused.code >= 500 else "deferred"
    except (Failed, OSError, TimeoutError):
        if outcome != "accepted":
            outcome = "unknown" if end_mark_written else "deferred"
    finally:
        stream.abort()
    return outcome


async def _prepare(stream: _Stream, envelope: Envelope) -> None:
    await stream.open(envelope)
    code, _ = await stream.reply()
    if code != 220:
        raise Refused(code)
    features = await stream.command(b"EHLO client.test", 2)
    if envelope.security == "starttls":
        if b"STARTTLS" not in features or envelope.context is None:
            raise Failed("STARTTLS is not offered")
        stream.writer.write(b"STARTTLS\r\n")
        code, _ = await stream.reply()
        if code != 220:
            raise Failed("STARTTLS is refused")
        await stream.start_tls(envelope.context)
        features = await stream.command(b"EHLO client.test", 2)
    if envelope.authenticate:
        if b"AUTH " not in features:
            raise Failed("AUTH is not offered")
        credentials = base64.b64encode(f"\0ada\0{SECRET}".encode())
        await stream.command(b"AUTH PLAIN " + credentials, 2)
