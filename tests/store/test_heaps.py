"""A list of rows in the order of their digests, whatever order they came in and wherever they lie meanwhile."""

from __future__ import annotations

import random
from hashlib import blake2b

import pytest

from genie_connect.store.heaps import Heaps

_ROWS = 100_000
"""More than the heaps keep open, so that most of them are put away."""


def rows_of(count: int) -> list[tuple[bytes, int, str, float | None]]:
    """Rows in no order."""
    digests = (blake2b(str(number).encode(), digest_size=16).digest() for number in range(count))
    return [(digest, number % 2, f"user{number}@example.com", None) for number, digest in enumerate(digests)]


@pytest.mark.parametrize("in_memory_bytes", [1, 1 << 30])
def test_gives_all_rows_in_order(in_memory_bytes: int) -> None:
    """From a file and from memory the same: each row once, in batches of the size that was asked for."""
    rows = rows_of(_ROWS)
    with Heaps(in_memory_bytes=in_memory_bytes) as heaps:
        for row in rows:
            heaps.add(row)
        batches = list(heaps.batches(7_000))
    assert [row for batch in batches for row in batch] == sorted(rows)
    assert [len(batch) for batch in batches] == [7_000] * 14 + [2_000]
    assert heaps.count == _ROWS


def test_of_several_with_one_digest_and_scope_the_last_stays() -> None:
    """However far apart they are, and whether the first of them lies in the file already."""
    rows = rows_of(_ROWS)
    repeated = random.Random(1).sample(rows, 500)
    with Heaps(in_memory_bytes=1) as heaps:
        for row in rows:
            heaps.add(row)
        for digest, scope, _, _ in repeated:
            heaps.add((digest, scope, "later@example.com", 1.0))
        found = [row for batch in heaps.batches(10_000) for row in batch]
    later = {row[:2] for row in repeated}
    assert found == sorted((*row[:2], "later@example.com", 1.0) if row[:2] in later else row for row in rows)
    assert heaps.count == _ROWS + 500


def test_of_no_rows_there_is_no_batch() -> None:
    """Not even an empty one."""
    with Heaps() as heaps:
        assert list(heaps.batches(10)) == []
