"""A mail server with hidden limits and a pool of workers, in virtual time: thirty minutes take a second.

``simulate`` runs workers that send as fast as a ``Pace`` lets them, against a ``Server`` that never says what it
allows, and counts. Nothing sleeps and nothing is random beyond a seed. The workers do what the pool does: a connection
each, as many as the pace allows, a window of messages in flight, another connection after so many messages.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator

import attrs

from genie_connect.model.outcome import State
from genie_connect_smtp.classify import classify_reply
from genie_connect_smtp.pace import Pace
from genie_connect_smtp.pace_signals import Signal
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage

Answer = tuple[Stage, Reply]


def reply(line: str) -> Reply:
    """A reply from its one line, such as ``451 4.7.500 Server busy``."""
    code, _, text = line.partition(" ")
    return Reply.of(int(code), (text,))


TAKEN = (Stage.FINAL, reply("250 2.0.0 Ok: queued as 4WxYz"))
SES_RATE = "454 Throttling failure: Maximum sending rate exceeded."
BUSY = "451 4.7.500 Server busy. Please try again later from [192.0.2.1]."
THREADS = "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded."
UNRELATED = (
    (Stage.RCPT, reply("450 4.2.0 Greylisted, see the help page")),
    (Stage.RCPT, reply("452 4.2.2 Mailbox full")),
    (Stage.RCPT, reply("450 4.2.1 The user you are trying to contact is receiving mail too quickly")),
    (Stage.MAIL, reply("451 4.3.0 Temporary lookup failure")),
    (Stage.FINAL, reply("451 4.3.0 Error: queue file write error")),
)


@attrs.frozen(kw_only=True)
class Limits:
    """What a server allows; ``None`` is no limit. ``burst`` is the size of the bucket that ``per_s`` fills."""

    per_s: float | None = None
    burst: int = 14
    per_minute: int | None = None
    messages_per_connection: int | None = None
    connections: int | None = None
    closed: bool = False

    @property
    def messages_per_s(self) -> float:
        """What the two limits in time come to."""
        if self.closed:
            return 0.0
        return min(
            math.inf if self.per_s is None else self.per_s,
            math.inf if self.per_minute is None else self.per_minute / 60,
        )


@attrs.frozen(kw_only=True)
class Words:
    """How a server says which limit was met."""

    per_s: str = SES_RATE
    per_minute: str = BUSY
    connections: str = "421 Too many concurrent SMTP connections"
    messages_per_connection: str = "421 Service closing transmission channel"


class Server:
    """Counts what arrives. ``changes`` are limits that come to hold later, by their time."""

    def __init__(
        self,
        limits: Limits,
        *,
        words: Words | None = None,
        changes: tuple[tuple[float, Limits], ...] = (),
        unrelated: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.limits = limits
        self._words = words or Words()
        self._changes = deque(changes)
        self._unrelated = unrelated
        self._random = random.Random(seed)
        self._tokens = float(limits.burst)
        self._filled_at = 0.0
        self._minute: deque[float] = deque()
        self.open = 0

    def connect(self, now: float) -> Reply | None:
        """A refusal in the greeting, or ``None`` for a connection that is made."""
        self._turn(now)
        if self.limits.connections is not None and self.open >= self.limits.connections:
            return reply(self._words.connections)
        self.open += 1
        return None

    def close(self) -> None:
        """A connection is gone."""
        self.open -= 1

    def message(self, now: float, served: int) -> Answer:
        """The answer to a message on a connection that had so many before."""
        self._turn(now)
        limits = self.limits
        if limits.messages_per_connection is not None and served >= limits.messages_per_connection:
            return Stage.MAIL, reply(self._words.messages_per_connection)
        if self._random.random() < self._unrelated:
            return self._random.choice(UNRELATED)
        while self._minute and self._minute[0] <= now - 60:
            self._minute.popleft()
        if limits.closed or (limits.per_minute is not None and len(self._minute) >= limits.per_minute):
            return Stage.FINAL, reply(self._words.per_minute)
        # A hair less than one: the sum of many thirds is not the whole.
        if limits.per_s is not None and self._tokens < 1 - 1e-6:
            return Stage.FINAL, reply(self._words.per_s)
        self._tokens -= 1
        self._minute.append(now)
        return TAKEN

    def _turn(self, now: float) -> None:
        while self._changes and self._changes[0][0] <= now:
            self.limits = self._changes.popleft()[1]
        if self.limits.per_s is not None:
            grown = self._tokens + (now - self._filled_at) * self.limits.per_s
            self._tokens = min(float(self.limits.burst), grown)
        self._filled_at = now


@attrs.define
class Tally:
    """What happened, by the minute in which the answer came."""

    accepted: Counter[int] = attrs.field(factory=Counter)
    throttled: Counter[int] = attrs.field(factory=Counter)
    refused_connections: Counter[int] = attrs.field(factory=Counter)
    unrelated: int = 0
    connections: int = 0

    def taken(self, since_min: int, until_min: int) -> int:
        """Messages accepted in those minutes."""
        return sum(self.accepted[minute] for minute in range(since_min, until_min))

    def throttled_share(self, since_min: int, until_min: int) -> float:
        """Answers "too much", to messages and to connections, as a share of all answers to messages."""
        minutes = range(since_min, until_min)
        bad = sum(self.throttled[minute] + self.refused_connections[minute] for minute in minutes)
        return bad / max(1, bad + self.taken(since_min, until_min))


@attrs.define(eq=False)
class _Link:
    """An open connection: what it has carried, and what is under way on it."""

    served: int = 0
    sent: int = 0
    in_flight: int = 0
    ended: bool = False
    asking: bool = False


class Simulation:
    """The workers and the time line. ``demand`` says whether there is anything to send at that time."""

    def __init__(
        self,
        server: Server,
        pace: Pace,
        *,
        workers: int = 1,
        window: int = 1,
        round_trip_s: float = 0.02,
        service_s: float = 0.0,
        jitter_s: float = 0.0,
        timer_s: float = 0.0,
        demand: Callable[[float], bool] = lambda now: True,
        seed: int = 1,
    ) -> None:
        self.server = server
        self.pace = pace
        self.tally = Tally()
        self._window = window
        self._one_way_s = round_trip_s / 2
        self._service_s = service_s
        self._jitter_s = jitter_s
        self._timer_s = timer_s
        self._demand = demand
        self._random = random.Random(seed)
        self._order: Iterator[int] = itertools.count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._open = 0
        for _ in range(workers):
            self._at(0.0, self._connect)

    def run(self, until_s: float) -> Tally:
        """Let time pass until then."""
        while self._events and self._events[0][0] <= until_s:
            now, _, event = heapq.heappop(self._events)
            event(now)
        return self.tally

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _wake(self, when: float, event: Callable[[float], None]) -> None:
        """As a timer does it: a little late."""
        self._at(when + self._random.random() * self._timer_s, event)

    def _trip_s(self) -> float:
        return self._one_way_s + self._random.random() * self._jitter_s

    def _connect(self, now: float) -> None:
        wait = self.pace.open_wait_s(now)
        if wait > 0 or self._open >= self.pace.max_connections(now) or not self._demand(now):
            self._at(now + (wait or 0.25), self._connect)
            return
        self._open += 1
        self._at(now + self._trip_s(), self._greet)

    def _greet(self, now: float) -> None:
        refusal = self.server.connect(now)
        # Connecting, TLS, EHLO and sign-in: five round trips, of which a refusal in the greeting spares most.
        trips = 1 if refusal else 9
        self._at(now + self._one_way_s * trips, lambda then: self._greeted(then, refusal))

    def _greeted(self, now: float, refusal: Reply | None) -> None:
        if refusal is None:
            self.tally.connections += 1
            self.pace.connection_opened(now)
            self._send(now, _Link())
            return
        self._open -= 1
        self.tally.refused_connections[int(now // 60)] += 1
        verdict = classify_reply(Stage.GREETING, refusal)
        self.pace.connection_refused(now, stage=Stage.GREETING, verdict=verdict, reply=refusal)
        self._at(now, self._connect)

    def _send(self, now: float, link: _Link) -> None:
        """Fill the window of a connection, or let it go."""
        link.asking = False
        over = link.sent >= self.pace.messages_per_connection(now) or self._open > self.pace.max_connections(now)
        if link.ended or over or not self._demand(now):
            link.ended = True
            if not link.in_flight:
                self._leave(now)
            return
        while link.in_flight < self._window and link.sent < self.pace.messages_per_connection(now):
            wait = self.pace.admit(now)
            if wait > 0:
                link.asking = True
                self._wake(now + wait, lambda then: self._send(then, link))
                return
            link.sent += 1
            link.in_flight += 1
            self._at(now + self._trip_s(), lambda then, left_at=now: self._arrive(then, link, left_at))

    def _arrive(self, now: float, link: _Link, left_at: float) -> None:
        answer = self.server.message(now, link.served)
        if answer[1].code != 421:
            link.served += 1
        served = link.served
        back = now + self._service_s + self._trip_s()
        self._at(back, lambda then: self._answered(then, link, left_at, answer, served))

    def _answered(self, now: float, link: _Link, left_at: float, answer: Answer, served: int) -> None:
        stage, said = answer
        link.in_flight -= 1
        verdict = classify_reply(stage, said)
        before = served if said.code == 421 else served - 1
        signal = self.pace.message_answered(now, left_at, stage=stage, verdict=verdict, reply=said, served=before)
        if verdict.state is State.ACCEPTED:
            self.tally.accepted[int(now // 60)] += 1
        elif answer in UNRELATED and signal in (Signal.NONE, Signal.UNCLEAR):
            self.tally.unrelated += 1
        else:
            self.tally.throttled[int(now // 60)] += 1
        if said.code == 421:
            link.ended = True
        if not link.asking:
            self._send(now, link)

    def _leave(self, now: float) -> None:
        self._at(now + self._one_way_s, lambda then: self.server.close())
        self._at(now + 2 * self._one_way_s, self._left)

    def _left(self, now: float) -> None:
        self._open -= 1
        self.pace.connection_closed(now)
        self._at(now, self._connect)
