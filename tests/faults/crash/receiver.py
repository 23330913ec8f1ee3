"""The server at the other end: counts the copies of each message that it has taken, and outlives every kill.

``python -m tests.faults.crash.receiver ADDRESS FOLDER``: listens on a free port of ADDRESS for SMTP, which it writes
into the file ``port`` in FOLDER, and on the Unix socket ``ask`` there for questions. A question is a line of JSON:
``{"ask": "copies"}``, ``{"ask": "count"}``, ``{"ask": "forget"}``, or ``{"ask": "behave", ...}`` with the fields of
``Behaviour``. Offers PIPELINING and CHUNKING, so that every mode of the client meets it.

A copy counts from the moment its end is read, before the answer is written: what the client hears is its own affair.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)


@attrs.define(kw_only=True)
class Behaviour:
    """What goes wrong. The shares are chosen by recipient, so that a second run does the same."""

    answer_after_s: float = 0.0
    """How long the answer to a message waits, without holding up other connections."""
    cut_of_1000: int = 0
    """Of how many recipients in a thousand the first copy is taken and its answer is not written: the line is cut."""
    put_off_of_1000: int = 0
    """How many recipients in a thousand are refused with 451 once."""
    refused_of_1000: int = 0
    """How many recipients in a thousand are refused with 550 5.1.1."""


class Copies:
    """What was taken: how many copies of each pair of Message-ID and recipient."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.forget()

    def forget(self) -> None:
        """Begin anew, for the next run."""
        self.taken: dict[tuple[str, str], int] = {}
        self.total = 0
        self._misbehaved: set[tuple[str, bytes]] = set()

    def take(self, content: bytes, recipients: list[bytes]) -> None:
        """Count a message."""
        found = _MESSAGE_ID.search(content, 0, content.find(b"\r\n\r\n") + 2)
        message_id = found[1].decode() if found else ""
        for recipient in recipients:
            key = (message_id, recipient.decode())
            self.taken[key] = self.taken.get(key, 0) + 1
            self.total += 1

    def is_refused(self, recipient: bytes) -> bool:
        """Whether this recipient does not exist."""
        return zlib.crc32(b"refuse" + recipient) % 1000 < self.behaviour.refused_of_1000

    def puts_off(self, recipient: bytes) -> bool:
        """Whether this recipient is to be refused for now."""
        return self._once("put off", recipient, self.behaviour.put_off_of_1000)

    def cuts(self, recipients: list[bytes]) -> bool:
        """Whether the answer to these recipients is to be cut off."""
        return bool(recipients) and self._once("cut", recipients[0], self.behaviour.cut_of_1000)

    def _once(self, what: str, recipient: bytes, of_1000: int) -> bool:
        if zlib.crc32(what.encode() + recipient) % 1000 >= of_1000 or (what, recipient) in self._misbehaved:
            return False
        self._misbehaved.add((what, recipient))
        return True


class Session(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._buffer = bytearray()
        self._understand: Callable[[], bool] = self._command
        self._transport: Any = None
        self._replies: list[bytes] = []
        self._waits = self._last = False
        self._left = 0
        self._reset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = transport
        self._transport.write(b"220 receiver.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        while self._buffer and not self._waits and self._understand():
            pass
        if self._replies:
            self._transport.write(b"".join(self._replies))
            self._replies.clear()

    def _say(self, line: bytes) -> None:
        self._replies.append(line + b"\r\n")

    def _command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        verb = line[:4].upper()
        if verb == b"RCPT":
            self._recipient(line[line.find(b"<") + 1 : line.find(b">")])
        elif verb in (b"EHLO", b"HELO"):
            self._say(b"250-receiver.test\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 104857600")
        elif verb == b"DATA":
            self._understand = self._content if self._recipients else self._command
            self._say(b"354 Go on" if self._recipients else b"503 5.5.1 RCPT first")
        elif verb == b"BDAT":
            words = line.split()
            self._left, self._last, self._understand = int(words[1]), len(words) > 2, self._chunk
            return self._left > 0 or self._chunk()
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 Bye")
            self._go_on_closing()
            return False
        else:
            if verb in (b"MAIL", b"RSET"):
                self._reset()
            self._say(b"250 2.0.0 Ok" if verb in (b"MAIL", b"RSET", b"NOOP") else b"500 5.5.2 What?")
        return True

    def _go_on_closing(self) -> None:
        self._transport.write(b"".join(self._replies))
        self._replies.clear()
        self._transport.close()

    def _recipient(self, recipient: bytes) -> None:
        if self._copies.is_refused(recipient):
            self._say(b"550 5.1.1 Nobody of that name")
        elif self._copies.puts_off(recipient):
            self._say(b"451 4.3.0 Try again")
        else:
            self._recipients.append(recipient)
            self._say(b"250 2.1.5 Ok")

    def _content(self) -> bool:
        end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
        if end == 1:
            return False
        self._text = bytes(self._buffer[:end])
        del self._buffer[: end + 3]
        self._taken()
        return True

    def _chunk(self) -> bool:
        taken = min(self._left, len(self._buffer))
        self._text += self._buffer[:taken]
        del self._buffer[:taken]
        self._left -= taken
        if self._left:
            return False
        self._understand = self._command
        if not self._recipients:
            self._say(b"503 5.5.1 No transaction")
        elif self._last:
            self._taken()
        else:
            self._say(b"250 2.0.0 Ok")
        return True

    def _taken(self) -> None:
        self._understand = self._command
        recipients = self._recipients
        self._copies.take(self._text, recipients)
        self._reset()
        if self._copies.cuts(recipients):
            self._go_on_closing()
            self._waits = True
        elif self._copies.behaviour.answer_after_s:
            self._waits = True
            asyncio.get_running_loop().call_later(self._copies.behaviour.answer_after_s, self._answer)
        else:
            self._say(b"250 2.0.0 Ok: queued")

    def _answer(self) -> None:
        if self._transport.is_closing():
            return
        self._waits = False
        self._say(b"250 2.0.0 Ok: queued")
        self._go_on()

    def _reset(self) -> None:
        self._recipients: list[bytes] = []
        self._text = b""


async def _answer_questions(copies: Copies, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        question = json.loads(line)
        asked = question.pop("ask")
        answer: Any = True
        if asked == "copies":
            answer = [[*key, count] for key, count in copies.taken.items()]
        elif asked == "count":
            answer = copies.total
        elif asked == "forget":
            copies.forget()
        elif asked == "behave":
            copies.behaviour = Behaviour(**question)
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    writer.close()


async def _serve(address: str, folder: Path) -> None:
    copies = Copies()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(copies), address, 0, backlog=1024)
    asking = await asyncio.start_unix_server(lambda r, w: _answer_questions(copies, r, w), folder / "ask")
    (folder / "port.new").write_text(str(server.sockets[0].getsockname()[1]))
    (folder / "port.new").rename(folder / "port")
    async with asking, server:
        await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    try:
        from uvloop import new_event_loop  # faster, where it is installed
    except ImportError:
        new_event_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
