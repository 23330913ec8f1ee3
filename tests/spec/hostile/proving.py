"""Which checks a connector fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genie_connect_spec.kit import Check, catalogue
from genie_connect_spec.kit.evaluation import Result, Verdict, evaluate
from genie_connect_spec.kit.rig import Rig
from tests.spec.hostile.honest import HonestContract

QUICK = {"GC-DISC", "GC-SET", "GC-CAP", "GC-HOOK"}
FEATURES = {f"GC-CAP-{number:03}" for number in range(20, 40)}
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
    """All checks of the parts of the contract that these belong to."""
    parts = {each.rpartition("-")[0] for each in checks}
    return [check for check in catalogue() if check.id.rpartition("-")[0] in parts]


def results(plugin: object, checks: Iterable[Check]) -> list[Result]:
    """What comes of these checks."""
    contract: Any = type("Hostile", (HonestContract,), {"plugin": plugin})()
    provider = contract.new_provider()
    with provider:
        settings = contract.settings_of(provider)
        return [evaluate(check, Rig(contract, settings, provider)) for check in checks]


def failed(plugin: object, checks: Iterable[Check]) -> dict[str, str]:
    """Those that failed, each with the reason."""
    return {each.check: each.reason for each in results(plugin, checks) if each.verdict is Verdict.FAILED}
