"""The pace in real sends: the whole connector against scripted servers with limits, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import pytest

from genie_connect.contract import SendContext
from genie_connect.model.batch import Delivery
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect_smtp import plugin
from genie_connect_smtp.state import SmtpState
from genie_connect_spec.smtp_record import ConnectionRecord
from genie_connect_spec.smtp_script import Action, Answer, Close, Decide, Delay, HalfClose, Say, SayThen, Script, on
from genie_connect_spec.smtp_server import ScriptedSmtpServer
from tests.smtp.limited_server import EVERYTHING, NO_PIPELINING, LimitedServer
from tests.smtp.pace_simulator import SES_RATE, THREADS, Limits, Tally
from tests.smtp.support import batch, delivery, opened, settings_for
from tests.smtp.talk import MODES
from tests.smtp.virtual_time import VirtualClock, virtual

_SES = Say(f"{SES_RATE}\r\n".encode())
_FIVE_MINUTES = Say(b"451 4.7.0 Rate limit exceeded, try again in 300 seconds\r\n")
_ONE_MINUTE = Say(b"451 4.7.0 Rate limit exceeded, try again in 60 seconds\r\n")


def copies(count: int) -> list[Delivery]:
    """Copies to one recipient each."""
    return [delivery(f"r{number}@x.example", number=number) for number in range(count)]


async def send(state: SmtpState, what: Sequence[Delivery], seconds: float = 900.0) -> list[Outcome]:
    """One call of the connector, with a deadline in virtual time."""
    loop = asyncio.get_running_loop()
    context = SendContext(attempt_id="attempt-1", deadline=loop.time() + seconds, clock=VirtualClock(loop))
    return list(await plugin.connector_send(state, batch(*what), context))


@contextlib.asynccontextmanager
async def serving(script: Script, **fields: Any) -> AsyncIterator[tuple[ScriptedSmtpServer, SmtpState]]:
    """A scripted server, and the connector's state for it."""
    async with ScriptedSmtpServer(script) as server, opened(settings_for(server, **fields)) as state:
        yield server, state


@attrs.frozen(kw_only=True)
class Case:
    """A provider's limits, and for how long they are looked at."""

    name: str
    limits: Limits
    minutes: int
    max_connections: int = 3
    extensions: Sequence[str] = EVERYTHING
    round_trip_s: float = 0.02


async def sent(case: Case, **fields: Any) -> Tally:
    """What a server answered to one large batch for that long."""
    server = LimitedServer(case.limits, extensions=case.extensions, round_trip_s=case.round_trip_s)
    count = int(1.2 * case.minutes * 60 * min(case.limits.messages_per_s, 2 / case.round_trip_s))
    given = {"max_connections": case.max_connections, **fields}
    async with server.scripted, opened(settings_for(server.scripted, **given)) as state:
        outcomes = await send(state, copies(count), case.minutes * 60.0)
    others = [outcome for outcome in outcomes if outcome.state is not State.ACCEPTED]
    tried = sum(outcome.stage != "plan" for outcome in others)
    # Nobody was given up: whoever was not accepted never had a turn, or has the deadline in the middle of it.
    assert tried <= case.max_connections
    assert 0 <= sum(server.tally.accepted.values()) - (len(outcomes) - len(others)) <= tried
    return server.tally


_SES_LIMITS = Limits(per_s=14, burst=14)
CASES = (
    Case(name="14 a second", limits=_SES_LIMITS, minutes=2, extensions=NO_PIPELINING),
    Case(name="30 a minute, three connections", limits=Limits(per_minute=30, connections=3), minutes=8),
    Case(
        name="14 a second, five a connection, three connections",
        limits=attrs.evolve(_SES_LIMITS, messages_per_connection=5, connections=3),
        minutes=2,
        max_connections=10,
    ),
)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@virtual
async def test_real_sends_reach_the_rate_and_are_hardly_ever_refused(case: Case) -> None:
    """From the second minute on: 95 % of what the server allows, at most 1 % refused."""
    tally = await sent(case)
    assert tally.taken(1, case.minutes) >= 0.95 * 60 * (case.minutes - 1) * case.limits.messages_per_s
    assert tally.throttled_share(1, case.minutes) <= 0.01


