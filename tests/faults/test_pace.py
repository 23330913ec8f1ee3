"""The pace on very many servers with limits of their own: `./dev faults pace`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.smtp.pace_limits import Limited, check_limits_are_found, limited


@pytest.mark.timeout(1800)
@settings(max_examples=250, deadline=None, database=None)
@given(case=limited())
def test_whatever_the_limits_are_the_pace_finds_them(case: Limited) -> None:
    """At most 5 % refused and at least 80 % used after three minutes; and again after a pause of three minutes."""
    check_limits_are_found(case)
