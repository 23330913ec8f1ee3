"""How far a connector has come: bronze, silver, gold, platinum, computed from the results of the checks.

========  ==========================================================================================
bronze    it is found, set up, opened and closed, and sends: every MUST of those parts
silver    and what it says of failures and tests can be believed
gold      and every other MUST: capabilities, webhooks, safety
platinum  and every SHOULD, without a waiver
========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import attrs

from genie_connect_spec.kit.check import Check, Force, catalogue
from genie_connect_spec.kit.evaluation import Verdict


class Level(StrEnum):
    """The levels, the lowest first; ``none`` is below them."""

    NONE = "none"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    PLATINUM = "platinum"


_PARTS: Final[Mapping[str, Level]] = {
    "GC-DISC": Level.BRONZE,
    "GC-SET": Level.BRONZE,
    "GC-SEND": Level.BRONZE,
    "GC-LIFE": Level.BRONZE,
    "GC-FAIL": Level.SILVER,
    "GC-TEST": Level.SILVER,
    "GC-CAP": Level.GOLD,
    "GC-HOOK": Level.GOLD,
    "GC-SAFE": Level.GOLD,
}


def level_of(check: Check) -> Level:
    """The lowest level for which a check has to be kept."""
    return Level.PLATINUM if check.force is Force.SHOULD else _PARTS[check.id.rpartition("-")[0]]


@attrs.frozen(kw_only=True)
class Conformance:
    """What a run of the whole kit found of one connector. ``checks`` has a verdict for each id, ``waivers`` reasons."""

    connector: str
    level: Level
    checks: Mapping[str, str]
    waivers: Mapping[str, str]
    missing: tuple[str, ...]
    """What stands in the way of the next level."""

    def data(self) -> dict[str, Any]:
        """As it is written to ``conformance.json``."""
        counts = {verdict.value: list(self.checks.values()).count(verdict.value) for verdict in Verdict}
        return {
            "connector": self.connector,
            "contract": "1.0",
            "level": self.level.value,
            "missing": list(self.missing),
            "counts": counts,
            "waivers": dict(self.waivers),
            "checks": dict(self.checks),
        }


def conformance(connector: str, verdicts: Mapping[str, str], waivers: Mapping[str, str]) -> Conformance:
    """The level that these verdicts make. A check that was not run, or is waived, is not kept."""
    checks = catalogue()
    reached, missing = Level.NONE, list[str]()
    for level in list(Level)[1:]:
        missing = [check.id for check in _up_to(level, checks) if not _kept(check, verdicts, waivers, level)]
        if missing:
            break
        reached = level
    return Conformance(connector=connector, level=reached, checks=verdicts, waivers=waivers, missing=tuple(missing))


def _up_to(level: Level, checks: Iterable[Check]) -> list[Check]:
    order = list(Level)
    return [check for check in checks if order.index(level_of(check)) <= order.index(level)]


def _kept(check: Check, verdicts: Mapping[str, str], waivers: Mapping[str, str], level: Level) -> bool:
    verdict = verdicts.get(check.id)
    if check.id in waivers and level is not Level.PLATINUM:
        return verdict is not None
    return verdict in (Verdict.PASSED.value, Verdict.NOT_APPLICABLE.value)