@virtual
async def test_real_sends_use_the_connections_there_are() -> None:
    """Five a connection and three connections, on a long way: nearly as much as a sender who knows the numbers."""
    limits = Limits(messages_per_connection=5, connections=3)
    case = Case(name="", limits=limits, minutes=12, max_connections=10, round_trip_s=1.0)
    tally = await sent(case)
    known = await sent(case, adaptive=False, max_connections=3, messages_per_connection=5)
    assert tally.taken(1, case.minutes) >= 0.95 * known.taken(1, case.minutes)
    assert tally.throttled_share(1, case.minutes) <= 0.01


@pytest.mark.parametrize("pipelining", MODES)
@virtual
async def test_a_throttled_copy_is_tried_again_in_the_same_send(pipelining: str) -> None:
    """The server has not taken it; it goes once more when the pace allows, over the same connection."""
    async with serving([on("final", _SES, connection=0, message=0)], pipelining=pipelining) as (server, state):
        began = asyncio.get_running_loop().time()
        outcomes = await send(state, copies(3))
        assert asyncio.get_running_loop().time() - began >= 0.5
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert len({message.recipients for message in server.accepted}) == len(server.accepted) == 3
    assert len(server.handed_over) == 4


@virtual
async def test_what_one_send_learned_another_one_keeps_to() -> None:
    """The named wait of one holds the other back, although it has a connection of its own."""
    async with serving([on("final", _ONE_MINUTE, connection=0, message=0)]) as (server, state):
        loop = asyncio.get_running_loop()
        began = loop.time()
        first = asyncio.create_task(send(state, copies(1)))
        await asyncio.sleep(1)
        assert state.pace.holds(loop.time())
        (other,) = await send(state, [delivery("other@x.example", number=9)])
        assert other.state is State.ACCEPTED
        assert 60 <= loop.time() - began < 70
        (outcome,) = await first
        assert outcome.state is State.ACCEPTED
        assert len(server.handed_over) == 3


@virtual
async def test_a_hold_beyond_the_deadline_ends_the_send_at_once() -> None:
    """The one that was tried says so, those behind it were not; all know when to come, and nobody connects again."""
    async with serving([on("final", _FIVE_MINUTES)], pipelining="envelope") as (server, state):
        began = asyncio.get_running_loop().time()
        first, *others = await send(state, copies(5), 200.0)
        (later,) = await send(state, [delivery("later@x.example", number=9)], 200.0)
        assert asyncio.get_running_loop().time() - began < 1
        assert len(server.connections) == len(server.handed_over) == 1
    assert (first.stage, first.code) == ("final", 451)
    assert {(outcome.stage, outcome.code) for outcome in (*others, later)} == {("plan", None)}
    for outcome in (first, *others, later):
        assert (outcome.state, outcome.reason, outcome.retry) == (State.DEFERRED, "throttled", Retry.ANY)
        assert outcome.retry_after_s == pytest.approx(300, abs=1)


@virtual
async def test_a_used_up_allowance_refuses_only_whom_it_was_said_to() -> None:
    """The others were not tried, and are not called refused; they may come when the allowance is new."""
    script = [on("final", Say(b"550 5.4.5 Daily user sending quota exceeded\r\n"))]
    async with serving(script, pipelining="envelope") as (server, state):
        first, *others = await send(state, copies(5))
    assert (first.state, first.code) == (State.REJECTED, 550)
    assert {(outcome.state, outcome.stage) for outcome in others} == {(State.DEFERRED, "plan")}
    assert all((outcome.retry_after_s or 0) > 80_000 for outcome in others)
    assert len(server.handed_over) == 1


