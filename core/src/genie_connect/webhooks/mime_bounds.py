"""Messages that ``email`` can take apart in time, whoever wrote them.

It makes a message of each block of lines in a delivery report: a megabyte of blank lines is a million messages, and
takes it ten seconds. A megabyte of delimiters is two hundred thousand parts, and takes it one. And it looks for the
parameters of a field in steps that each copy the rest: a megabyte of semicolons takes it fifteen.
"""

from __future__ import annotations

import re
from email.policy import Compat32
from itertools import islice
from typing import Final

MOST_BLOCKS: Final = 4_000
"""Of a report and all that comes after it. A report has one for each recipient; what a server returns comes last."""
MOST_DELIMITERS: Final = 10_000
"""Lines alike that may stand between parts. Text has such lines too, and no text so many; of parts 500 are read."""
MOST_OF_A_FIELD: Final = 100_000
MOST_OF_A_CONTENT_FIELD: Final = 4_000
"""Those with parameters: types, boundaries, names of files."""
_DELIMITER: Final = re.compile(rb"(?:\A|[\r\n])--([^\r\n]*)")
_REPORT: Final = re.compile(rb"(?:\A|[\r\n])content-type:\s*message/(?:global-)?delivery-status", re.IGNORECASE)
_BLANK: Final = re.compile(rb"(?:\r\n|\r|\n)[ \t]*(?=\r\n|\r|\n)")


def bounded(raw: bytes) -> bytes:
    """The message up to ``MOST_BLOCKS`` blank lines after its first report, and up to ``MOST_DELIMITERS`` alike."""
    return _of_few_parts(_of_few_blocks(raw))


def _of_few_blocks(raw: bytes) -> bytes:
    report = _REPORT.search(raw)
    if report is None:
        return raw
    # Not up to the end of the part: what ends it stands in the message, and so may anything that looks like it.
    last = next(islice(_BLANK.finditer(raw, report.end()), MOST_BLOCKS, None), None)
    return raw if last is None else raw[: last.start()]


def _of_few_parts(raw: bytes) -> bytes:
    seen: dict[bytes, int] = {}
    for line in _DELIMITER.finditer(raw):
        delimiter = line[1].rstrip()
        seen[delimiter] = seen.get(delimiter, 0) + 1
        if seen[delimiter] > MOST_DELIMITERS:
            return raw[: line.start()]
    return raw


class ShortFields(Compat32):
    """``compat32``, which keeps header fields as they are; the newer policies raise for some when they are read."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """A field of an endless value is one of the beginning of it."""
        name, value = super().header_source_parse(sourcelines)
        most = MOST_OF_A_CONTENT_FIELD if name.lower().startswith("content-") else MOST_OF_A_FIELD
        return name, value[:most]
