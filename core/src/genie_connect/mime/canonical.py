"""The relaxed canonical form of header and body, which is what DKIM signs (RFC 6376 section 3.4).

Relaxed, because relays change blanks and fold anew, and a signature should live through that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_BLANKS = re.compile(rb"  +")


def relaxed_lines(data: bytes) -> bytes:
    """Lines, whose ends are CRLF, with each run of blanks made one space, and none before a line end."""
    # Mostly there is nothing to change, and finding that out costs far less than a pass that changes something.
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    if b"  " in data:
        data = _BLANKS.sub(b" ", data)
    if b" \r\n" in data:
        data = data.replace(b" \r\n", b"\r\n")
    return data


def relaxed_fields(head: bytes) -> dict[bytes, list[bytes]]:
    """The fields of a header block by lower-case name, each as ``name:value`` without its line end (section 3.4.2).

    Fields of one name stand in the order of the block.
    """
    unfolded = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    fields: dict[bytes, list[bytes]] = {}
    for line in relaxed_lines(unfolded).split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            name = name.rstrip(b" ").lower()
            fields.setdefault(name, []).append(name + b":" + value.strip(b" "))
    return fields


class BodyHash:
    """SHA-256 of the relaxed body (section 3.4.4), without holding more of it than one chunk."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._empty = True
        self._line_ends = 0
        self._rest = b""

    def update(self, chunk: bytes) -> None:
        """The next bytes. They may end anywhere, and cost least where they end with a line; line ends are CRLF."""
        data = self._rest + chunk if self._rest else chunk
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        self._lines(relaxed_lines(data[:end]))

    def digest(self) -> bytes:
        """The hash of all there was. Call it once."""
        self._lines(relaxed_lines(self._rest).rstrip(b" "))
        if not self._empty:
            self._sha256.update(b"\r\n")
        return self._sha256.digest()

    def _lines(self, data: bytes) -> None:
        # Empty lines count only once something follows them: at the end of the body they are left out. Where nothing
        # else was there, the body is empty, and not even one line end is hashed.
        content = data.rstrip(b"\r\n")
        if content:
            self._sha256.update(b"\r\n" * self._line_ends)
            self._sha256.update(content)
            self._line_ends = 0
            self._empty = False
        self._line_ends += (len(data) - len(content)) // 2


def body_hash(chunks: Iterable[bytes]) -> bytes:
    """The hash of a body that comes in chunks."""
    body = BodyHash()
    for chunk in chunks:
        body.update(chunk)
    return body.digest()
