"""One row of a list of recipients."""

from __future__ import annotations

from typing import Any, NamedTuple

from genie_connect.errors import Problem
from genie_connect.model.batch import Recipient


class Row(NamedTuple):
    """A row: its number in the source from 1, a recipient or problems, and what was given, for the reject file.

    Of a file the number is that of its line, which counts the line with the names.
    """

    number: int
    recipient: Recipient | None
    problems: tuple[Problem, ...]
    given: Any
