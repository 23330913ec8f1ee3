"""The kit itself: what an author sees of it."""

from __future__ import annotations

import re

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
