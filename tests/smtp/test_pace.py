"""The pace finds the limits that a server does not tell, stays below them, and slows nobody down for nothing."""

from __future__ import annotations

import itertools

import attrs
import pytest
from hypothesis import given, settings

from genie_connect.model.outcome import State
from genie_connect_smtp import plugin
from genie_connect_smtp.classify import classify_reply
from genie_connect_smtp.pace import Pace
from genie_connect_smtp.pace_signals import Signal, reading_of
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.waits import named_wait_s
from genie_connect_spec.fixtures import StartScriptedSmtp
from tests.smtp.pace_limits import Limited, check_limits_are_found, limited
from tests.smtp.pace_simulator import SES_RATE, THREADS, Limits, Server, Simulation, Tally, Words, reply
from tests.smtp.support import batch, context, delivery, opened, settings_for

CHANGES_AT_MIN = 15


@attrs.frozen(kw_only=True)
class Scenario:
    """A server, and after which minutes the pace may need some more to find out what has changed."""

    name: str
    limits: Limits
    words: Words = attrs.field(factory=Words)
    changed: Limits | None = None
    """What the server allows from then on."""
    settle_min: int = 0
    round_trip_s: float = 0.02
    jitter_s: float = 0.0
    timer_s: float = 0.0

    @property
    def minutes(self) -> int:
        """How long it is tried: half an hour where something changes."""
        return 2 * CHANGES_AT_MIN if self.changed else CHANGES_AT_MIN


_MS = Limits(per_minute=30)
_SES = Limits(per_s=14, burst=14)
SCENARIOS = (
    Scenario(name="14 a second", limits=_SES),
    Scenario(name="14 a second, not one more", limits=Limits(per_s=14, burst=1)),
    Scenario(name="14 a second, network and timers uneven", limits=_SES, jitter_s=0.03, timer_s=0.002),
    Scenario(name="30 a minute", limits=_MS),
    Scenario(name="30 a minute, said as too many threads", limits=_MS, words=Words(per_minute=THREADS)),
    Scenario(
        name="30 a minute, with a wait",
        limits=_MS,
        words=Words(per_minute="451 4.7.0 Rate limit exceeded, try again in 60 seconds"),
    ),
    Scenario(name="five a connection", limits=Limits(messages_per_connection=5), round_trip_s=1.0),
    Scenario(name="three connections", limits=Limits(connections=3), round_trip_s=1.0),
    Scenario(
        name="14 a second, five a connection, three connections",
        limits=attrs.evolve(_SES, messages_per_connection=5, connections=3),
    ),
    Scenario(name="30 a minute, three connections", limits=attrs.evolve(_MS, connections=3)),
    Scenario(name="14 a second, 500 a minute", limits=attrs.evolve(_SES, per_minute=500)),
    Scenario(name="14 a second, later 7", limits=_SES, changed=Limits(per_s=7)),
    Scenario(name="7 a second, later 28", limits=Limits(per_s=7), changed=Limits(per_s=28, burst=28), settle_min=2),
    Scenario(name="30 a minute, later 15", limits=_MS, changed=Limits(per_minute=15), settle_min=2),
    Scenario(name="30 a minute, later 60", limits=_MS, changed=Limits(per_minute=60), settle_min=9),
)


def counted(scenario: Scenario) -> list[int]:
    """The minutes that count: all but the first, and those in which the pace finds out what has changed."""
    settling = range(CHANGES_AT_MIN, CHANGES_AT_MIN + scenario.settle_min)
    return [minute for minute in range(1, scenario.minutes) if minute not in settling]


def run(scenario: Scenario, workers: int, pace: Pace) -> Tally:
    """All its minutes."""
    changes = ((60.0 * CHANGES_AT_MIN, scenario.changed),) if scenario.changed else ()
    server = Server(scenario.limits, words=scenario.words, changes=changes, unrelated=0.01)
    return Simulation(
        server,
        pace,
        workers=workers,
        round_trip_s=scenario.round_trip_s,
        jitter_s=scenario.jitter_s,
        timer_s=scenario.timer_s,
    ).run(60.0 * scenario.minutes)


def attainable(scenario: Scenario, workers: int, minutes: list[int]) -> float:
    """What the limits allow in those minutes, or, where nothing limits the rate, what a sender takes who knows them."""
    limits, later = scenario.limits, scenario.changed or scenario.limits
    if limits.messages_per_s < 1e6:
        return sum(60 * (limits if minute < CHANGES_AT_MIN else later).messages_per_s for minute in minutes)
    informed = Pace(
        adaptive=False,
        max_connections=min(workers, limits.connections or workers),
        messages_per_connection=limits.messages_per_connection or 100,
    )
    return sum(run(scenario, workers, informed).accepted[minute] for minute in minutes)


QUICK = ("14 a second", "30 a minute, with a wait", "three connections")
"""Scenarios that every run of the tests tries, one for each kind of limit."""


