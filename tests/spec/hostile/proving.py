"""Which checks a connector fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genie_connect_spec.kit import Check, catalogue
from genie_connect_spec.kit.whole import failures_of
from tests.spec.hostile.honest import HonestContract
from tests.spec.hostile.smtp import Ours
from tests.spec.smtp_contract import Smtp

QUICK = {"GC-DISC", "GC-SET", "GC-CAP", "GC-HOOK"}
FEATURES = {f"GC-CAP-{number:03}" for number in range(20, 45)}
"""Checks of capabilities that send something."""


def relevant(expected: Iterable[str]) -> list[Check]:
    """The checks that are to fail, and of the parts that take no time all others.

    Whether a connector fails others of the slow parts, tests/faults/test_hostile_connectors.py says.
    """
    wanted = set(expected)
    parts = {each.rpartition("-")[0] for each in wanted}
    return [
        check
        for check in catalogue()
        if check.id in wanted or (check.id.rpartition("-")[0] in parts & QUICK and check.id not in FEATURES)
    ]


def of_the_same_parts(checks: Iterable[str]) -> list[Check]:
    """All checks of the parts of the contract that these belong to; of SMTP, which has many, of the same modules."""
    wanted = set(checks)
    parts = {_part(check) for check in catalogue() if check.id in wanted}
    return [check for check in catalogue() if _part(check) in parts]


def _part(check: Check) -> str:
    part = check.id.rpartition("-")[0]
    return check.body.__module__ if part == "GC-SMTP" else part


def failed(plugin: object, checks: Iterable[Check]) -> dict[str, str]:
    """Those that failed, each with the reason."""
    if isinstance(plugin, Ours):
        ours: Any = type("Hostile", (Smtp,), {"plugin": plugin})()
        with plugin.spoilt():
            return failures_of(ours, checks)
    contract: Any = type("Hostile", (HonestContract,), {"plugin": plugin})()
    return failures_of(contract, checks)
