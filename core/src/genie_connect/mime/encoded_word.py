"""Encoded-words (RFC 2047): text beyond ASCII in a header."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator

MAX_OCTETS = 75  # RFC 2047 section 2
_OVERHEAD = len("=?utf-8?q??=")
# Four bytes of UTF-8, each written as =XX: the room below which not every character fits.
LEAST_ROOM = _OVERHEAD + 12

# The letters that may stand in an encoded-word anywhere, in a phrase too (RFC 2047 section 5 (3)).
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = tuple("_" if byte == 0x20 else chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in range(256))


def encoded_words(text: str, room: int) -> Iterator[str]:
    """``text`` as encoded-words of whole characters; the first has at most ``room`` octets, the others 75.

    Written with a blank or a fold between them they are read as ``text`` again: readers drop white space between
    adjacent encoded-words (RFC 2047 section 6.2).
    """
    data = text.encode()
    quoted = q_encoded(data)
    if len(quoted) <= (len(data) + 2) // 3 * 4:
        if len(quoted) + _OVERHEAD <= min(room, MAX_OCTETS):
            yield f"=?utf-8?q?{quoted}?="
            return
        for piece in _pieces(text, [len(q_encoded(letter.encode())) for letter in text], room, _q_capacity):
            yield f"=?utf-8?q?{q_encoded(piece.encode())}?="
        return
    for piece in _pieces(text, [len(letter.encode()) for letter in text], room, _b_capacity):
        yield f"=?utf-8?b?{binascii.b2a_base64(piece.encode(), newline=False).decode('ascii')}?="


def q_encoded(data: bytes) -> str:
    """``data`` in the Q encoding."""
    return "".join([_Q[byte] for byte in data])


def _q_capacity(room: int) -> int:
    return room - _OVERHEAD


def _b_capacity(room: int) -> int:
    return (room - _OVERHEAD) // 4 * 3


def _pieces(text: str, sizes: list[int], room: int, capacity_of: Callable[[int], int]) -> Iterator[str]:
    capacity = capacity_of(min(room, MAX_OCTETS))
    start = used = 0
    for index, size in enumerate(sizes):
        if used + size > capacity:
            yield text[start:index]
            start, used = index, 0
            capacity = capacity_of(MAX_OCTETS)
        used += size
    yield text[start:]
