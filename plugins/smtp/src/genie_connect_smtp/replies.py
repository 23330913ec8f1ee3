"""SMTP replies, read strictly, without any I/O (RFC 5321 section 4.2).

Lenient readers are how one reply gets taken for another: ``int("2_50")`` is 250, and a last line of another code turns
a refusal into an acceptance. So a line is three digits from 2 to 5, then a blank, a hyphen or the end; all lines of one
reply carry the same code; and what comes after a complete reply stays visible to the caller.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

import attrs

from genie_connect.model.text import clean_reply

MAX_LINE_BYTES: Final = 8192  # RFC 5321 section 4.5.3.1.5 asks for 512; EHLO lines and long texts exceed it in practice
MAX_REPLY_BYTES: Final = 32_768
MAX_LINES: Final = 1000
_MAX_KNOWN: Final = 32
_KNOWN_LINE_BYTES: Final = 128
_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|\Z)")


class MalformedReply(ValueError):
    """What arrived is not an SMTP reply. Does not quote it: the peer may be no mail server at all."""


@attrs.frozen(kw_only=True)
class Reply:
    """One reply: code, enhanced status code if its class fits (RFC 3463), and the text of each line, cleaned."""

    code: int
    enhanced: str = ""
    lines: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """All lines as one."""
        return self.lines[0] if len(self.lines) == 1 else " ".join([line for line in self.lines if line])

    @property
    def digit(self) -> int:
        """The first digit, which decides (RFC 5321 section 4.2.1)."""
        return self.code // 100

    @classmethod
    def of(cls, code: int, texts: tuple[str | bytes, ...]) -> Reply:
        """A reply from its code and raw lines."""
        lines = tuple(clean_reply(text) for text in texts)
        enhanced = ""
        found = _ENHANCED.match(lines[0]) if lines else None
        # An enhanced code of another class contradicts the reply; the reply wins.
        if found and found[1].startswith(str(code // 100)):
            enhanced = found[1]
            lines = tuple(line[len(match[0]) :] if (match := _ENHANCED.match(line)) else line for line in lines)
        return cls(code=code, enhanced=enhanced, lines=lines)

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


class ReplyParser:
    """Bytes in, replies out. ``pending`` says whether bytes are left that no reply has used up.

    ``malformed`` says what is wrong once something has come that is no reply; nothing is read any more after it.
    ``known`` are replies by their lines, which the readers of one server's replies may share.
    """

    __slots__ = ("_buffer", "_code", "_known", "_lines", "_scanned", "_size", "malformed")

    def __init__(self, known: dict[bytes, Reply] | None = None) -> None:
        self.malformed = ""
        self._buffer = bytearray()
        self._scanned = 0
        self._lines: list[bytes] = []
        self._code = 0
        self._size = 0
        # Servers say the same few things again and again, and on each connection.
        self._known: dict[bytes, Reply] = {} if known is None else known

    @property
    def pending(self) -> bool:
        """Whether part of a reply has arrived, or more than was asked for."""
        return bool(self._buffer or self._lines or self.malformed)

    def feed(self, data: bytes) -> None:
        """Take bytes from the wire."""
        self._buffer += data

    def take(self, data: bytes) -> list[Reply]:
        """All replies that these bytes complete. Sets ``malformed`` instead of raising."""
        replies: list[Reply] = []
        if self.malformed:
            return replies
        try:
            if not self._buffer and len(data) <= MAX_LINE_BYTES:
                data = self._take_lines(data, replies)
            self._buffer += data
            while self._buffer and (reply := self.next_reply()) is not None:
                replies.append(reply)
        except MalformedReply as error:
            self.malformed = str(error)
        return replies

    def _take_lines(self, data: bytes, replies: list[Reply]) -> bytes:
        """Take the whole lines at the beginning without a buffer between; returns what follows them."""
        known = self._known
        lines = data.split(b"\r\n")
        rest = lines.pop()
        for number, line in enumerate(lines):
            # In the middle of a reply what looks like another one is a line of it, or wrong.
            reply = None if self._lines else known.get(line)
            if reply is None:
                if b"\n" in line:
                    return b"\r\n".join((*lines[number:], rest))
                reply = self._completed_by(line)
            if reply is not None:
                replies.append(reply)
        return rest

    def next_reply(self) -> Reply | None:
        """The next complete reply, or ``None``. Raises ``MalformedReply``, after which the parser is of no more use."""
        while (end := self._buffer.find(b"\n", self._scanned)) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            self._scanned = 0
            reply = self._completed_by(line)
            if reply is not None:
                return reply
        self._scanned = len(self._buffer)
        if self._scanned > MAX_LINE_BYTES:
            raise MalformedReply("a reply line is too long")
        return None

    def _completed_by(self, line: bytes) -> Reply | None:
        """The reply that ends with this line, if one does. Raises ``MalformedReply``."""
        if not self._take(line):
            return None
        reply = Reply.of(self._code, tuple(self._lines))
        if len(self._lines) == 1 and len(line) <= _KNOWN_LINE_BYTES:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[line] = reply
        self._lines, self._code, self._size = [], 0, 0
        return reply

    def _take(self, line: bytes) -> bool:
        self._size += len(line) + 2
        if len(line) > MAX_LINE_BYTES or self._size > MAX_REPLY_BYTES or len(self._lines) >= MAX_LINES:
            raise MalformedReply("a reply is too long")
        match = _LINE.match(line)
        # A carriage return inside a line ends it for some readers and not for others.
        if match is None or b"\r" in line:
            raise MalformedReply("a line is not an SMTP reply")
        code, separator, text = int(match[1]), match[2], match[3] or b""
        if self._lines and code != self._code:
            raise MalformedReply("the lines of one reply carry different codes")
        self._code = code
        self._lines.append(text)
        return separator != b"-"