@pytest.mark.parametrize("workers", [1, 10])
@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, id=scenario.name, marks=[] if scenario.name in QUICK else [pytest.mark.long])
        for scenario in SCENARIOS
    ],
)
def test_it_uses_what_a_server_allows_and_is_hardly_ever_throttled(scenario: Scenario, workers: int) -> None:
    """From a cold start: 95 % of the limit and at most 1 % refused from the second minute on."""
    tally = run(scenario, workers, Pace(max_connections=workers))
    minutes = counted(scenario)
    taken = sum(tally.accepted[minute] for minute in minutes)
    refused = sum(tally.throttled[minute] + tally.refused_connections[minute] for minute in minutes)
    assert taken >= 0.95 * attainable(scenario, workers, minutes)
    assert refused <= 0.01 * (taken + refused)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(case=limited())
def test_whatever_the_limits_are_they_are_found(case: Limited) -> None:
    """At most 5 % refused and at least 80 % used after three minutes; and again after a pause of three minutes."""
    check_limits_are_found(case)


@pytest.mark.parametrize("limits", [_SES, _MS, Limits(per_s=1, burst=50)], ids=["14/s", "30/min", "1/s, burst 50"])
@pytest.mark.parametrize("workers", [1, 10])
def test_it_comes_back_after_the_server_was_closed(limits: Limits, workers: int) -> None:
    """A server that refuses everything for five minutes is asked seldom, and used again three minutes later."""
    changes = ((600.0, attrs.evolve(limits, closed=True)), (900.0, limits))
    tally = Simulation(Server(limits, changes=changes), Pace(max_connections=workers), workers=workers).run(1500)
    assert tally.taken(10, 15) <= limits.messages_per_s
    assert sum(tally.throttled[minute] for minute in range(10, 15)) <= 20 + workers
    assert tally.taken(18, 25) >= 0.8 * 7 * 60 * limits.messages_per_s


def _answer(pace: Pace, now: float, stage: Stage, line: str, *, served: int = 0) -> Signal:
    said = reply(line)
    return pace.message_answered(now, now, stage=stage, verdict=classify_reply(stage, said), reply=said, served=served)


@pytest.mark.parametrize(
    ("stage", "line", "signal"),
    [
        (Stage.FINAL, SES_RATE, Signal.RATE),
        (Stage.FINAL, "451 4.7.500 Server busy. Please try again later", Signal.RATE),
        (Stage.MAIL, "450 4.7.1 Error: too much mail from 192.0.2.1", Signal.RATE),
        (Stage.MAIL, "451 4.7.0 Rate limit exceeded, try again in 60 seconds", Signal.RATE),
        (Stage.FINAL, THREADS, Signal.CONNECTIONS),
        (
            Stage.GREETING,
            "421 4.3.2 The maximum number of concurrent connections has exceeded a limit",
            Signal.CONNECTIONS,
        ),
        (Stage.GREETING, "421 Too many concurrent SMTP connections", Signal.CONNECTIONS),
        (Stage.AUTH, "454 4.7.0 Too many login attempts, please try again later", Signal.CONNECTIONS),
        (Stage.MAIL, "421 4.7.0 Too many messages in this connection", Signal.SESSION),
        (Stage.MAIL, "421 Service closing transmission channel", Signal.ENDED),
        (Stage.FINAL, "454 Throttling failure: Daily message quota exceeded", Signal.QUOTA),
        (Stage.MAIL, "451 4.3.0 Temporary lookup failure", Signal.UNCLEAR),
        (Stage.MAIL, "452 4.3.1 Insufficient system storage", Signal.UNCLEAR),
        (Stage.MAIL, "421 4.4.2 Idle timeout", Signal.NONE),
        (Stage.RCPT, "450 4.2.0 Greylisted, try again in 300 seconds", Signal.NONE),
        (Stage.RCPT, "450 4.7.1 Greylisting in action", Signal.NONE),
        (Stage.RCPT, "450 4.2.1 The user you are trying to contact is receiving mail too quickly", Signal.NONE),
        (Stage.RCPT, "452 4.2.2 Mailbox full", Signal.NONE),
        (Stage.RCPT, "452 4.5.3 Too many recipients", Signal.NONE),
        (Stage.RCPT, "550 5.1.1 No such user", Signal.NONE),
        (Stage.FINAL, "554 5.7.1 Message looks like spam", Signal.NONE),
        (Stage.AUTH, "535 5.7.8 Authentication failed", Signal.NONE),
        (Stage.AUTH, "454 4.7.0 Temporary authentication failure", Signal.NONE),
    ],
)
def test_an_answer_says_which_limit_it_is_about(stage: Stage, line: str, signal: Signal) -> None:
    """Greylisting, mailboxes and sign-in say nothing about the pace, whatever words they use."""
    said = reply(line)
    assert reading_of(stage, classify_reply(stage, said), said).signal is signal


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("try again in 60 seconds", 60),
        ("Please wait 5 minutes and retry", 300),
        ("retry after 2 hours", 3600),
        ("come back in 30s", 30),
        ("try again later", None),
        ("in 2 messages", None),
    ],
)
def test_the_wait_that_a_reply_names_is_read(text: str, seconds: float | None) -> None:
    """In seconds, and never more than an hour."""
    assert named_wait_s(text) == seconds


