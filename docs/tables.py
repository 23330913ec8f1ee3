"""Tables and sentences in Markdown."""

from __future__ import annotations

import inspect
from collections.abc import Iterable


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    columns = list(columns)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def markdown(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line, literals as Markdown has them."""
    first = inspect.cleandoc(docstring or "").split("\n\n")[0].replace("\n", " ")
    return first.replace("``", "`")
