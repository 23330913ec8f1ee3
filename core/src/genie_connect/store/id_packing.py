"""The ids that a provider gave to the copies of a hand-over, in few bytes: a format byte, then what it says.

Most providers' ids are random numbers in hexadecimal, alike but for their digits: as text they compress to 25 bytes
each, and as the bytes that they spell they take 16. Others are compressed as text; where all copies of a call share one
id, that takes two bytes for each.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from genie_connect.errors import StoreError
from genie_connect.store import bitmap

TEXT_1: Final = b"\x01"
DIGITS_1: Final = b"\x02"
"""The formats of this version: JSON, position to id; and a pattern with the digits that stand in it."""
_DIGITS: Final = re.compile(r"(?:[0-9a-f]{2}){2,}")
_LEVEL: Final = 6
FEW: Final = 8
"""So many ids are searched for one by one; for more of them it is quicker to read all that there are."""


def pack_ids(ids: Mapping[int, str]) -> bytes:
    """The bytes to be stored."""
    positions = sorted(ids)
    patterns = {_DIGITS.sub(_blank, ids[position]) for position in positions}
    if len(patterns) != 1 or "\0" not in "".join(patterns) or any("\0" in each for each in ids.values()):
        return TEXT_1 + zlib.compress(json.dumps(ids, separators=(",", ":")).encode(), _LEVEL)
    digits = [bytes.fromhex("".join(_DIGITS.findall(ids[position]))) for position in positions]
    # Byte by byte of all ids: what they have in common then stands together.
    columns = b"".join(map(bytes, zip(*digits, strict=True)))
    head = json.dumps([patterns.pop(), bitmap.dump(bitmap.of(positions)).hex()]).encode()
    return DIGITS_1 + zlib.compress(head + b"\n" + columns, _LEVEL)


class Wanted:
    """Ids to be found, in any number of hand-overs. Each is spelled out once, and looked for where it can be."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = set(ids)
        self._by_pattern: dict[str, dict[bytes, str]] = {}
        for given in self._ids:
            pattern, digits = _spelling(given)
            if digits:
                self._by_pattern.setdefault(pattern, {})[digits] = given

    def __bool__(self) -> bool:
        return bool(self._ids)

    def forget(self, ids: Iterable[str]) -> None:
        """These have been found."""
        for given in ids:
            self._ids.discard(given)
            pattern, digits = _spelling(given)
            self._by_pattern.get(pattern, {}).pop(digits, None)

    def found_in(self, data: bytes) -> dict[int, str]:
        """Which of what ``pack_ids`` stored are wanted, by position. Raises ``StoreError`` for anything else."""
        try:
            content = zlib.decompress(data[1:])
            if data[:1] == TEXT_1:
                return {int(place): given for place, given in json.loads(content).items() if given in self._ids}
            if data[:1] != DIGITS_1:
                raise ValueError("its format is not known")
            head, _, columns = content.partition(b"\n")
            pattern, places = json.loads(head)
            positions = bitmap.positions(bitmap.load(bytes.fromhex(places)))
            if len(columns) != len(positions) * pattern.count("\0") // 2:
                raise ValueError("some digits are missing")
        except (ValueError, TypeError, AttributeError, zlib.error) as error:
            raise StoreError(f"the ids of a hand-over cannot be read: {error}", hint="its row is damaged") from None
        wanted, count = self._by_pattern.get(pattern, {}), len(positions)
        if len(wanted) > FEW:
            each = ((position, columns[start::count]) for start, position in enumerate(positions))
            return {position: wanted[digits] for position, digits in each if digits in wanted}
        return {
            positions[start]: given for digits, given in wanted.items() for start in _places(columns, count, digits)
        }


def _places(columns: bytes, count: int, digits: bytes) -> Iterable[int]:
    """Where among so many ids one stands. To compare it with its like is a hundred times quicker than to read all."""
    # Ids that begin alike, as those that count up do, differ at their end.
    last = columns[-count:]
    start = last.find(digits[-1])
    while start >= 0:
        if columns[start::count] == digits:
            yield start
        start = last.find(digits[-1], start + 1)


def _spelling(given: str) -> tuple[str, bytes]:
    """The pattern of an id, and the bytes that its digits spell."""
    return _DIGITS.sub(_blank, given), bytes.fromhex("".join(_DIGITS.findall(given)))


def _blank(found: re.Match[str]) -> str:
    return "\0" * len(found[0])