@virtual
async def test_a_long_wait_holds_no_connection() -> None:
    """A minute is longer than an idle connection is kept; afterwards there is another one."""
    script = [on("final", _ONE_MINUTE, connection=0, message=0)]
    async with serving(script, max_connections=1, idle_timeout_s=10) as (server, state):
        sending = asyncio.create_task(send(state, copies(3)))
        await asyncio.sleep(30)
        assert [connection.ended.is_set() for connection in server.connections] == [True]
        assert server.connections[0].stages()[-1] == "quit"
        assert {outcome.state for outcome in await sending} == {State.ACCEPTED}
        assert len(server.connections) == 2


@virtual
async def test_nobody_waits_for_a_turn_that_is_not_needed_any_more() -> None:
    """Three connections and one message in ten seconds: the send is over with its last answer."""
    async with serving({}, rate_per_second=0.1) as (_, state):
        began = asyncio.get_running_loop().time()
        outcomes = await send(state, copies(3))
        assert asyncio.get_running_loop().time() - began < 21
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}


@virtual
async def test_turns_are_given_in_the_order_of_asking() -> None:
    """Ten connections at one message a second: none is passed over, and no second is lost."""
    async with serving([on("final", Delay(0.1))], rate_per_second=1.0, max_connections=10) as (server, state):
        began = asyncio.get_running_loop().time()
        outcomes = await send(state, copies(40))
        assert asyncio.get_running_loop().time() - began < 40.5
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    shares = [sum(message.connection == number for message in server.accepted) for number in range(10)]
    assert max(shares) - min(shares) <= 2


@virtual
async def test_a_copy_that_was_accepted_for_somebody_is_not_tried_again() -> None:
    """The other recipient of the transaction is deferred, and it is the host that decides about him."""
    script = [on("rcpt", Say(b"450 4.7.1 Error: too much mail from 192.0.2.1\r\n"), index=1)]
    async with serving(script) as (server, state):
        outcomes = await send(state, [delivery("a@x.example", "b@x.example")])
    assert [outcome.state for outcome in outcomes] == [State.ACCEPTED, State.DEFERRED]
    assert len(server.handed_over) == 1


@virtual
async def test_only_those_are_tried_again_for_whom_it_was_too_much() -> None:
    """An address that does not exist stays refused, and is not asked about again."""
    script = [
        on("rcpt", Say(b"550 5.1.1 no such user\r\n"), address="nobody@x.example"),
        on("final", _SES, message=0),
    ]
    async with serving(script) as (server, state):
        outcomes = await send(state, [delivery("nobody@x.example", "a@x.example", "b@x.example")])
    assert [outcome.state for outcome in outcomes] == [State.REJECTED, State.ACCEPTED, State.ACCEPTED]
    assert [message.recipients for message in server.accepted] == [("a@x.example", "b@x.example")]
    assert sum(command.line.count(b"nobody") for command in server.connections[0].commands) == 1


@virtual
async def test_without_adaptive_a_throttled_reply_ends_the_batch() -> None:
    """Nobody knows then when to go on, so the host has to."""
    async with serving([on("final", _SES)], adaptive=False, pipelining="envelope") as (server, state):
        outcomes = await send(state, copies(5))
    assert {(outcome.state, outcome.code) for outcome in outcomes} == {(State.DEFERRED, 454)}
    assert len(server.handed_over) == 1


def _end_after(most: int, last: Action) -> Script:
    return [on("mail", last, message=most)]


_LAST_WORDS = {
    "said": SayThen(b"421 4.7.0 Too many messages in this connection\r\n", HalfClose()),
    "421": SayThen(b"421 Service closing transmission channel\r\n", HalfClose()),
    "silent": Close(),
}


