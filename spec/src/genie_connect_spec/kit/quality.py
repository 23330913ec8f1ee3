"""What the checks cannot see of a connector, and its author states in ``quality.yaml``.

::

    tried_with: the provider's OpenAPI description; no account
    rules:
      docs-setup: done
      events: todo
      bulk:
        status: exempt
        comment: the provider takes one copy in a call
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from genie_connect.contract import Quality
from genie_connect.model.capability import CapabilityTable, Level
from genie_connect.model.frozen import EMPTY, FrozenMap


class Status(StrEnum):
    """How it stands with a rule."""

    DONE = "done"
    TODO = "todo"
    EXEMPT = "exempt"
    """It says nothing about this connector; the comment says why."""


@attrs.frozen(kw_only=True)
class Rule:
    """One rule of the scale, and the level that needs it."""

    id: str
    level: Quality
    says: str


RULES: Final = tuple(
    Rule(id=name, level=level, says=says)
    for level, name, says in (
        (
            Quality.SILVER,
            "docs-setup",
            "The documentation says how to install it, which settings there are, and where their values are found.",
        ),
        (
            Quality.SILVER,
            "errors-mapped",
            "Each error that the provider documents has its outcome, in a table with the source beside it.",
        ),
        (
            Quality.SILVER,
            "own-tests",
            "Tests of its own show what leaves, and what the provider's documented answers become.",
        ),
        (Quality.GOLD, "docs-failures", "The documentation says what failures mean and what to do about them."),
        (
            Quality.GOLD,
            "docs-limits",
            "The documentation names limits and quirks, and says which of them nobody has verified.",
        ),
        (
            Quality.GOLD,
            "requests-checked",
            "What leaves is held against the provider's own description, its client library, or a real server.",
        ),
        (Quality.GOLD, "events", "What the provider reports after a send becomes events."),
        (Quality.GOLD, "changelog", "What changes for its users is written down, version by version."),
        (Quality.PLATINUM, "typed", "It has types, which a strict checker accepts, and says so with py.typed."),
        (Quality.PLATINUM, "bulk", "A broadcast goes by the provider's own way for many copies, up to its limits."),
        (
            Quality.PLATINUM,
            "doubts",
            "A send without an answer can be settled: by an idempotency key, a look-up, or events.",
        ),
    )
)
"""What bronze needs, the checks see."""

_PROVEN_BY: Final = {
    "events": ("events.webhook",),
    "bulk": ("send.batch",),
    "doubts": ("send.idempotency", "lookup", "events.webhook"),
}
"""Rules that are done only where one of these capabilities is declared."""


class QualityError(ValueError):
    """The file does not say what it has to; the text names every problem."""


@attrs.frozen(kw_only=True)
class Stated:
    """What a file says of one rule."""

    status: Status
    comment: str = ""


@attrs.frozen(kw_only=True)
class Statement:
    """What the author states: how the connector was tried, and how it stands with each rule."""

    tried_with: str = ""
    rules: FrozenMap[Stated] = EMPTY

    def __getitem__(self, rule: str) -> Stated:
        return self.rules.get(rule, Stated(status=Status.TODO))

    def todo(self, level: Quality) -> tuple[str, ...]:
        """The rules up to this level that are neither done nor exempt."""
        order = list(Quality)
        needed = (rule.id for rule in RULES if order.index(rule.level) <= order.index(level))
        return tuple(id for id in needed if self[id].status is Status.TODO)  # noqa: A001

    def unproven(self, table: CapabilityTable) -> tuple[str, ...]:
        """What is called done, and the connector's own table says otherwise."""
        return tuple(
            f"{rule} is done, and none of {', '.join(names)} is declared"
            for rule, names in _PROVEN_BY.items()
            if self[rule].status is Status.DONE and all(table[name].level in (Level.NO, Level.HOST) for name in names)
        )


def read(path: Path) -> Statement:
    """The statement in a file; an empty one where there is none. Raises ``QualityError``."""
    if not path.is_file():
        return Statement()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError) as error:
        raise QualityError(f"{path.name} is no YAML: {error}") from None
    problems = list(_problems(data))
    if problems:
        raise QualityError(f"{path.name}: {'; '.join(problems)}")
    rules = {id: _stated(value) for id, value in data["rules"].items()}  # noqa: A001
    return Statement(tried_with=data["tried_with"].strip(), rules=FrozenMap(rules))


def _stated(value: Any) -> Stated:
    if isinstance(value, str):
        return Stated(status=Status(value))
    return Stated(status=Status(value["status"]), comment=" ".join(value.get("comment", "").split()))


def _problems(data: Any) -> Iterator[str]:
    if not isinstance(data, Mapping) or not isinstance(data.get("rules"), Mapping):
        yield "it has no rules"
        return
    for name in set(data) - {"tried_with", "rules"}:
        yield f"{name!r} is nothing that it can hold"
    if not isinstance(data.get("tried_with"), str) or not data["tried_with"].strip():
        yield "tried_with does not say how the connector was tried"
    known = {rule.id for rule in RULES}
    for id, value in data["rules"].items():  # noqa: A001
        if id not in known:
            yield f"there is no rule {id!r}"
        else:
            yield from _rule_problems(id, value)


def _rule_problems(id: str, value: Any) -> Iterator[str]:  # noqa: A002
    status, comment = (value.get("status"), value.get("comment", "")) if isinstance(value, Mapping) else (value, "")
    if status not in list(Status):
        yield f"{id} is {status!r}; use done, todo or exempt"
    elif not isinstance(comment, str):
        yield f"the comment of {id} is no text"
    elif status == Status.EXEMPT and not comment.strip():
        yield f"{id} is exempt, and no comment says why"


_COLOURS: Final = {
    Quality.NONE: "#6b7280",
    Quality.BRONZE: "#8c5a2b",
    Quality.SILVER: "#5f6b76",
    Quality.GOLD: "#8a6d00",
    Quality.PLATINUM: "#2f5d7c",
}
"""White text on each of them has a contrast of 4.5 and more (WCAG 2.2, 1.4.3)."""


def badge(level: Quality) -> str:
    """The level as a small picture, in SVG, with nothing in it that a browser would have to fetch."""
    left, right = 52, 62
    text = f"quality: {level.value}"
    style = 'fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{text}">'
        f"<title>{text}</title>"
        f'<rect width="{left + right}" height="20" rx="3" fill="#3b4048"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" fill="{_COLOURS[level]}"/>'
        f'<g {style}><text x="{left / 2:g}" y="14">quality</text>'
        f'<text x="{left + right / 2:g}" y="14">{level.value}</text></g></svg>\n'
    )
