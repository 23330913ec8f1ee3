"""Generated parts are up to date, examples run, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

from docs import generate
from genie_connect.http import STATUS
from genie_connect_smtp.classify import fault_rules, reply_rules
from tests.docs.pages import PAGES, ROOT, documents, examples, name_of

_FENCE = re.compile(r"^(`{3,}).*?^\1$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_PART = re.compile(r"<!-- (generated:|end of) ([a-z-]+) -->")

DOCUMENTS = documents()


@pytest.mark.parametrize("path", generate.documents(), ids=name_of)
def test_generated_parts_are_what_the_code_says(path: Path) -> None:
    """A page whose generated part is out of date misleads; ./dev docs writes it anew."""
    text = path.read_text(encoding="utf-8")
    assert generate.renewed(text) == text, f"{name_of(path)} is out of date: run ./dev docs"


@pytest.mark.parametrize("path", generate.documents(), ids=name_of)
def test_every_generated_part_is_closed_and_known(path: Path) -> None:
    """A misspelt marker would leave its part as it is for ever."""
    found = _PART.findall(path.read_text(encoding="utf-8"))
    opened = [name for kind, name in found if kind == "generated:"]
    closed = [name for kind, name in found if kind == "end of"]
    assert opened == closed
    assert set(opened) <= set(generate.PARTS)


def test_every_generator_is_used() -> None:
    """What no page shows need not be made."""
    shown = {name for path in generate.documents() for _, name in _PART.findall(path.read_text(encoding="utf-8"))}
    assert shown == set(generate.PARTS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_internal_links_lead_to_a_page_and_heading(path: Path) -> None:
    """Each relative link or picture names a file that is there, and where it names a heading, that one too."""
    dead = [target for target in _targets(path) if not _leads_somewhere(path, target)]
    assert dead == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_examples_run(path: Path, workplace: Path) -> None:
    """Every Python example of a document runs, after those above it, and prints what is shown."""
    for example in examples(path):
        example.evaluate()


def test_the_readme_names_every_folder_and_nothing_else() -> None:
    """The map of the folders is the one on disk."""
    readme = (DOCUMENTS[0]).read_text(encoding="utf-8")
    named = re.findall(r"^\| `([^`]+)/` \|", readme, re.MULTILINE)
    assert [folder for folder in named if not (DOCUMENTS[0].parent / folder).is_dir()] == []


def test_every_reason_of_an_outcome_is_explained() -> None:
    """A reason word that a host may meet stands in the table of reasons."""
    explained = set(re.findall(r"`([a-z_]+)`", (PAGES / "reference" / "outcomes.md").read_text(encoding="utf-8")))
    used = {rule.kind for rule in reply_rules()} | {rule.kind for _, rule in fault_rules()}
    used |= {verdict.reason for verdict in STATUS.values()}
    words = r'\b(?:reason|REASON_[A-Z_]+) ?= ?"([a-z_]+)"'
    for folder in ("core/src/genie_connect", "plugins/smtp/src", "plugins/contrib/src"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            used |= set(re.findall(words, path.read_text(encoding="utf-8")))
    assert used - explained - {"accepted"} == set()


def _targets(path: Path) -> list[str]:
    prose = _FENCE.sub("", path.read_text(encoding="utf-8"))
    prose = re.sub(r"`[^`\n]*`", "", prose)
    return [target for target in _LINK.findall(prose) if not re.match(r"[a-z]+:", target)]


def _leads_somewhere(path: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    destination = path if not file else (path.parent / file).resolve()
    if not destination.exists():
        return False
    return not anchor or anchor in _anchors(destination)


def _anchors(path: Path) -> set[str]:
    headings = _HEADING.findall(_FENCE.sub("", path.read_text(encoding="utf-8")))
    return {slugify(heading.replace("`", ""), "-") for heading in headings}
