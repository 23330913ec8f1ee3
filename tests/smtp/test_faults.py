"""Faults at every stage: the right outcome, in time, and nothing left behind. All modes of all cells: tests/faults."""

from __future__ import annotations

import itertools

import pytest

from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import FaultCell, fault_grid
from tests.smtp.fault_cells import check_cell, check_cell_in_flight, check_memory_is_flat
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


def _quick_cells() -> list[FaultCell]:
    return [
        cell for cell in fault_grid(stages=("mail", "rcpt", "data", "final"), securities=("none",)) if not cell.slow
    ]


def _in_flight() -> list[tuple[FaultCell, str]]:
    """Those that need no deadline, in the two modes in which most is on its way, in turn."""
    modes = itertools.cycle(("chunking", "next", "chunking"))
    return [(cell, next(modes)) for cell in _quick_cells()]


@pytest.mark.parametrize("cell, pipelining", _sample(), ids=str)
async def test_fault_gives_the_outcome_of_the_table(
    cell: FaultCell, pipelining: str, smtp_certificates: CertificateSet
) -> None:
    """In this mode, on this cell of the grid."""
    await check_cell(cell, pipelining, smtp_certificates)


@pytest.mark.parametrize("cell, pipelining", _in_flight(), ids=str)
async def test_fault_gives_each_message_in_flight_its_own_outcome(
    cell: FaultCell, pipelining: str, smtp_certificates: CertificateSet
) -> None:
    """Messages before and behind the one that meets the fault: none lost, none twice, none called what it is not."""
    await check_cell_in_flight(cell, pipelining, smtp_certificates)


async def test_memory_is_flat_after_faults(smtp_certificates: CertificateSet) -> None:
    """What failed is forgotten."""
    await check_memory_is_flat(_quick_cells()[::4], "chunking", smtp_certificates)
