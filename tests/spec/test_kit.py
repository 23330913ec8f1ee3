"""The kit itself: what an author sees of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import pytest

from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.check import Force

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

IMPORTS = """
from genie_connect_spec.kit import ConnectorContract
from tests.spec.hostile.capabilities import Perhaps
from tests.spec.hostile.honest import Honest, HonestContract
"""
CLASS = """
class TestPerhaps{number}(HonestContract):
    __test__ = True
    plugin = Perhaps()
    waivers = {waivers}
"""
INCOMPLETE = """
class TestAnswersNothing(ConnectorContract):
    connector, plugin, provider_kind = "honest", Honest(), "http"

class TestSetUpByNobody(ConnectorContract):
    connector, plugin = "honest", Honest()

class TestAnswersBadly(HonestContract):
    __test__ = True

    def answer(self, request):
        raise KeyError("nothing")
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


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Runs some checks for a connector that fails GC-CAP-009, once with each of these waivers."""
    # Other plug-ins take longer to import than the checks to run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    options = ("-p", "genie_connect_spec.pytest_plugin", "-p", "pytest_asyncio", "-q")

    def start(checks: Sequence[str], *waivers: dict[str, str], more: str = "") -> pytest.RunResult:
        pytester.makeini(f"[pytest]\nasyncio_default_fixture_loop_scope = function\npythonpath = {ROOT}")
        classes = [CLASS.format(number=number, waivers=each) for number, each in enumerate(waivers)]
        pytester.makepyfile("".join((IMPORTS, *classes, more)))
        # In a process of its own: what pytester runs in this one is forgotten afterwards, modules and all.
        return pytester.runpytest_subprocess(*options, "-k", " or ".join(checks))

    return start


def test_a_failure_says_what_the_rule_is_and_what_is_wrong(run: Callable[..., pytest.RunResult]) -> None:
    """The id leads to the contract, the reason to the mistake; frames of the kit help nobody."""
    result = run(["GC-CAP-009", "GC-CAP-010", "GC-DISC-013"], {})
    result.assert_outcomes(failed=1, passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*GC-CAP-009 MUST:*", "*send.headers is conditional without a note*"])
    result.stdout.fnmatch_lines(["honest: 1 passed, 1 not applicable, 1 failed"])


def test_waivers_are_printed_with_their_reasons(run: Callable[..., pytest.RunResult]) -> None:
    """Whoever reads the summary sees what is not kept, and why; and which of them are not needed any more."""
    waivers = {"GC-CAP-009": "the provider does not say", "GC-CAP-010": "no reason any more"}
    result = run(["GC-CAP-009", "GC-CAP-010"], waivers)
    result.assert_outcomes(xfailed=1, passed=1)
    result.stdout.fnmatch_lines(["honest: GC-CAP-009 is waived: the provider does not say"])
    result.stdout.fnmatch_lines(["*GC-CAP-010 is waived, and is not needed: take it away*"])


def test_what_a_test_class_lacks_is_said_in_a_sentence(run: Callable[..., pytest.RunResult]) -> None:
    """A waiver without a reason or a check; a provider without answers; answers that raise; no settings."""
    result = run(["GC-CAP-010", "GC-SEND-001"], {"GC-CAP-009": " "}, {"GC-CAP-999": "there is none"}, more=INCOMPLETE)
    result.assert_outcomes(failed=5, passed=1, errors=4)
    result.stdout.fnmatch_lines_random(
        [
            "waivers: GC-CAP-009 needs a reason",
            "waivers: there is no check GC-CAP-999",
            "TestAnswersNothing says provider_kind = 'http': give it a method answer(request)*",
            "TestSetUpByNobody has no settings: give it a method settings_of(provider) or a fixture settings",
            "the test class itself failed: answer() raised KeyError('nothing') for POST /send",
        ]
    )
