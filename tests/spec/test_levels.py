"""How far a connector has come is computed, from the checks and from what is stated, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from genie_connect import CapabilityTable
from genie_connect.contract import Quality
from genie_connect.model.capability import host, yes
from genie_connect.model.frozen import FrozenMap
from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.levels import conformance
from genie_connect_spec.kit.quality import RULES, QualityError, Rule, Stated, Statement, Status, badge, read
from tests.docs.pages import PAGES

ALL = {check.id: "passed" for check in catalogue()}
DONE = Statement(rules=FrozenMap({rule.id: Stated(status=Status.DONE) for rule in RULES}))


@pytest.mark.parametrize(
    ("check", "level"),
    [
        ("GC-SEND-001", Quality.NONE),
        ("GC-FAIL-001", Quality.BRONZE),
        ("GC-SAFE-001", Quality.SILVER),
        ("GC-DISC-012", Quality.GOLD),
    ],
)
def test_one_check_that_failed_is_one_level_less(check: str, level: Quality) -> None:
    """A failure stands in the way of the level that the check belongs to, and of those above."""
    found = conformance("acme", {**ALL, check: "failed"}, {}, DONE)
    assert found.level is level
    assert found.missing == (check,)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_one_rule_to_do_is_one_level_less(rule: Rule) -> None:
    """What no check can see counts as much."""
    levels = list(Quality)
    statement = Statement(rules=FrozenMap({**DONE.rules, rule.id: Stated(status=Status.TODO)}))
    found = conformance("acme", ALL, {}, statement)
    assert found.level is levels[levels.index(rule.level) - 1]
    assert found.missing == (rule.id,)


def test_everything_is_platinum() -> None:
    """What does not apply to a connector, or is exempt with a reason, is not held against it."""
    exempt = Statement(rules=FrozenMap({**DONE.rules, "events": Stated(status=Status.EXEMPT, comment="has none")}))
    found = conformance("acme", {**ALL, "GC-HOOK-001": "not applicable"}, {}, exempt)
    assert found.level is Quality.PLATINUM
    assert found.data()["rules"]["events"] == {"status": "exempt", "comment": "has none"}


def test_checks_alone_are_bronze() -> None:
    """Nobody has said that there is a page, or a test of what the provider answers."""
    assert conformance("acme", ALL, {}).level is Quality.BRONZE


def test_a_waiver_is_good_for_gold_at_most() -> None:
    """It says why a rule is not kept, and the rule is not kept."""
    found = conformance("acme", {**ALL, "GC-SEND-001": "failed"}, {"GC-SEND-001": "its sandbox is closed"}, DONE)
    assert found.level is Quality.GOLD
    assert found.data()["waivers"] == {"GC-SEND-001": "its sandbox is closed"}


def test_what_was_not_run_is_not_kept() -> None:
    """Leaving checks out makes no connector better."""
    assert conformance("acme", {}, {}, DONE).level is Quality.NONE


def test_a_statement_is_read(tmp_path: Path) -> None:
    """Done and to do stand alone, exempt comes with its reason; a rule that is left out is to do."""
    path = tmp_path / "quality.yaml"
    path.write_text(
        "tried_with: a server\nrules:\n  typed: done\n  bulk:\n    status: exempt\n    comment: one a\n      call\n"
    )
    statement = read(path)
    assert statement.tried_with == "a server"
    assert (statement["typed"].status, statement["events"].status) == (Status.DONE, Status.TODO)
    assert statement["bulk"] == Stated(status=Status.EXEMPT, comment="one a call")
    assert read(tmp_path / "nothing.yaml") == Statement()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: {typed: done}", "tried_with"),
        ("tried_with: x\nrules: {typo: done}", "there is no rule 'typo'"),
        ("tried_with: x\nrules: {typed: yes}", "typed is True; use done, todo or exempt"),
        ("tried_with: x\nrules: {typed: {status: exempt}}", "typed is exempt, and no comment says why"),
        ("tried_with: x\nrules: {typed: {status: done, comment: 5}}", "the comment of typed is no text"),
        ("tried_with: x\nrules: {}\nlevel: gold", "'level' is nothing that it can hold"),
        ("- typed", "it has no rules"),
        ("rules: [", "no YAML"),
    ],
)
def test_a_statement_that_says_nothing_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """With what is wrong, so that no rule counts as done by a slip."""
    path = tmp_path / "quality.yaml"
    path.write_text(text)
    with pytest.raises(QualityError, match=problem):
        read(path)


def test_what_is_done_has_to_be_declared() -> None:
    """The connector's own table would say otherwise."""
    table = CapabilityTable(connector="acme", entries=(yes("send.batch"), host("events.webhook")))
    assert DONE.unproven(table) == (
        "events is done, and none of events.webhook is declared",
        "doubts is done, and none of send.idempotency, lookup, events.webhook is declared",
    )


@pytest.mark.parametrize("level", list(Quality)[1:])
def test_the_badges_of_the_site_are_those_of_the_kit(level: Quality) -> None:
    """./dev docs writes them."""
    text = badge(level)
    assert f"quality: {level.value}" in text
    assert (PAGES / "assets" / f"quality-{level.value}.svg").read_text(encoding="utf-8") == text
