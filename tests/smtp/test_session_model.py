"""Random servers and random cuts in each mode; many more of them in tests/faults."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.smtp.session_model import run_session
from tests.smtp.talk import MODES


@pytest.mark.parametrize("mode", MODES)
@given(data=st.binary(max_size=160))
@settings(max_examples=1250, deadline=None)
def test_nothing_is_believed_that_the_server_does_not_know(mode: str, data: bytes) -> None:
    """No message twice, none accepted that is not there, none called unsent that is, and everything comes to an end."""
    logging.disable(logging.CRITICAL)
    try:
        run_session(mode, data)
    finally:
        logging.disable(logging.NOTSET)
