"""Cutting the byte stream of a client into command lines, message text and chunks."""

from __future__ import annotations

import re
from typing import Final

import attrs

_END_OF_DATA: Final = b"\r\n.\r\n"
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]")


@attrs.frozen(kw_only=True)
class LineFault:
    """A line that is no command line; `problem` says why."""

    line: bytes
    problem: str


@attrs.frozen(kw_only=True)
class Content:
    """The text of a message after dot-unstuffing; `truncated` if it outgrew what the server keeps."""

    data: bytes
    truncated: bool


class Framer:
    """The bytes received and not yet understood."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping_line = False
        self._in_text = False
        self._scanned = 0
        self._content_bytes = 0
        self._truncated = False

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def content_bytes(self) -> int:
        """Bytes of the present message's content seen so far, dot-stuffing included."""
        # While text is read the buffer starts with the two bytes that `begin_text` put there.
        return self._content_bytes + (len(self._buffer) - 2 if self._in_text else 0)

    def receive(self, data: bytes) -> None:
        """Add bytes from the client."""
        self._buffer += data

    def clear(self) -> bytes:
        """Return and forget the bytes that nothing has taken yet."""
        unread = bytes(self._buffer)
        self._buffer.clear()
        return unread

    def starts_with(self, prefix: bytes) -> bool:
        """Say whether the next line begins with `prefix`, given in upper case."""
        return self._buffer[: len(prefix)].upper() == prefix

    def take_line(self, max_bytes: int) -> bytes | LineFault | None:
        """Take one line without its CR LF; None until one is complete."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > max_bytes:
                # Only the fact that the line was too long is kept, so a line without end costs no memory.
                self._skipping_line = True
                self._buffer.clear()
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if self._skipping_line or len(line) > max_bytes:
            self._skipping_line = False
            return LineFault(line=b"", problem="line too long")
        if not line.endswith(b"\r\n"):
            return LineFault(line=line, problem="lines end with CR LF, not with LF alone")
        if _CONTROLS.search(line, 0, len(line) - 2):
            return LineFault(line=line[:-2], problem="control character in the command line")
        return line[:-2]

    def begin_content(self) -> None:
        """Start to count the content of a message."""
        self._content_bytes = 0
        self._truncated = False

    def begin_text(self) -> None:
        """Read message text from here on, up to the line that is a lone dot (RFC 5321 section 4.1.1.4)."""
        self.begin_content()
        # The line end of DATA itself is the one before a first line that is a lone dot.
        self._buffer[:0] = b"\r\n"
        self._in_text = True
        self._scanned = 0

    def take_text(self, max_bytes: int) -> Content | None:
        """Take the text of a message once its end is there; only CR LF . CR LF ends it."""
        buffer = self._buffer
        end = buffer.find(_END_OF_DATA, self._scanned)
        if end < 0:
            self._scanned = max(0, len(buffer) - len(_END_OF_DATA) + 1)
            # Dot-stuffing at most doubles a message, so twice the limit is certainly too much.
            if len(buffer) > 2 * max_bytes + len(_END_OF_DATA):
                self._truncated = True
                self._content_bytes += self._scanned
                del buffer[: self._scanned]
                self._scanned = 0
            return None
        text = bytes(buffer[: end + 2])
        del buffer[: end + len(_END_OF_DATA)]
        self._in_text = False
        self._content_bytes += len(text) - 2
        return Content(data=text.replace(b"\r\n.", b"\r\n")[2:], truncated=self._truncated)

    def take_octets(self, count: int) -> bytes:
        """Take up to `count` octets of a chunk."""
        octets = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._content_bytes += len(octets)
        return octets
