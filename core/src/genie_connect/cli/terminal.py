"""Where output goes: data to standard output, talk to standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PIPE_WIDTH = 10_000
"""A pipe has no edge: what reads it wants one line for each row."""

STYLES = {
    "ok": "green",
    "accepted": "green",
    "warn": "yellow",
    "deferred": "yellow",
    "suppressed": "yellow",
    "skip": "dim",
    "fail": "bold red",
    "rejected": "bold red",
    "unknown": "bold magenta",
}
"""How the word for a state looks on a terminal. The word alone says it."""


def printable(text: object) -> str:
    """Text from elsewhere without what a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n"))


@attrs.define
class Terminal:
    """The two streams, and how they are to be written."""

    json: bool = False
    no_color: bool = False
    verbose: int = 0

    def line(self, text: object = "") -> None:
        """Write a line of data."""
        print(printable(text), file=sys.stdout, flush=True)

    def document(self, value: Any, *, indent: int | None = 2) -> None:
        """Write data as JSON."""
        print(json.dumps(value, indent=indent, ensure_ascii=False), file=sys.stdout, flush=True)

    def say(self, text: object = "") -> None:
        """Tell the person something that is not data."""
        print(printable(text), file=sys.stderr, flush=True)

    def console(self, *, stderr: bool = False) -> Console:
        """A rich console on one of the streams: no styles unless it is a terminal."""
        # rich takes longer to import than click and all of the commands; what prints JSON or a line does without it.
        from rich.console import Console

        console = Console(
            stderr=stderr, no_color=self.no_color or None, highlight=False, markup=False, emoji=False, soft_wrap=False
        )
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        return console

    def styled(self, word: str) -> Text:
        """A state's word in its colour."""
        from rich.text import Text  # as in console()

        return Text(word, style=STYLES.get(word, ""))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
        """Write a table of data; ``right`` names the columns of numbers."""
        self.console().print(self.table_of(columns, rows, right=right))

    @staticmethod
    def table_of(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> Table:
        """Such a table, not written yet."""
        from rich import box  # as in console()
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
        numbers = set(right)
        for column in columns:
            table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
        return table

    @contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Show that something is under way, on a terminal only."""
        if not sys.stderr.isatty():
            yield
            return
        console = self.console(stderr=True)
        with console.status(printable(doing)):
            yield
