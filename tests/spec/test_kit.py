"""The kit itself: what an author sees of it."""

from __future__ import annotations

import re
from importlib import resources

from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.check import Force

pytest_plugins = ["pytester"]


def test_there_are_enough_checks() -> None:
    """A connector is looked at from all sides, and each check says why it is there."""
    checks = catalogue()
    assert len(checks) >= 120
    assert len({check.id for check in checks}) == len(checks)
    assert all(check.reason.endswith(".") for check in checks), "a reason is a sentence"
    assert all(re.fullmatch(r"\d+\.\d+", check.since) for check in checks)
    assert {check.force for check in checks} == {Force.MUST, Force.SHOULD}


def test_a_check_comes_after_checks_that_exist() -> None:
    """What a check depends on is a check."""
    known = {check.id for check in catalogue()}
    assert all(set(check.after) <= known for check in catalogue())


def rules() -> dict[str, str]:
    """The rules of the written contract, by id."""
    text = resources.files("genie_connect_spec").joinpath("contract.md").read_text(encoding="utf-8")
    found = re.findall(r"^- \*\*(GC-[A-Z]+-\d{3})\*\* (.+)$", text, re.MULTILINE)
    assert len(dict(found)) == len(found), "an id stands there twice"
    return dict(found)


def test_every_rule_has_its_check_and_every_check_its_rule() -> None:
    """A rule that nobody checks is a wish; a check without a rule is a surprise."""
    assert rules().keys() == {check.id for check in catalogue()}


def test_rules_and_checks_are_of_one_force() -> None:
    """What the contract only advises, the kit does not demand."""
    written = {rule: "SHOULD" if "SHOULD" in text else "MUST" for rule, text in rules().items()}
    stated = rules().values()
    assert all(("MUST" in text) != ("SHOULD" in text) or text.startswith("`send.") for text in stated)
    assert written == {check.id: check.force.value for check in catalogue()}