@pytest.mark.parametrize(
    ("last", "pipelining"),
    [
        pytest.param(last, mode, id=f"{name}-{mode}")
        for name, last in _LAST_WORDS.items()
        for mode in MODES
        # A server that goes without a word leaves in doubt what had been sent ahead with BDAT.
        if (name, mode) != ("silent", "chunking")
    ],
)
@virtual
async def test_the_share_of_a_connection_is_learned_and_kept_to(last: Action, pipelining: str) -> None:
    """Whether the server names it, says only good-bye, or nothing; no later connection is used for more."""
    async with serving(_end_after(5, last), pipelining=pipelining, max_connections=1) as (server, state):
        outcomes = await send(state, copies(60))
        assert state.pace.learned(asyncio.get_running_loop().time()).messages_per_connection == 5
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    tried = [connection.stages().count("mail") for connection in server.connections]
    assert max(tried[:2]) > 5
    assert max(tried[3:]) <= 5
    assert {connection.stages()[-1] for connection in server.connections[3:]} == {"quit"}


@virtual
async def test_a_connection_that_has_had_its_share_does_not_serve_again() -> None:
    """Nor does it in the next send: what was learned holds for connections that wait in the pool as well."""
    async with serving(_end_after(5, Say(b"421 4.7.0 Too many messages in this connection\r\n"))) as (server, state):
        for number in range(20):
            (outcome,) = await send(state, [delivery("a@x.example", number=number)])
            assert outcome.state is State.ACCEPTED
    assert [connection.stages().count("mail") for connection in server.connections] == [6, 5, 5, 5]


@virtual
async def test_connections_too_many_are_not_opened_again_and_cost_nobody_his_place() -> None:
    """Ten would like to, two may; the others wait for theirs, and go on when one has left."""

    def greet(connection: ConnectionRecord) -> Action:
        others = [other for other in server.connections if other is not connection and other not in refused]
        if sum(not other.ended.is_set() for other in others) < 2:
            return Answer()
        refused.append(connection)
        return SayThen(b"421 Too many concurrent SMTP connections\r\n", HalfClose())

    refused: list[ConnectionRecord] = []
    script = [on("banner", Decide(greet)), on("final", Delay(1.0))]
    async with serving(script, max_connections=10, messages_per_connection=10) as (server, state):
        began = asyncio.get_running_loop().time()
        outcomes = await send(state, copies(80))
        # Forty seconds with both connections all the time.
        assert asyncio.get_running_loop().time() - began < 50
        assert state.pace.learned(asyncio.get_running_loop().time()).max_connections == 2
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert len(refused) <= 9


@virtual
async def test_more_connections_than_allowed_are_closed_after_their_message() -> None:
    """A server that says so to a message when three are open has two from then on."""
    most_open: list[int] = []

    def answer(connection: ConnectionRecord) -> Action:
        count = sum(not other.ended.is_set() for other in server.connections)
        most_open.append(count)
        return Say(f"{THREADS}\r\n".encode()) if count > 2 else Answer()

    async with serving([on("final", Delay(0.5, Decide(answer)))], pipelining="off") as (server, state):
        outcomes = await send(state, copies(60))
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert max(most_open) == 3
    assert most_open.count(3) <= 4
    assert most_open[-20:].count(2) >= 15


@virtual
async def test_a_busy_server_with_nothing_of_ours_is_not_waited_for() -> None:
    """421 in the greeting, twice, stops the batch: another connection of the host may be better off."""
    async with serving([on("banner", Say(b"421 4.3.2 Service not available\r\n"))]) as (server, state):
        began = asyncio.get_running_loop().time()
        outcomes = await send(state, copies(20))
        assert asyncio.get_running_loop().time() - began < 5
    assert {(outcome.state, outcome.stage, outcome.code) for outcome in outcomes} == {(State.DEFERRED, "greeting", 421)}
    assert len(server.connections) == 2


@virtual
async def test_the_wait_that_a_server_names_is_told_to_the_host() -> None:
    """Rather than the usual one for such a reply."""
    async with serving([on("rcpt", Say(b"450 4.2.0 Greylisted, try again in 70 seconds\r\n"))]) as (_, state):
        (outcome,) = await send(state, copies(1))
    assert (outcome.reason, outcome.retry_after_s) == ("greylisted", 70.0)