def test_what_is_not_about_us_slows_nothing_down() -> None:
    """A hundred greylistings, full mailboxes and refused sign-ins in a row leave the pace as it was."""
    pace = Pace()
    for number in range(100):
        _answer(pace, float(number), Stage.RCPT, "450 4.2.0 Greylisted, try again in 300 seconds")
        _answer(pace, float(number), Stage.RCPT, "452 4.2.2 Mailbox full")
        _answer(pace, float(number), Stage.AUTH, "535 5.7.8 Authentication failed")
    assert pace.admit(100.0) == 0
    assert pace.learned(100.0).rate_per_s is None


def test_a_wait_that_the_server_names_is_kept() -> None:
    """Nobody leaves before it is over, and then one goes first."""
    pace = Pace()
    assert pace.admit(10.0) == 0
    _answer(pace, 10.0, Stage.FINAL, "451 4.7.0 Rate limit exceeded, try again in 60 seconds")
    assert pace.admit(30.0) == 40
    assert pace.wait_s(30.0) == 40
    assert pace.admit(70.0) == 0
    assert pace.admit(70.0) > 0


def test_a_used_up_quota_stops_everything_and_teaches_no_rate() -> None:
    """Slower would not help, and afterwards nothing is slower."""
    pace = Pace()
    _answer(pace, 0.0, Stage.FINAL, "454 Throttling failure: Daily message quota exceeded")
    assert pace.admit(1.0) == 3599
    assert pace.admit(3600.0) == 0
    assert pace.learned(3600.0).rate_per_s is None


def test_connections_that_end_after_the_same_number_teach_that_number() -> None:
    """Twice is enough; and later one connection may try whether it still holds."""
    pace = Pace()
    for now in (1.0, 2.0):
        for served in range(1, 6):
            pace.message_accepted(now, now, served)
        _answer(pace, now, Stage.MAIL, "421 Service closing transmission channel", served=5)
    assert pace.messages_per_connection(3.0) == 5
    assert pace.messages_per_connection(100.0) == 10
    pace.message_accepted(100.0, 100.0, 6)
    assert pace.messages_per_connection(100.0) == 12
    assert pace.admit(100.0) == 0


def test_connections_that_end_after_any_number_teach_a_rate() -> None:
    """A 421 without a reason is then one of too many messages in a time."""
    pace = Pace()
    for now, served in ((1.0, 5), (2.0, 3)):
        _answer(pace, now, Stage.MAIL, "421 Service closing transmission channel", served=served)
    assert pace.admit(2.0) > 0
    assert pace.messages_per_connection(2.0) == 100


def test_connections_too_many_are_not_tried_again_at_once() -> None:
    """As many as are open, one more after a minute, and then later and later."""
    pace = Pace(max_connections=10)
    for _ in range(3):
        pace.connection_opened(0.0)
    said = reply("421 Too many concurrent SMTP connections")
    for now, wait_s in ((10.0, 60.0), (80.0, 120.0), (210.0, 240.0)):
        verdict = classify_reply(Stage.GREETING, said)
        pace.connection_refused(now, stage=Stage.GREETING, verdict=verdict, reply=said)
        assert pace.max_connections(now + wait_s - 1) == 3
        assert pace.max_connections(now + wait_s) == 4


def test_the_owners_rate_is_never_exceeded() -> None:
    """Two a second from the first message on, learned or not."""
    pace = Pace(rate_per_second=2.0, adaptive=False)
    left = [now for now in (tick / 100 for tick in range(1000)) if pace.admit(now) == 0]
    assert len(left) == 20
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(left))


def test_without_adaptive_nothing_is_learned() -> None:
    """Whatever the server says."""
    pace = Pace(adaptive=False)
    for _ in range(10):
        _answer(pace, 1.0, Stage.FINAL, SES_RATE)
    assert pace.admit(1.0) == 0


def test_a_probe_whose_answer_is_lost_does_not_stop_the_rest() -> None:
    """Its connection broke; another message may find out."""
    pace = Pace()
    assert pace.admit(0.0) == 0
    _answer(pace, 0.0, Stage.FINAL, SES_RATE)
    assert pace.admit(1.0) == 0
    assert pace.admit(1.1) > 0
    pace.message_answered(1.2, 1.0, stage=Stage.FINAL, verdict=classify_reply(Stage.MAIL, reply(SES_RATE)), reply=None)
    assert pace.admit(1.3) == 0


async def test_a_message_whose_turn_does_not_come_in_time_is_deferred(scripted_smtp: StartScriptedSmtp) -> None:
    """The owner's rate allows one now; the other is not handed over and says so when the attempt ends."""
    server = await scripted_smtp()
    copies = (delivery("ada@example.com"), delivery("bob@example.com", number=1))
    settings = settings_for(server, rate_per_second=0.01, max_connections=1)
    async with opened(settings) as state:
        outcomes = await plugin.connector_send(state, batch(*copies), context(0.5))
    assert [outcome.state for outcome in outcomes] == [State.ACCEPTED, State.DEFERRED]
