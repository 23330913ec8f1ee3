"""Sets of positions as integers: bit *n* stands for position *n*. In the store they are little-endian bytes.

``|``, ``&``, ``&~`` and ``int.bit_count`` are the set operations, so this module only converts.
"""

from __future__ import annotations

from collections.abc import Iterable


def of(positions: Iterable[int]) -> int:
    """The bitmap that holds these positions."""
    bits = 0
    for position in positions:
        bits |= 1 << position
    return bits


def full(size: int) -> int:
    """The bitmap of all positions below ``size``."""
    return (1 << size) - 1


def positions(bits: int) -> list[int]:
    """The positions that it holds, lowest first."""
    found = []
    while bits:
        lowest = bits & -bits
        found.append(lowest.bit_length() - 1)
        bits ^= lowest
    return found


def dump(bits: int) -> bytes:
    """As it is stored: no byte more than needed, so that nothing is an empty string."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def load(data: bytes) -> int:
    """The bitmap that ``dump`` stored."""
    return int.from_bytes(data, "little")
