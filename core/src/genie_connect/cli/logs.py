"""Log lines on standard error, when asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = "genie_connect"


@contextmanager
def logs() -> Iterator[None]:
    """Send the framework's log to standard error until the end of the block; quiet until ``louder`` is called."""
    logger = logging.getLogger(LOGGER)
    # What went wrong is in a command's own output; without a handler Python would print it a second time.
    quiet: logging.Handler = logging.NullHandler()
    logger.addHandler(quiet)
    kept, level = list(logger.handlers), logger.level
    try:
        yield
    finally:
        for handler in [handler for handler in logger.handlers if handler not in kept or handler is quiet]:
            logger.removeHandler(handler)
        logger.setLevel(level)


def louder(verbose: int) -> None:
    """Log from INFO up, or with 2 from DEBUG up."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
