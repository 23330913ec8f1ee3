"""The fault grid in each mode: what becomes of one message, and what is then true of the client."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence

import attrs

from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect_smtp import plugin
from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import FAULTS, FaultCell
from genie_connect_spec.smtp_server import ScriptedSmtpServer
from tests.smtp.support import batch, context, delivery, opened, settings_for, signing_in

_QUICK_S = 4.0
_SLOW_S = 0.4
_WINDOW = 4
_ROUNDS = 3
_BLOCKS_FOR_EACH = 50
"""Python's cache of attribute names keeps some strings, up to 4096; a message that is kept takes some hundreds."""
_AT = 2
"""The message that meets the fault where several are on their way: two stand before it and two behind."""
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
    files = [Attachment(filename="big.bin", content=bytes(cell.message_bytes))] if cell.message_bytes else []
    (outcome,), server = await _run(cell, pipelining, certificates, batch(attachments=files))
    assert outcome.state.value in expected_of(cell, pipelining), outcome
    assert len(server.connections) <= 1
    _check_truth(outcome, len(server.accepted))


async def check_cell_in_flight(cell: FaultCell, pipelining: str, certificates: CertificateSet) -> None:
    """The same with messages before and behind the one that meets the fault, and a server that is well otherwise.

    Each message has the outcome that is true of it: nothing is lost, nothing arrives twice, and no more is in doubt
    than was on its way. What was answered before the fault stands; with BDAT it may be in doubt as well, where the
    fault is a reply too many.
    """
    # Content of that size goes alone, and ahead of it one more such would only take time.
    at = 0 if cell.message_bytes else _AT
    script = tuple(attrs.evolve(rule, connection=0, message=at) for rule in cell.script)
    files = [Attachment(filename="big.bin", content=bytes(cell.message_bytes))] if cell.message_bytes else []
    copies = [delivery(f"r{number}@x.example", number=number) for number in range(at + 3)]
    outcomes, server = await _run(
        attrs.evolve(cell, script=script), pipelining, certificates, batch(*copies, attachments=files)
    )
    accepted = Counter(recipient for message in server.accepted for recipient in message.recipients)
    for outcome in outcomes:
        _check_truth(outcome, accepted[outcome.recipient])
    in_doubt = sum(outcome.state is State.UNKNOWN for outcome in outcomes)
    # A server that says good-bye and stays answers everything it has; one that closes may take its answer with it.
    assert in_doubt <= (0 if cell.fault == "421_stay" else _WINDOW if pipelining == "chunking" else 1), outcomes
    certain = (
        {"accepted", "unknown"} if pipelining == "chunking" and FAULTS[cell.fault].breaks_protocol else {"accepted"}
    )
    assert {outcome.state.value for outcome in outcomes[:at]} <= certain, outcomes
    # It may have gone again over another connection, if nothing had been handed over.
    assert outcomes[at].state.value in expected_of(cell, pipelining) | {"accepted"}, outcomes
    if cell.stage == "final" and cell.handed_over == "maybe":
        assert outcomes[at].state is State.UNKNOWN


async def check_memory_is_flat(cells: Sequence[FaultCell], pipelining: str, certificates: CertificateSet) -> None:
    """Playing the cells again takes no more memory than having played them."""
    grown: list[tuple[int, int]] = []
    # What is logged is kept by pytest.
    logging.disable(logging.CRITICAL)
    try:
        for _ in range(_ROUNDS):
            for cell in cells:
                await check_cell_in_flight(cell, pipelining, certificates)
            gc.collect()
            grown.append((len(gc.get_objects()), sys.getallocatedblocks()))
    finally:
        logging.disable(logging.NOTSET)
    # The first round fills caches.
    (_, (objects, blocks), *_, (last_objects, last_blocks)) = grown
    assert last_objects - objects < len(cells), grown
    assert last_blocks - blocks < _BLOCKS_FOR_EACH * len(cells), grown


async def _run(
    cell: FaultCell, pipelining: str, certificates: CertificateSet, what: Batch
) -> tuple[Sequence[Outcome], ScriptedSmtpServer]:
    """Send it; the attempt ends a second after its deadline at the latest, and leaves no descriptor and no task."""
    gc.collect()
    tasks, descriptors = len(asyncio.all_tasks()), _descriptors()
    seconds = _SLOW_S if cell.slow else _QUICK_S
    async with cell.server(certificates) as server:
        credentials = signing_in(allow_password_without_tls=True) if cell.needs_auth else {}
        ca_file = {} if cell.security == "none" else {"ca_file": str(server.ca_file)}
        settings = settings_for(
            server, pipelining=pipelining, pipelining_window=_WINDOW, max_connections=1, **credentials, **ca_file
        )
        # Closing may wait for QUIT, two seconds.
        async with asyncio.timeout(seconds + 1 + 2.5), opened(settings) as state:
            async with asyncio.timeout(seconds + 1):
                outcomes = await plugin.connector_send(state, what, context(seconds))
    # What was aborted is closed in the next turn of the loop.
    await asyncio.sleep(0)
    assert _descriptors() <= descriptors
    assert len(asyncio.all_tasks()) <= tasks
    return outcomes, server


def _check_truth(outcome: Outcome, accepted: int) -> None:
    """The server knows what it took."""
    assert accepted <= 1
    if outcome.state is State.ACCEPTED:
        assert accepted == 1
    elif outcome.state is State.UNKNOWN:
        assert outcome.retry is Retry.NEVER
    else:
        assert accepted == 0
        assert outcome.retry is not Retry.NEVER
    assert not outcome.suppress
