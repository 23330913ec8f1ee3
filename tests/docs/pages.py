"""The documents, their generator, and their examples."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from docs import generate

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"
_FILE_NAME = re.compile(r"# ([a-z_]+\.py)\n")


def documents() -> list[Path]:
    """Every document, those that generate nothing too."""
    return [*generate.documents(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def name_of(path: Path) -> str:
    """A document's name as a test shows it."""
    return path.relative_to(ROOT).as_posix()


def examples(path: Path) -> Iterator[Example]:
    """The Python examples of a document and the output they show, in their order.

    A block that begins with a comment naming a file (``# connector.py``) is written to that file in the current folder.
    A ``text`` block right below a Python block is what that one prints; ``...`` in it stands for anything.
    """
    parsers = [CodeBlockParser("python", _Python()), CodeBlockParser("text", _output)]
    return iter(Sybil(parsers=parsers, path=str(path.parent)).parse(path).examples())


class _Python:
    def __init__(self) -> None:
        self._evaluate = PythonEvaluator()

    def __call__(self, example: Example) -> None:
        example.namespace["_last"] = None
        file_name = _FILE_NAME.match(example.parsed)
        if file_name:
            Path(file_name[1]).write_text(example.parsed, encoding="utf-8")
            return
        printed = io.StringIO()
        with redirect_stdout(printed):
            self._evaluate(example)
        example.namespace["_last"] = (example.end, printed.getvalue())


def _output(example: Example) -> None:
    last = example.namespace.get("_last")
    if last is None:
        return
    end, printed = last
    if example.document.text[end : example.start].strip(" \n`"):
        return
    assert matches(printed, example.parsed), f"it prints\n{printed}\nand not\n{example.parsed}"


def matches(printed: str, shown: str) -> bool:
    """Whether output is what a document shows; blanks at the end of a line do not count."""
    parts = [re.escape(part) for part in _trimmed(shown).split("...")]
    return re.fullmatch(".*?".join(parts), _trimmed(printed), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
