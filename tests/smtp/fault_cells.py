"""The fault grid in each mode: what becomes of one message, and what is then true of the client."""

from __future__ import annotations

import asyncio
import gc
import os

from genie_connect.model.attachment import Attachment
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import FaultCell
from tests.smtp.support import batch, send_once, settings_for, signing_in

_QUICK_S = 4.0
_SLOW_S = 0.4
_GOOD_BYE = frozenset({"421_close", "421_stay"})


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def expected_of(cell: FaultCell, pipelining: str) -> frozenset[str]:
    """What is right for the recipient. With BDAT the whole message has left before the envelope is answered."""
    if pipelining != "chunking" or cell.stage not in ("mail", "rcpt", "data", "final"):
        return cell.expected
    if cell.stage == "data":
        return frozenset({"accepted"})  # nobody says DATA
    if cell.fault in _GOOD_BYE:
        return frozenset({"deferred"})
    # A reply too many may be anybody's, so no reply on that connection is believed any more.
    return frozenset({"unknown"})


async def check_cell(cell: FaultCell, pipelining: str, certificates: CertificateSet) -> None:
    """One recipient's outcome is right, the deadline is kept, and no descriptor or task is left."""
    gc.collect()
    tasks, descriptors = len(asyncio.all_tasks()), _descriptors()
    seconds = _SLOW_S if cell.slow else _QUICK_S
    files = [Attachment(filename="big.bin", content=bytes(cell.message_bytes))] if cell.message_bytes else []
    what = batch(attachments=files)
    async with cell.server(certificates) as server:
        credentials = signing_in(allow_password_without_tls=True) if cell.needs_auth else {}
        ca_file = {} if cell.security == "none" else {"ca_file": str(server.ca_file)}
        settings = settings_for(server, pipelining=pipelining, **credentials, **ca_file)
        # A margin for a loaded machine, and two seconds in which closing may wait for QUIT.
        async with asyncio.timeout(seconds + 3.5):
            (outcome,) = await send_once(settings, what, seconds=seconds)
        connections = len(server.connections)
    # What was aborted is closed in the next turn of the loop.
    await asyncio.sleep(0)
    assert outcome.state.value in expected_of(cell, pipelining), outcome
    assert _descriptors() <= descriptors
    assert connections <= 1
    assert len(asyncio.all_tasks()) <= tasks
    _check_truth(outcome, len(server.accepted))


def _check_truth(outcome: Outcome, accepted: int) -> None:
    """The server knows what it took."""
    if outcome.state is State.ACCEPTED:
        assert accepted == 1
    elif outcome.state is State.UNKNOWN:
        assert outcome.retry is Retry.NEVER
    else:
        assert accepted == 0
        assert outcome.retry is not Retry.NEVER
    assert not outcome.suppress
