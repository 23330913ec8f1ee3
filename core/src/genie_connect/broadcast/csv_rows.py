"""CSV, record by record, so that one that is broken costs no other.

A quotation mark that is never closed would make all that follows part of one value, and thousands of rows one error.
So the lines of a record are kept until it is complete, and where it is not right, only its first line is refused, and
the others are read anew.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import IO, Final

from genie_connect.broadcast.columns import Columns
from genie_connect.broadcast.row import Row
from genie_connect.errors import Problem, UnusableList, ValidationError

DELIMITERS: Final = ",;\t|"
MOST_LINES: Final = 50
"""A record with more lines than this has lost its closing quotation mark."""
_MOST_LINE_CHARACTERS: Final = 1_000_000
_BEGINNINGS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "a spreadsheet", b"\x1f\x8b": "packed"}
"""How files begin that are not what their name says."""


def csv_rows(file: IO[bytes]) -> Iterator[Row]:
    """All rows of a file. Raises ``UnusableList`` where its first line does not name the columns."""
    head = file.readline(_MOST_LINE_CHARACTERS)
    for start, what in _BEGINNINGS.items():
        if head.startswith(start):
            raise UnusableList(f"the recipients file is no CSV: it is {what}", hint="save it as CSV in UTF-8")
    if not head:
        raise UnusableList("the recipients file is empty", hint="its first line must hold names of columns")
    first = head.decode("utf-8-sig", "surrogateescape")
    delimiter = max(DELIMITERS, key=first.count)
    try:
        names = next(csv.reader([first], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        hint = "write the names of the columns in one line, and end each line with a line feed"
        raise UnusableList(f"the first line of the recipients file is no CSV: {error}", hint=hint) from None
    columns = Columns([name.strip() for name in names])
    with io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="") as lines:
        yield from _Records(lines, delimiter, columns)


class _Records:
    """Rows of the lines of a file, from its second line on."""

    def __init__(self, lines: Iterator[str], delimiter: str, columns: Columns) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._columns = columns
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._line = 1
        """How many lines of the file are done with."""

    def __iter__(self) -> Iterator[Row]:
        while True:
            try:
                yield from self._whole()
                return
            except csv.Error as error:
                yield self._refused(str(error))

    def _whole(self) -> Iterator[Row]:
        """Rows up to a record that is not right, which raises ``csv.Error``."""
        width = len(self._columns.names)
        for values in csv.reader(self._feed(), delimiter=self._delimiter, strict=True):
            if values and len(values) != width:
                raise csv.Error(f"has {len(values)} values where there are {width} columns")
            number, self._line = self._line + 1, self._line + len(self._taken)
            self._taken.clear()
            if not values:
                continue
            try:
                yield Row(number, self._columns.recipient(values), (), values)
            except ValidationError as error:
                yield Row(number, None, _problems(values, error), dict(zip(self._columns.names, values, strict=True)))

    def _feed(self) -> Iterator[str]:
        while True:
            if len(self._taken) == MOST_LINES:
                raise csv.Error(f"a quotation mark is not closed within {MOST_LINES} lines")
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is None:
                return
            self._taken.append(line)
            yield line

    def _refused(self, cause: str) -> Row:
        """The first line of the record that is not right; the others are looked at by themselves."""
        first, *others = self._taken or [""]
        self._again.extendleft(reversed(others))
        self._taken.clear()
        self._line += 1
        fix = "put values that hold the separator or a quotation mark in quotes, and double each quotation mark in them"
        return Row(self._line, None, (Problem("", cause, fix),), first.rstrip("\r\n"))


def _problems(values: list[str], error: ValidationError) -> tuple[Problem, ...]:
    if any("\udc80" <= character <= "\udcff" for value in values if not value.isascii() for character in value):
        return (Problem("", "is not UTF-8", "save the file as UTF-8"),)
    return error.problems
