"""The rows of a list of millions, in the order of their digests.

A digest says nothing of where its address stood in the list: ten thousand rows as they come belong on ten thousand
pages of a large table, and each of those is written twice, to the log and to its place. In order they belong on the few
pages that they fill.

So rows are thrown on heaps by the first byte of their digest, and each heap is sorted when all are there. What does not
fit in memory lies in a temporary file without a name, which is gone with the process.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

HEAPS: Final = 256
IN_MEMORY_BYTES: Final = 64 << 20
_BLOCK: Final = 256
"""Rows of a heap that are put away together."""
Plain: TypeAlias = "tuple[Any, ...]"


class Heaps:
    """Rows that begin with a digest and a scope, and are to be ordered by them. To be entered with ``with``.

    Of several with the same digest and scope the last stays.
    """

    def __init__(self, *, in_memory_bytes: int = IN_MEMORY_BYTES) -> None:
        self.count = 0
        self._file = SpooledTemporaryFile(max_size=in_memory_bytes)  # noqa: SIM115  # closed by __exit__
        self._open: list[list[Plain]] = [[] for _ in range(HEAPS)]
        self._blocks: list[list[tuple[int, int]]] = [[] for _ in range(HEAPS)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, row: Sequence[Any]) -> None:
        """Throw a row on its heap."""
        self.count += 1
        heap = row[0][0]
        rows = self._open[heap]
        rows.append(tuple(row))
        if len(rows) == _BLOCK:
            self._put_away(heap)

    def batches(self, size: int) -> Iterator[list[Plain]]:
        """All rows in order, so many at a time."""
        ready: list[Plain] = []
        for heap in range(HEAPS):
            last = {row[:2]: row for row in self._taken(heap)}
            ready += [last[place] for place in sorted(last)]
            while len(ready) >= size:
                yield ready[:size]
                del ready[:size]
        if ready:
            yield ready

    def _put_away(self, heap: int) -> None:
        block = marshal.dumps(self._open[heap])
        self._open[heap] = []
        self._blocks[heap].append((self._file.tell(), len(block)))
        self._file.write(block)

    def _taken(self, heap: int) -> list[Plain]:
        found: list[Plain] = []
        for place, size in self._blocks[heap]:
            self._file.seek(place)
            found += marshal.loads(self._file.read(size))  # noqa: S302  # written by this object, and by nobody else
        return found + self._open[heap]
