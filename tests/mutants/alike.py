"""Mutants that are no others than the original: why no test of any kind could tell them apart."""

from __future__ import annotations

from typing import Final

ALIKE: Final[dict[str, str]] = {
    "genie_connect_contrib.sandbox.connector:connector_send:constant:0": (
        "429 with a Retry-After means the same where it is not named: the table of statuses says so"
    ),
}
"""By name of the mutant."""
