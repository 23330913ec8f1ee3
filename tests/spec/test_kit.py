"""The kit itself: what an author sees of it."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.check import Force

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

CONTRACT = """
from tests.spec.hostile.capabilities import Perhaps
from tests.spec.hostile.honest import HonestContract

class TestPerhaps(HonestContract):
    __test__ = True
    plugin = Perhaps()
    waivers = WAIVERS
"""


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


def run(pytester: pytest.Pytester, waivers: dict[str, str], *checks: str) -> pytest.RunResult:
    """Run these checks for a connector that fails GC-CAP-009."""
    pytester.makeini(f"[pytest]\nasyncio_default_fixture_loop_scope = function\npythonpath = {ROOT}")
    pytester.makepyfile(CONTRACT.replace("WAIVERS", repr(waivers)))
    # In a process of its own: what pytester runs in this one is forgotten afterwards, modules and all.
    return pytester.runpytest_subprocess("-q", "-p", "no:xdist", "-k", " or ".join(checks))


def test_a_failure_says_what_the_rule_is_and_what_is_wrong(pytester: pytest.Pytester) -> None:
    """The id leads to the contract, the reason to the mistake; frames of the kit help nobody."""
    result = run(pytester, {}, "GC-CAP-009", "GC-CAP-010", "GC-DISC-013")
    result.assert_outcomes(failed=1, passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*GC-CAP-009 MUST:*", "*send.schedule is conditional without a note*"])
    result.stdout.fnmatch_lines(["honest: 1 passed, 1 not applicable, 1 failed"])


def test_a_waiver_is_printed_with_its_reason(pytester: pytest.Pytester) -> None:
    """Whoever reads the summary sees what is not kept, and why."""
    result = run(pytester, {"GC-CAP-009": "the provider does not say"}, "GC-CAP-009")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["honest: GC-CAP-009 is waived: the provider does not say"])


def test_a_waiver_that_is_not_needed_is_told(pytester: pytest.Pytester) -> None:
    """Waivers go when what they were for is put right."""
    result = run(pytester, {"GC-CAP-010": "no reason any more"}, "GC-CAP-010")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*GC-CAP-010 is waived, and is not needed: take it away*"])


@pytest.mark.parametrize("waivers", [{"GC-CAP-009": " "}, {"GC-CAP-999": "there is none"}])
def test_a_waiver_needs_a_reason_and_a_check(pytester: pytest.Pytester, waivers: dict[str, str]) -> None:
    """Nothing is waived by accident."""
    result = run(pytester, waivers, "GC-CAP-010")
    result.assert_outcomes(failed=1)
