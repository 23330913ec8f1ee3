"""The page of advisories and the tests agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent
_PAGE = _FOLDER.parents[1] / "docs/pages/advisories.md"
_FIRST_ID = re.compile(r"\| `([^`]+)`")


def _rows(heading: str) -> dict[str, str]:
    """The rows below a heading: the first id of each, as a test has it in its name, and the last cell."""
    section = _PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if _FIRST_ID.match(line)]
    rows = {_slug(line): line.rstrip("| ").rpartition("|")[2] for line in lines}
    assert len(rows) == len(lines), "an advisory stands twice"
    return rows


def _slug(row: str) -> str:
    found = _FIRST_ID.match(row)
    assert found is not None
    return re.sub(r"[^a-z0-9]+", "_", found[1].lower())


def _tests() -> dict[str, str]:
    """Each test of an advisory, and the file it is in."""
    found = {}
    for file in sorted(_FOLDER.glob("test_*.py")):
        if file == Path(__file__):
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[node.name] = file.stem
                assert ast.get_docstring(node), node.name
    return found


def test_every_advisory_has_its_test_and_every_test_its_row() -> None:
    """In the file that the row names, and in no other."""
    rows, tests = _rows("Tested"), _tests()
    assert len(rows) > 30
    for slug, cell in rows.items():
        files = {file for name, file in tests.items() if name.startswith(f"test_{slug}_")}
        assert files == set(re.findall(r"`(test_\w+)`", cell)), slug
    for name in tests:
        assert any(name.startswith(f"test_{slug}_") for slug in rows), name


def test_what_is_tested_elsewhere_is_said_to_be_so() -> None:
    """No advisory is both tested here and left out, and what is left out has a reason."""
    left_out = _rows("Not about composing or sending")
    assert not left_out.keys() & _rows("Tested").keys()
    assert all(len(reason.strip()) > 5 for reason in left_out.values())


def test_a_row_without_a_test_would_be_noticed() -> None:
    """The names are compared, not counted."""
    rows = _rows("Tested")
    assert "cve_2024_6923" in rows
    assert not [name for name in _tests() if name.startswith("test_cve_2024_6924_")]
    with pytest.raises(AssertionError):
        _slug("| no id |")
