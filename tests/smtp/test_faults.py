"""Every fault at every stage: the right outcome, in time, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os

import pytest

from genie_connect.model.attachment import Attachment
from genie_connect.model.outcome import Retry, State
from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import FaultCell, fault_grid
from tests.smtp.support import batch, send_once, settings_for, signing_in

_QUICK_S = 4.0
_SLOW_S = 0.4


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("cell", fault_grid(), ids=str)
async def test_fault_gives_the_outcome_of_the_table(cell: FaultCell, smtp_certificates: CertificateSet) -> None:
    """One recipient's outcome is right, the deadline is kept, and no descriptor or task is left."""
    gc.collect()
    tasks, descriptors = len(asyncio.all_tasks()), _descriptors()
    seconds = _SLOW_S if cell.slow else _QUICK_S
    files = [Attachment(filename="big.bin", content=bytes(cell.message_bytes))] if cell.message_bytes else []
    what = batch(attachments=files)
    async with cell.server(smtp_certificates) as server:
        credentials = signing_in(allow_password_without_tls=True) if cell.needs_auth else {}
        ca_file = {} if cell.security == "none" else {"ca_file": str(server.ca_file)}
        settings = settings_for(server, **credentials, **ca_file)
        # A margin for a loaded machine, and two seconds in which closing may wait for QUIT.
        async with asyncio.timeout(seconds + 3.5):
            (outcome,) = await send_once(settings, what, seconds=seconds)
        connections = len(server.connections)
    # What was aborted is closed in the next turn of the loop.
    await asyncio.sleep(0)

    assert outcome.state.value in cell.expected, outcome
    assert _descriptors() <= descriptors
    assert connections <= 1
    assert len(server.accepted) == (1 if cell.handed_over == "yes" else 0) or cell.handed_over == "maybe"
    if cell.handed_over == "maybe":
        assert outcome.state is State.UNKNOWN
        assert outcome.retry is Retry.NEVER
    if cell.handed_over == "no":
        assert outcome.retry is not Retry.NEVER
    assert not outcome.suppress
    assert len(asyncio.all_tasks()) <= tasks
