"""What all tests share."""

import asyncio
import gc
import os
from collections.abc import Callable, Mapping

import pytest
from hypothesis import settings

from tests.support.loops import TidyLoop

# No deadline for an example: a busy machine is no fault of the code. In CI the examples are the same in every run, so
# that a failure can be repeated; everybody else finds new ones.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that every test runs in."""
    return {"tidy": TidyLoop}


@pytest.fixture(scope="module", autouse=True)
def _nothing_old_to_collect() -> None:
    """Leave what is there already out of every collection of garbage: nine thousand tests make each one slow."""
    gc.collect()
    gc.freeze()
