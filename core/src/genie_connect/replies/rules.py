"""The rules that say what a server's reply is about: one table for SMTP replies, bounce mail and webhooks."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

import attrs

from genie_connect.model.outcome import Scope

_CLASS: Final = re.compile(r"\\[A-Z]")
_SCOPES: Final = {"recipient": Scope.RECIPIENT, "message": Scope.MESSAGE, "connector": Scope.CONNECTION}


@attrs.frozen(kw_only=True)
class Rule:
    """One row of the table; ``None`` matches anything."""

    id: str
    kind: str
    action: str
    scope: Scope
    phases: frozenset[str] | None = None
    code: re.Pattern[str] | None = None
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None
    retry_after_s: float | None = None
    suppress: bool = False
    same_connection: bool = False
    hint: str = ""
    source: str = ""
    verified: str = ""


@cache
def reply_rules() -> tuple[Rule, ...]:
    """The rules for replies, in the order of trying."""
    return tuple(_rule(row, row["id"]) for row in _data()["rules"])


@cache
def fault_rules() -> tuple[tuple[str, Rule], ...]:
    """The rules for faults the client noticed itself, each with the fault's name."""
    return tuple((row["fault"], _rule(row, f"fault-{row['fault']}")) for row in _data()["faults"])


def matching_rule(phase: str, code: int, enhanced: str = "", text: str = "") -> Rule:
    """The first rule that fits a reply. ``phase`` is what it answered: ``connect``, ``ehlo``, ``rcpt``, ``eod``, ..."""
    for rule in _candidates(phase, code):
        if _fits(rule, enhanced, text):
            return rule
    raise AssertionError(f"no default rule for {code}")


def specific_rule(phases: tuple[str, ...], code: int, enhanced: str = "", text: str = "") -> Rule | None:
    """The rule that ``matching_rule`` finds for the first of these phases where it looks at more than the code."""
    small = text.lower() if text.isascii() else None
    for rule, wanted in _worth_a_look(phases, code, enhanced):
        if wanted is None:
            return rule
        # Looking for small letters alone takes a third of the time; beyond ASCII they are another matter.
        if rule.text.search(text) if small is None else wanted.search(small):  # type: ignore[union-attr]
            return rule
    return None


def _fits(rule: Rule, enhanced: str, text: str) -> bool:
    if rule.enhanced is not None and not (enhanced and rule.enhanced.fullmatch(enhanced)):
        return False
    return rule.text is None or rule.text.search(text) is not None


@cache
def _data() -> Any:
    return json.loads(resources.files(__package__).joinpath("replies.json").read_text(encoding="utf-8"))


def _rule(row: dict[str, Any], identifier: str) -> Rule:
    def pattern(key: str) -> re.Pattern[str] | None:
        return re.compile(row[key], re.IGNORECASE) if key in row else None

    return Rule(
        id=identifier,
        kind=row["kind"],
        action=row["action"],
        scope=_SCOPES[row["scope"]],
        phases=frozenset(row["phases"]) if "phases" in row else None,
        code=pattern("code"),
        enhanced=pattern("enhanced"),
        text=pattern("text"),
        retry_after_s=row.get("retry_after_s"),
        suppress=row.get("suppress", False),
        same_connection=row.get("same_connection", False),
        hint=row["hint"],
        source=row.get("source", ""),
        verified=row.get("verified", ""),
    )


@cache
def _candidates(phase: str, code: int) -> tuple[Rule, ...]:
    return tuple(
        rule
        for rule in reply_rules()
        if (rule.phases is None or phase in rule.phases) and (rule.code is None or rule.code.fullmatch(str(code)))
    )


@lru_cache(maxsize=1024)
def _worth_a_look(phases: tuple[str, ...], code: int, enhanced: str) -> tuple[tuple[Rule, re.Pattern[str] | None], ...]:
    """The rules that fit the codes, up to the first that looks at no text, each with what it wants in small letters."""
    found: list[tuple[Rule, re.Pattern[str] | None]] = []
    for rule in _specific(phases, code):
        if rule.enhanced is None or (enhanced and rule.enhanced.fullmatch(enhanced)):
            found.append((rule, None if rule.text is None else _small(rule.text)))
            if rule.text is None:
                break
    return tuple(found)


def _small(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The same for a text in small letters; as it stands where a class would become its opposite."""
    return pattern if _CLASS.search(pattern.pattern) else re.compile(pattern.pattern.lower())


@cache
def _specific(phases: tuple[str, ...], code: int) -> tuple[Rule, ...]:
    """Up to the first rule of each phase that fits whatever is said; one that did not fit once is not tried again."""
    found: dict[str, Rule] = {}
    for phase in phases:
        for rule in _candidates(phase, code):
            if rule.enhanced is None and rule.text is None:
                break
            found.setdefault(rule.id, rule)
    return tuple(found.values())
