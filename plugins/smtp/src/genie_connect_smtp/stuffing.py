"""Dot-stuffing of a message that leaves in pieces (RFC 5321 section 4.5.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

BLOCK_BYTES: Final = 64 * 1024
END_MARK: Final = b".\r\n"


class UnsendableContent(ValueError):
    """The content cannot stand between DATA and the end mark."""


def whole_lines(data: bytes) -> bytes:
    """The content, with a line end at its end if it has none. Raises ``UnsendableContent`` (see ``DotStuffer``)."""
    if b"\x00" in data:
        raise UnsendableContent("the content holds a NUL")
    ends = data.count(b"\r\n")
    if data.count(b"\n") != ends or data.count(b"\r") != ends:
        raise UnsendableContent("the content holds a CR or LF that stands alone")
    return data if not data or data.endswith(b"\r\n") else data + b"\r\n"


def stuffed(data: bytes) -> bytes:
    """Whole content with the dots at the beginning of its lines doubled."""
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\r\n.", b"\r\n..") if b"\r\n." in data else data


class DotStuffer:
    """Doubles the dot at the beginning of a line, wherever the pieces are cut.

    Refuses NUL and a CR or LF that stands alone: servers disagree on whether those end a line, and a message that one
    of them sees ending early goes on as commands (CVE-2023-51764). ``finish`` gives the line end that the end mark
    needs before it, if the content has none.
    """

    def __init__(self) -> None:
        # The last two bytes, where a line may have ended; the content begins at the beginning of a line.
        self._tail = b"\r\n"

    def feed(self, piece: bytes) -> bytes:
        """The piece as it goes over the wire. Raises ``UnsendableContent``."""
        if not piece:
            return b""
        tail, joined = self._tail, self._tail + piece
        if b"\x00" in piece:
            raise UnsendableContent("the content holds a NUL")
        # A CR at the very end may belong to the next piece, and one in the tail was left to this one.
        ends = joined.count(b"\r\n")
        if joined.count(b"\n") != ends or joined.count(b"\r") - joined.endswith(b"\r") != ends:
            raise UnsendableContent("the content holds a CR or LF that stands alone")
        self._tail = next((end for end in (b"\r\n", b"\r") if joined.endswith(end)), b"")
        if b"\r\n." not in joined:
            return piece
        return joined.replace(b"\r\n.", b"\r\n..")[len(tail) :]

    def finish(self) -> bytes:
        """What has to follow the last piece."""
        if self._tail == b"\r\n":
            return b""
        if self._tail:
            raise UnsendableContent("the content ends in a CR that stands alone")
        return b"\r\n"


def blocks(chunks: Iterable[bytes], size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The same bytes in blocks of about ``size_bytes``: many small chunks joined, a big one cut."""
    waiting: list[bytes] = []
    waiting_bytes = 0
    for chunk in chunks:
        if len(chunk) >= size_bytes:
            if waiting:
                yield b"".join(waiting)
                waiting, waiting_bytes = [], 0
            view = memoryview(chunk)
            yield from (bytes(view[start : start + size_bytes]) for start in range(0, len(chunk), size_bytes))
            continue
        waiting.append(chunk)
        waiting_bytes += len(chunk)
        if waiting_bytes >= size_bytes:
            yield b"".join(waiting)
            waiting, waiting_bytes = [], 0
    if waiting:
        yield b"".join(waiting)
