"""The whole fault grid in each mode: `./dev faults`; `./dev test` takes a sample of it in tests/smtp/test_faults.py."""

from __future__ import annotations

import pytest

from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import FAULTS, FaultCell, fault_grid
from genie_connect_spec.smtp_server import Security
from tests.smtp.fault_cells import check_cell, check_cell_in_flight, check_memory_is_flat
from tests.smtp.talk import MODES


@pytest.mark.parametrize("pipelining", MODES)
@pytest.mark.parametrize("cell", fault_grid(), ids=str)
async def test_fault_gives_the_outcome_of_the_table(
    cell: FaultCell, pipelining: str, smtp_certificates: CertificateSet
) -> None:
    """One recipient's outcome is right, the deadline is kept, and no descriptor or task is left."""
    await check_cell(cell, pipelining, smtp_certificates)


@pytest.mark.parametrize("pipelining", MODES)
@pytest.mark.parametrize("cell", fault_grid(stages=("mail", "rcpt", "data", "body", "final")), ids=str)
async def test_fault_gives_each_message_in_flight_its_own_outcome(
    cell: FaultCell, pipelining: str, smtp_certificates: CertificateSet
) -> None:
    """Messages before and behind the one that meets the fault: none lost, none twice, none called what it is not."""
    await check_cell_in_flight(cell, pipelining, smtp_certificates)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("pipelining", MODES)
@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_memory_is_flat_after_faults(
    security: Security, pipelining: str, smtp_certificates: CertificateSet
) -> None:
    """What failed is forgotten."""
    cells = [
        cell for cell in fault_grid(stages=("mail", "rcpt", "data", "final"), securities=(security,)) if not cell.slow
    ]
    await check_memory_is_flat(cells[::2], pipelining, smtp_certificates)


def test_the_grid_is_as_big_as_promised() -> None:
    """Twelve faults at ten stages in three modes of security; connecting and TLS have fewer ways to fail."""
    grid = fault_grid()
    whole = [stage for stage in {cell.stage for cell in grid} if sum(cell.stage == stage for cell in grid) == 36]
    assert len(FAULTS) == 12
    assert len({cell.fault for cell in grid} - {"refuse", "unanswered"}) == 12
    assert len(whole) == 9
    assert {cell.stage for cell in grid} - set(whole) == {"connect", "tls", "starttls", "ehlo_tls"}
    assert len(grid) >= 360
    assert len({cell.id for cell in grid}) == len(grid)
