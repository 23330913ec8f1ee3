"""One connection with a local server: what it does to the socket, how long it waits, when the pool lets go of it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from genie_connect.inbox import InboxServer
from genie_connect.model.outcome import State
from genie_connect_smtp import connection as connection_module
from genie_connect_smtp import plugin
from genie_connect_smtp.connection import Connection
from genie_connect_smtp.ladder import Rung
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.transaction import Transaction
from genie_connect_spec.fixtures import StartScriptedSmtp
from genie_connect_spec.smtp_script import Delay, HalfClose, Hang, Reset, Say, SayThen, ehlo_reply, on
from tests.smtp.support import batch, context, delivery, opened, send_once, settings_for
from tests.smtp.talk import MODES, letter, states


def _copies(count: int, *, domains: int = 1) -> list[Any]:
    return [delivery(f"r{number}@d{number % domains}.example", number=number) for number in range(count)]


class _Letters:
    """A supply of transactions that end where they end."""

    pending = False

    def __init__(self, letters: Sequence[Transaction]) -> None:
        self._waiting = deque(letters)

    def next(self) -> Transaction | None:
        """The next."""
        return self._waiting.popleft() if self._waiting else None

    def ended(self, transaction: Transaction) -> None:
        """Nothing to be done."""


class _Spy:
    """A transport that tells what is written to it."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        """Note it and pass it on."""
        self._written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.parametrize("pipelining", MODES)
async def test_every_mode_sends_everything_once(pipelining: str) -> None:
    """Sixty copies over three connections, and each has its own outcome, in order."""
    async with InboxServer() as server:
        outcomes = await send_once(settings_for(server, pipelining=pipelining), batch(*_copies(60)))
        assert [outcome.recipient for outcome in outcomes] == [f"r{number}@d0.example" for number in range(60)]
        assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
        assert sorted(message.recipients[0] for message in server.messages) == sorted(
            outcome.recipient for outcome in outcomes
        )


@pytest.mark.parametrize("pipelining", MODES)
def test_uvloop_serves_as_well(pipelining: str) -> None:
    """The same over its transports, which share no base class with asyncio's."""
    uvloop = pytest.importorskip("uvloop")

    async def send() -> set[State]:
        async with InboxServer() as server:
            outcomes = await send_once(settings_for(server, pipelining=pipelining), batch(*_copies(40)))
            assert len(server.messages) == 40
            return {outcome.state for outcome in outcomes}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(send()) == {State.ACCEPTED}


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux lets a client acknowledge at once")
async def test_replies_are_acknowledged_at_once_while_more_are_due(
    scripted_smtp: StartScriptedSmtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 10: else Nagle on one side and delayed acknowledgement on the other cost 40 ms a message."""
    armed: list[bool] = []

    class Watched:
        """A socket that tells when it is asked to acknowledge at once."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def setsockopt(self, level: int, option: int, value: Any) -> None:
            armed.append(option == socket.TCP_QUICKACK)
            self._sock.setsockopt(level, option, value)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

    before = Connection.__init__

    def watched(self: Connection, strict: Any, sock: socket.socket, *given: Any, **fields: Any) -> None:
        before(self, strict, Watched(sock), *given, **fields)  # type: ignore[arg-type]  # all that it needs of a socket

    monkeypatch.setattr(connection_module.Connection, "__init__", watched)
    # Each reply is a segment of its own here, so that two of the three are always missing when the first arrives.
    server = await scripted_smtp([on("rcpt", Delay(0.01))])
    (outcome,) = await send_once(settings_for(server, pipelining="envelope"))
    assert outcome.state is State.ACCEPTED
    assert any(armed)
    armed.clear()
    (outcome,) = await send_once(settings_for(server, pipelining="off"))
    assert outcome.state is State.ACCEPTED
    assert not any(armed)


@pytest.mark.parametrize("pipelining", ["next", "chunking"])
async def test_cancelling_in_the_stream_never_shifts_replies(pipelining: str, scripted_smtp: StartScriptedSmtp) -> None:
    """Trap 8: the connection of a cancelled send is gone, and the late answers on it are nobody's."""
    server = await scripted_smtp([on("final", Delay(0.2, Say(b"550 5.7.1 late\r\n")), connection=0, message=2)])
    async with opened(settings_for(server, pipelining=pipelining, max_connections=1)) as state:
        state.ladder.chunking_works = True
        sending = asyncio.create_task(plugin.connector_send(state, batch(*_copies(20)), context()))
        await server.wait_for_connections(1, 2)
        while len(server.handed_over) < 3:  # the server tells of connections, not of messages
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        # Nor is the server held to be one that breaks connections.
        assert state.ladder.top is (Rung.CHUNKING if pipelining == "chunking" else Rung.NEXT)
        outcomes = await plugin.connector_send(state, batch(*_copies(20)), context())
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert len(server.connections) == 2


@pytest.mark.parametrize("supply_fails", [True, False])
async def test_a_connection_that_is_given_up_is_gone_at_once(
    supply_fails: bool, scripted_smtp: StartScriptedSmtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before whoever had it does anything else, so that nothing that waits to be written follows."""
    server = await scripted_smtp([on("final", Hang(), message=2)])
    letters = _Letters([letter(number) for number in range(3)])
    async with opened(settings_for(server, max_connections=1)) as state:
        limits = Limits(state.settings, context())
        connection = await state.pool.acquire(limits)
        if supply_fails:
            monkeypatch.setattr(letters, "ended", lambda transaction: 1 / 0)
        serving = asyncio.create_task(connection.serve(letters, limits, copies=3))
        if not supply_fails:
            while len(server.handed_over) < 2:  # the server tells of connections, not of messages
                await asyncio.sleep(0)
            serving.cancel()
        with pytest.raises(ZeroDivisionError if supply_fails else asyncio.CancelledError):
            await serving
        assert connection._transport.is_closing()
        state.pool.release(connection)


@pytest.mark.parametrize("pipelining", MODES)
async def test_good_bye_in_the_stream_costs_no_copy(pipelining: str, scripted_smtp: StartScriptedSmtp) -> None:
    """Trap 4: a server that ends each connection after seven messages still gets every copy once."""
    # It reads on: closing at once with bytes unread would send RST, which takes the good-bye away from the client.
    server = await scripted_smtp([on("mail", SayThen(b"421 4.7.0 enough\r\n", HalfClose()), message=7)])
    outcomes = await send_once(settings_for(server, pipelining=pipelining, max_connections=2), batch(*_copies(40)))
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    recipients = [message.recipients for message in server.accepted]
    assert len(recipients) == len(set(recipients)) == 40


async def test_a_refused_message_never_goes_under_a_foreign_envelope(scripted_smtp: StartScriptedSmtp) -> None:
    """Trap 1: a sender is refused while the transaction before it, whose recipient was refused, is still open.

    A server that keeps it open would take recipient and content of the refused message for that one's. RSET ends it.
    """
    script = [
        on("rcpt", Say(b"550 5.1.1 no such user\r\n"), message=1),
        on("mail", Say(b"550 5.1.8 bad sender address\r\n"), message=2),
    ]
    server = await scripted_smtp(script, keeps_transaction_open=True)
    letters = [letter(number) for number in range(4)]
    async with opened(settings_for(server, pipelining="chunking")) as state:
        state.ladder.chunking_works = True
        limits = Limits(state.settings, context())
        connection = await state.pool.acquire(limits)
        await connection.serve(_Letters(letters), limits, copies=16)
        state.pool.release(connection)
    assert states(*letters) == ["accepted", "rejected", "rejected", "accepted"]
    assert [message.envelope_from for message in server.handed_over] == ["0@s.example", "3@s.example"]


async def test_a_reset_in_the_window_leaves_only_the_window_in_doubt(scripted_smtp: StartScriptedSmtp) -> None:
    """Trap 5: four in doubt at most, and the rest arrives over the next connection, one at a time in doubt."""
    server = await scripted_smtp([on("final", Reset(), connection=0, message=5)])
    settings = settings_for(server, pipelining="chunking", pipelining_window=4, max_connections=1)
    outcomes = await send_once(settings, batch(*_copies(30)))
    unknown = [outcome for outcome in outcomes if outcome.state is State.UNKNOWN]
    accepted = {outcome.recipient for outcome in outcomes if outcome.state is State.ACCEPTED}
    assert 1 <= len(unknown) <= 5
    assert len(accepted) + len(unknown) == 30
    assert accepted <= {message.recipients[0] for message in server.accepted}


@pytest.mark.parametrize("pipelining", MODES)
async def test_nothing_is_written_while_the_network_takes_nothing(
    pipelining: str, scripted_smtp: StartScriptedSmtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 7: it waits until the transport has room, and reads replies all the while (RFC 2920 section 3.1)."""
    server = await scripted_smtp()
    async with opened(settings_for(server, pipelining=pipelining, max_connections=1)) as state:
        state.ladder.chunking_works = True
        await plugin.connector_send(state, batch(), context())
        ((connection, _),) = state.pool._idle
        connection.pause_writing()
        written: list[bytes] = []
        monkeypatch.setattr(connection, "_transport", _Spy(connection._transport, written))
        sending = asyncio.create_task(plugin.connector_send(state, batch(*_copies(5)), context()))
        while state.pool._idle:  # taking a connection is no event
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert written == []
        connection.resume_writing()
        assert len(written) == 1
        outcomes = await sending
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}


@pytest.mark.parametrize("pipelining", MODES)
async def test_silence_ends_with_the_attempt(pipelining: str, scripted_smtp: StartScriptedSmtp) -> None:
    """One timer for each connection, whatever is on its way; nobody is called refused."""
    server = await scripted_smtp([on("final", Hang(), message=3)])
    async with asyncio.timeout(3):
        outcomes = await send_once(
            settings_for(server, pipelining=pipelining, max_connections=1), batch(*_copies(12)), seconds=0.4
        )
    assert {outcome.state for outcome in outcomes} <= {State.ACCEPTED, State.UNKNOWN, State.DEFERRED}
    assert sum(outcome.state is State.ACCEPTED for outcome in outcomes) == 3
    assert any(outcome.state is State.UNKNOWN for outcome in outcomes)


async def test_a_reply_time_out_is_by_stage(scripted_smtp: StartScriptedSmtp) -> None:
    """A short limit for commands does not shorten the wait for the answer to a message."""
    server = await scripted_smtp([on("final", Delay(0.3))])
    settings = settings_for(server, reply_timeout_s=0.1, final_timeout_s=5.0)
    (outcome,) = await send_once(settings)
    assert outcome.state is State.ACCEPTED
    server = await scripted_smtp([on("rcpt", Hang())])
    (outcome,) = await send_once(settings_for(server, reply_timeout_s=0.1))
    assert (outcome.state, outcome.stage) == (State.DEFERRED, "rcpt")


@pytest.mark.parametrize("pipelining", MODES)
async def test_recipient_domains_are_limited_as_announced(pipelining: str, scripted_smtp: StartScriptedSmtp) -> None:
    """RCPTDOMAINMAX of RFC 9422 is for a connection; the next domains go over another."""
    keywords = ("PIPELINING", "CHUNKING", "LIMITS RCPTDOMAINMAX=2")
    server = await scripted_smtp([on("ehlo", Say(ehlo_reply(*keywords)))])
    copies = [*_copies(8, domains=4), delivery(*[f"x@d{number}.example" for number in range(3)], number=9)]
    settings = settings_for(server, pipelining=pipelining, max_connections=1)
    outcomes = await send_once(settings, batch(*copies))
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    for record in server.connections:
        said = [command.line for command in record.commands if command.stage == "rcpt"]
        assert len({line.rpartition(b"@")[2] for line in said}) <= 2


async def test_an_old_connection_is_not_used_again(scripted_smtp: StartScriptedSmtp) -> None:
    """Its age counts from sign-in."""
    server = await scripted_smtp()
    async with opened(settings_for(server, max_age_s=1)) as state:
        await plugin.connector_send(state, batch(), context())
        await plugin.connector_send(state, batch(delivery("a@x.example", number=1)), context())
        assert len(server.connections) == 1
        for connection, _ in state.pool._idle:
            connection.opened_at -= 2
        await plugin.connector_send(state, batch(delivery("a@x.example", number=2)), context())
    assert len(server.connections) == 2


async def test_closing_lets_what_is_on_its_way_end(scripted_smtp: StartScriptedSmtp) -> None:
    """What the server has is answered; what had not begun is not tried, and says so."""
    server = await scripted_smtp([on("final", Delay(0.1))])
    state = await plugin.connector_open(settings_for(server, max_connections=1), plugin.Runtime(connection="primary"))
    sending = asyncio.create_task(plugin.connector_send(state, batch(*_copies(10)), context()))
    while not server.handed_over:  # the server tells of connections, not of messages
        await asyncio.sleep(0)
    await plugin.connector_close(state)
    outcomes = await sending
    states = [outcome.state for outcome in outcomes]
    assert State.UNKNOWN not in states
    assert states.count(State.ACCEPTED) == len(server.accepted) >= 1
    assert State.DEFERRED in states
