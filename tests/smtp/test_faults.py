"""Faults at every stage: the right outcome, in time, and nothing left behind. All modes of all cells: tests/faults."""

from __future__ import annotations

import itertools

import pytest

from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import FaultCell, fault_grid
from tests.smtp.fault_cells import check_cell
from tests.smtp.talk import MODES

_STAGES_OF_A_TRANSACTION = ("mail", "rcpt", "data", "body", "final")


def _sample() -> list[tuple[FaultCell, str]]:
    """Each fault at each stage once in clear; those of a transaction in all modes in turn, over TLS a third of them."""
    before = [cell for cell in fault_grid() if cell.stage not in _STAGES_OF_A_TRANSACTION]
    plain = fault_grid(stages=_STAGES_OF_A_TRANSACTION, securities=("none",))
    inside = fault_grid(stages=_STAGES_OF_A_TRANSACTION, securities=("tls", "starttls"))
    modes = itertools.cycle(MODES)
    return [
        *((cell, "auto") for cell in before[::2]),
        *((cell, mode) for cell in plain for mode in MODES),
        *((cell, next(modes)) for cell in inside[::3]),
    ]


@pytest.mark.parametrize("cell, pipelining", _sample(), ids=str)
async def test_fault_gives_the_outcome_of_the_table(
    cell: FaultCell, pipelining: str, smtp_certificates: CertificateSet
) -> None:
    """In this mode, on this cell of the grid."""
    await check_cell(cell, pipelining, smtp_certificates)
