"""What all tests share."""

import gc
import os

import pytest
from hypothesis import settings

# No deadline for an example: a busy machine is no fault of the code. In CI the examples are the same in every run, so
# that a failure can be repeated; everybody else finds new ones.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


@pytest.fixture(scope="module", autouse=True)
def _nothing_old_to_collect() -> None:
    """Leave what is there already out of every collection of garbage: nine thousand tests make each one slow."""
    gc.collect()
    gc.freeze()
