"""What all tests share."""

import gc
import os

from hypothesis import settings

# No deadline for an example: a busy machine is no fault of the code. In CI the examples are the same in every run, so
# that a failure can be repeated; everybody else finds new ones.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


def pytest_collection_finish() -> None:
    """Leave the tests themselves out of every later collection of garbage: nine thousand of them make each one slow."""
    gc.collect()
    gc.freeze()
