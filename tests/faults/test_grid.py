"""The whole fault grid in each mode: `./dev faults`; `./dev test` takes a sample of it in tests/smtp/test_faults.py."""

from __future__ import annotations

import pytest

from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import FaultCell, fault_grid
from tests.smtp.fault_cells import check_cell
from tests.smtp.talk import MODES


@pytest.mark.parametrize("pipelining", MODES)
@pytest.mark.parametrize("cell", fault_grid(), ids=str)
async def test_fault_gives_the_outcome_of_the_table(
    cell: FaultCell, pipelining: str, smtp_certificates: CertificateSet
) -> None:
    """One recipient's outcome is right, the deadline is kept, and no descriptor or task is left."""
    await check_cell(cell, pipelining, smtp_certificates)
