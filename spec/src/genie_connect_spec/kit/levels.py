"""How far a connector has come: bronze, silver, gold, platinum, computed from the checks and from what is stated.

========  ==========================================================================================
bronze    it is found, set up, opened and closed, and sends: every MUST of those parts
silver    and what it says of failures and tests can be believed
gold      and every other MUST: capabilities, webhooks, safety, and what an SMTP server sees
platinum  and every SHOULD, without a waiver
========  ==========================================================================================

From silver on, the rules of ``quality.yaml`` up to the level have to be done, or exempt, as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from genie_connect.contract import Quality
from genie_connect_spec.kit.check import Check, Force, catalogue
from genie_connect_spec.kit.evaluation import Verdict
from genie_connect_spec.kit.quality import RULES, Statement

_PARTS: Final[Mapping[str, Quality]] = {
    "GC-DISC": Quality.BRONZE,
    "GC-SET": Quality.BRONZE,
    "GC-SEND": Quality.BRONZE,
    "GC-LIFE": Quality.BRONZE,
    "GC-FAIL": Quality.SILVER,
    "GC-TEST": Quality.SILVER,
    "GC-CAP": Quality.GOLD,
    "GC-HOOK": Quality.GOLD,
    "GC-SMTP": Quality.GOLD,
    "GC-SAFE": Quality.GOLD,
}


def level_of(check: Check) -> Quality:
    """The lowest level for which a check has to be kept."""
    return Quality.PLATINUM if check.force is Force.SHOULD else _PARTS[check.id.rpartition("-")[0]]


@attrs.frozen(kw_only=True)
class Conformance:
    """What a run of the whole kit found of one connector. ``checks`` has a verdict for each id, ``waivers`` reasons."""

    connector: str
    level: Quality
    checks: Mapping[str, str]
    waivers: Mapping[str, str]
    statement: Statement
    missing: tuple[str, ...]
    """What stands in the way of the next level: checks, and rules of ``quality.yaml``."""

    def data(self) -> dict[str, Any]:
        """As it is written to ``conformance.json``."""
        counts = {verdict.value: list(self.checks.values()).count(verdict.value) for verdict in Verdict}
        stated = {rule.id: self.statement[rule.id] for rule in RULES}
        return {
            "connector": self.connector,
            "contract": "1.0",
            "level": self.level.value,
            "missing": list(self.missing),
            "counts": counts,
            "waivers": dict(self.waivers),
            "tried_with": self.statement.tried_with,
            "rules": {rule: {"status": each.status.value, "comment": each.comment} for rule, each in stated.items()},
            "checks": dict(self.checks),
        }


def conformance(
    connector: str, verdicts: Mapping[str, str], waivers: Mapping[str, str], statement: Statement | None = None
) -> Conformance:
    """The level that these make. A check that was not run, or is waived, is not kept; nor a rule nobody speaks of."""
    checks, statement = catalogue(), statement or Statement()
    reached, missing = Quality.NONE, list[str]()
    for level in list(Quality)[1:]:
        missing = [check.id for check in _up_to(level, checks) if not _kept(check, verdicts, waivers, level)]
        missing += statement.todo(level)
        if missing:
            break
        reached = level
    return Conformance(
        connector=connector,
        level=reached,
        checks=verdicts,
        waivers=waivers,
        statement=statement,
        missing=tuple(missing),
    )


def _up_to(level: Quality, checks: Iterable[Check]) -> list[Check]:
    order = list(Quality)
    return [check for check in checks if order.index(level_of(check)) <= order.index(level)]


def _kept(check: Check, verdicts: Mapping[str, str], waivers: Mapping[str, str], level: Quality) -> bool:
    verdict = verdicts.get(check.id)
    if check.id in waivers and level is not Quality.PLATINUM:
        return verdict is not None
    return verdict in (Verdict.PASSED.value, Verdict.NOT_APPLICABLE.value)
