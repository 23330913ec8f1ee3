"""A text body of which only the lines that hold a merge field are encoded for each copy.

Quoted-printable breaks lines where they grow long, so a value changes how the rest of its line is written, and nothing
beyond: everything between such lines is encoded once. Which encoding a copy has is decided anew each time, by the same
rule as for a body that is written at once, from counts of what is the same in all copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from operator import itemgetter
from typing import TypeAlias

from genie_connect.errors import UnsafeMessage
from genie_connect.mime.body import (
    Encoding,
    base64_is_smaller,
    base64_lines,
    costly_octets,
    encoded_text,
    quoted_printable,
)
from genie_connect.mime.gate import MAX_LINE_OCTETS, check_wire, has_long_line
from genie_connect.mime.parts import TOKEN_CHARACTERS
from genie_connect.model.merge import Field, Segment

_TOKEN = re.compile(rf"[0-9a-f]{{{TOKEN_CHARACTERS}}}")


class Slots:
    """The distinct fields of a message, each with a number."""

    def __init__(self) -> None:
        self.fields: list[Field] = []

    def number(self, field: Field) -> int:
        """The field's place in a list of values."""
        if field not in self.fields:
            self.fields.append(field)
        return self.fields.index(field)

    def filling(self, segments: Iterable[Segment]) -> Filling:
        """How to write segments, given the values."""
        pattern: list[str] = []
        numbers: list[int] = []
        for segment in segments:
            if isinstance(segment, Field):
                pattern.append("%s")
                numbers.append(self.number(segment))
            else:
                pattern.append(segment.replace("%", "%%"))
        return Filling("".join(pattern), numbers)


class Filling:
    """Text with places for values."""

    __slots__ = ("_pattern", "_pick")

    def __init__(self, pattern: str, numbers: Sequence[int]) -> None:
        self._pattern = pattern
        self._pick: Callable[[Sequence[str]], str | tuple[str, ...]] = itemgetter(*numbers) if numbers else _nothing

    def __call__(self, values: Sequence[str]) -> str:
        """The text with these values."""
        return self._pattern % self._pick(values)


def _nothing(_: Sequence[str]) -> tuple[()]:
    return ()


SplicedBody: TypeAlias = tuple[Encoding, bytes, bytes]
"""The encoding of a body, the body, and once more, for a last look, what in it is this copy's own."""


class SplicedText:
    """A body, its lines with fields apart from the rest. Line ends of ``segments`` are LF.

    ``varies`` says whether it has such lines at all, and ``suspect`` is where what is the same in all copies may hold
    what looks like a token.
    """

    def __init__(self, segments: Sequence[Segment], slots: Slots) -> None:
        runs, lines = _runs_and_lines(segments)
        self._count = len(lines)
        self.varies = bool(lines)
        self.own_lines = slots.filling([segment for line in lines for segment in line])
        """Gives the lines with fields, as a copy with these values has them, one after another."""
        self._raw = [run.encode() for run in runs]
        self._ascii = all(run.isascii() for run in runs)
        self._long = any(has_long_line(run) for run in self._raw)
        self._size_bytes = sum(map(len, self._raw))
        self._costly = sum(map(costly_octets, self._raw))
        self.suspect = "\n".join(runs) if any(_TOKEN.search(run) for run in runs) else ""
        self._same: dict[bool, SplicedBody] = {}

    @cached_property
    def _unencoded(self) -> bytes:
        check_wire(b"".join(self._raw), eight_bit=True)
        return _pattern(self._raw)

    @cached_property
    def _quoted(self) -> bytes:
        quoted = [quoted_printable(run) for run in self._raw]
        check_wire(b"".join(quoted))
        return _pattern(quoted)

    def body(self, own_lines: str, *, eight_bit: bool) -> SplicedBody:
        """The body of the copy with these lines, the same as ``encoded_text`` gives. Raises ``UnsafeMessage``."""
        if not self._count:
            return self._same_for_all(eight_bit)
        own = own_lines.encode()
        lines = own.splitlines(keepends=True)
        if len(lines) != self._count:
            # An empty value may be all of a last line, which then has no line end either.
            lines.append(b"")
            if len(lines) != self._count:
                raise UnsafeMessage("a value that begins another line")
        plain = own.isascii()
        ascii_only = plain and self._ascii
        if (ascii_only or eight_bit) and not self._long and (len(own) <= MAX_LINE_OCTETS or not has_long_line(own)):
            encoding = Encoding.SEVEN_BIT if ascii_only else Encoding.EIGHT_BIT
            return encoding, self._unencoded % tuple(lines), own
        costly = own.count(b"=") if plain else costly_octets(own)
        if base64_is_smaller(self._size_bytes + len(own), self._costly + costly):
            wrapped = base64_lines(_pattern(self._raw) % tuple(lines))
            return Encoding.BASE64, wrapped[:-2], wrapped
        if quoted_printable(own) != own:
            lines = [quoted_printable(line) for line in lines]
            own = b"".join(lines)
        return Encoding.QUOTED_PRINTABLE, self._quoted % tuple(lines), own

    def _same_for_all(self, eight_bit: bool) -> SplicedBody:
        if eight_bit not in self._same:
            body = encoded_text(b"".join(self._raw).decode(), eight_bit=eight_bit)
            check_wire(body.data, eight_bit=eight_bit)
            self._same[eight_bit] = (body.encoding, body.data, b"")
        return self._same[eight_bit]


def _runs_and_lines(segments: Sequence[Segment]) -> tuple[list[str], list[list[Segment]]]:
    """Runs of whole lines that are the same for all, and between each two of them a line with fields."""
    lines: list[list[Segment]] = [[]]
    for segment in segments:
        if isinstance(segment, Field):
            lines[-1].append(segment)
            continue
        first, *others = segment.split("\n")
        lines[-1].append(first)
        for other in others:
            lines[-1].append("\r\n")
            lines.append([other])
    runs: list[list[str]] = [[]]
    own: list[list[Segment]] = []
    for line in lines:
        if any(isinstance(segment, Field) for segment in line):
            own.append(line)
            runs.append([])
        else:
            runs[-1].append("".join([segment for segment in line if isinstance(segment, str)]))
    return ["".join(run) for run in runs], own


def _pattern(runs: Sequence[bytes]) -> bytes:
    """The runs, with a place for a line between each two of them."""
    return b"%b".join([run.replace(b"%", b"%%") for run in runs])
