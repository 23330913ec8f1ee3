"""A hundred thousand random sessions, each of several messages and connections: `./dev faults`."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.smtp.session_model import run_session
from tests.smtp.talk import MODES


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_believed_that_the_server_does_not_know(mode: str, part: int) -> None:
    """No message twice, none accepted that is not there, none called unsent that is, and everything comes to an end."""

    @given(data=st.binary(max_size=200))
    @settings(max_examples=5000, deadline=None, database=None)
    def sessions(data: bytes) -> None:
        run_session(mode, data)

    if settings().derandomize:
        # In CI the examples follow from the name of the function, and all parts would try the same ones.
        sessions = seed(part)(sessions)
    logging.disable(logging.CRITICAL)
    try:
        sessions()
    finally:
        logging.disable(logging.NOTSET)
