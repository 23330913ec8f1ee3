"""What running ahead brings out in real servers, and which guard of ours keeps it from doing harm."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import pytest

from genie_connect import Registry, Runtime, SendContext, State
from genie_connect.clock import SystemClock
from genie_connect_smtp.content import Content
from genie_connect_smtp.ladder import MANY, Rung
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.state import SmtpState
from genie_connect_smtp.transaction import Envelope, Transaction
from tests.integration.servers import RealServer
from tests.integration.test_interop import broadcast_of


class _Letters:
    """A supply of transactions that end where they end."""

    pending = False

    def __init__(self, *transactions: Transaction) -> None:
        self._waiting = deque(transactions)

    def next(self) -> Transaction | None:
        """The next."""
        return self._waiting.popleft() if self._waiting else None

    def ended(self, transaction: Transaction) -> None:
        """Nothing to be done."""


def _letter(marker: str, *, sender: str, recipient: str) -> Transaction:
    data = f"From: <{sender}>\r\nMessage-ID: <{marker}>\r\nSubject: {marker}\r\n\r\nHello\r\n".encode()
    return Transaction(Envelope(sender=sender, recipients=(recipient,)), Content.of([data], len(data)))


async def _open(server: RealServer, **fields: Any) -> SmtpState:
    handle = Registry.discover(allow=["smtp"], strict=True)["smtp"]
    settings = handle.settings({"host": server.host, "port": server.port, "security": "none", **fields})
    state: SmtpState = await handle.open(settings, Runtime(connection="test"))
    return state


def _context(seconds: float = 30) -> SendContext:
    return SendContext(attempt_id="test", deadline=SystemClock().monotonic() + seconds)


@pytest.fixture
async def opened_exim(exim: RealServer) -> AsyncIterator[SmtpState]:
    """Exim, with BDAT."""
    state = await _open(exim, pipelining="chunking")
    yield state
    await state.pool.close()


async def test_a_refused_message_never_goes_under_a_foreign_envelope(exim: RealServer, opened_exim: SmtpState) -> None:
    """A sender is refused while the transaction before it is open, all in one window; Exim sees RSET between.

    The transaction is open since its recipient was refused, and so its content. Without RSET Exim 4.96 takes recipient
    and content of the refused message for that one's, and sends it on under that one's sender.
    """
    limits = Limits(opened_exim.settings, _context())
    letters = []
    for number in range(4):
        letters += [
            _letter(f"good{number}@foreign.test", sender="shop@sender.test", recipient=f"user{number}@example.com"),
            _letter(f"open{number}@foreign.test", sender="other@sender.test", recipient="refused@example.com"),
            _letter(
                f"bad{number}@foreign.test", sender="badsender@sender.test", recipient=f"other{number}@example.com"
            ),
        ]
    opened_exim.ladder.chunking_works = True
    connection = await opened_exim.pool.acquire(limits)
    await connection.serve(_Letters(*letters), limits, copies=MANY)
    opened_exim.pool.release(connection)
    assert [letter.results[0].verdict.state for letter in letters if letter.results[0]] == [
        State.ACCEPTED,
        State.REJECTED,
        State.REJECTED,
    ] * 4
    for number in range(4):
        await exim.arrived([f"user{number}@example.com"], f"good{number}@foreign.test".encode())
        assert exim.deliveries(f"open{number}@foreign.test".encode()) == []
        assert exim.deliveries(f"bad{number}@foreign.test".encode()) == []


async def test_haraka_gets_one_envelope_at_a_time_once_it_has_refused_one(haraka: RealServer) -> None:
    """What it answered 503 goes again on the same connection, and everything arrives once."""
    state = await _open(haraka, pipelining="next", max_connections=1)
    handle = Registry.discover(allow=["smtp"], strict=True)["smtp"]
    batch = await broadcast_of([f"step{number}@example.com" for number in range(12)])
    outcomes = await handle.send(state, batch, _context(), handle.capabilities())
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert state.ladder.top is Rung.ENVELOPE
    for delivery in batch.deliveries:
        recipient = delivery.addresses[0].email
        await haraka.arrived([recipient], delivery.message_id.encode())
        (one,) = haraka.deliveries(delivery.message_id.encode())
        assert one.rcpt_to == (recipient,)
    await handle.close(state)


async def test_postfix_is_spared_a_run_of_resets(postfix: RealServer) -> None:
    """Two hundred refused copies in one window after another: nobody is cut off, and each has its own answer."""
    state = await _open(postfix, pipelining="chunking", max_connections=1, messages_per_connection=1000)
    handle = Registry.discover(allow=["smtp"], strict=True)["smtp"]
    state.ladder.chunking_works = True
    batch = await broadcast_of([f"refused@d{number}.example.com" for number in range(200)])
    outcomes = await handle.send(state, batch, _context(), handle.capabilities())
    assert {(outcome.state, outcome.reason) for outcome in outcomes} == {(State.REJECTED, "recipient_rejected")}
    await handle.close(state)
