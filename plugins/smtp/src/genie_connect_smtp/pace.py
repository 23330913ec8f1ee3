"""The pace of one SMTP connection setting: how fast, on how many connections, how long on each.

Theory of operation
===================

Servers limit what one client may do, seldom say so beforehand, and answer with a 4xx when it is too much. One ``Pace``
stands beside the pool and is told all answers of all its connections, so that what one of them ran into the others
need not find out. It does no I/O and has no clock: ``now`` is any clock that only goes forward, in seconds.

``pace_signals`` reads from an answer which limit it is about. Where the answer names none, the numbers decide:

============================  ===================================================================================
messages in a time            said so (454 Throttling failure, 451 4.7.500, ...), or 421 after changing numbers of
                              messages, or several unclear deferrals with nothing accepted in between
messages on a connection      said so, or connections that ended after the same number of messages twice
connections at once           refused in the greeting while others are open, or said so
an allowance of hours         a rule says to wait a quarter of an hour or more: everything waits, nothing is learned
nothing                       greylisting, a full mailbox, a refused recipient, a refused sign-in
============================  ===================================================================================

The rate has a law of its own, see ``pace_rate``. The two numbers are learned at the first evidence and tried again
later with one connection more, or one longer connection, at intervals that double while the limit stands. Limits that
the owner set are never exceeded, whatever was learned.

Who calls it: ``Feed`` asks ``admit`` before a message leaves, until it says 0, which takes the turn, keeps ``now`` as
the message's ``left_at`` and hands it back with the answer. ``Pool`` opens no connection while ``open_wait_s`` is
positive or ``max_connections`` are open, and closes one after ``messages_per_connection`` messages, and after its
current message where more are open than ``max_connections``. ``limited`` tells both that there is anything to ask.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

from genie_connect.model.outcome import State
from genie_connect_smtp.classify import Verdict
from genie_connect_smtp.pace_rate import RateLaw
from genie_connect_smtp.pace_signals import Reading, Signal, reading_of
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage

UNCLEAR_IN_A_ROW: Final = 4
"""So many unclear deferrals, with nothing accepted in between, are a limit: one in a hundred at random gives four in a
row once in a hundred million messages."""
CLOSING_S: Final = 1.0
"""How long a server may still count a connection that we have closed."""
DOUBTS: Final = 3
"""A connection refused so often while fewer are open than were thought to be allowed: fewer are allowed."""
FIRST_RETRY_S: Final = 60.0
LONGEST_RETRY_S: Final = 960.0
FIRST_OPEN_WAIT_S: Final = 0.5
LONGEST_OPEN_WAIT_S: Final = 60.0


@attrs.frozen(kw_only=True)
class Learned:
    """What is believed about a server at the moment; ``None`` where no limit was met.

    ``window_s`` is 1 for a limit of messages a second and 60 for one a minute; ``hold_s`` how long nothing may leave.
    """

    rate_per_s: float | None
    window_s: float | None
    max_connections: int | None
    messages_per_connection: int | None
    hold_s: float


@attrs.define
class _Ceiling:
    """A number learned from having exceeded it, and when to try whether it is still true."""

    value: int | None = None
    retry_at: float = 0.0
    retry_s: float = FIRST_RETRY_S
    doubts: int = 0

    def met(self, now: float, value: int) -> None:
        """More than ``value`` was refused."""
        value = max(1, value)
        self.retry_s = min(LONGEST_RETRY_S, self.retry_s * 2) if self.value == value else FIRST_RETRY_S
        self.value, self.retry_at, self.doubts = value, now + self.retry_s, 0

    def refused(self, now: float, least: int, most: int) -> None:
        """One more than there were was refused; there were between ``least`` and ``most``, as the server counts."""
        if self.value is None or most < self.value:
            self.met(now, most)
        elif least >= self.value:
            self.met(now, self.value)
        else:
            # Those that were leaving may have been counted. Not every time, though.
            self.doubts += 1
            if self.doubts >= DOUBTS:
                self.met(now, least)

    def exceeded(self, now: float, value: int) -> None:
        """So many went well: what is believed in, or more."""
        if value == self.value:
            self.doubts = 0
        if self.value is not None and value > self.value:
            self.value, self.retry_at, self.retry_s = value, now, FIRST_RETRY_S

    def at(self, now: float, most: int, extra: int) -> int:
        """What may be used now, with ``extra`` more when it is time to try."""
        if self.value is None:
            return most
        return min(most, self.value + (extra if now >= self.retry_at else 0))


class Pace:
    """What the connections of one setting may do now.

    ``max_connections`` and ``messages_per_connection`` are the owner's limits, ``rate_per_second`` too, where given.
    Without ``adaptive`` nothing is learned.
    """

    def __init__(
        self,
        *,
        rate_per_second: float | None = None,
        adaptive: bool = True,
        max_connections: int = 3,
        messages_per_connection: int = 100,
    ) -> None:
        self.adaptive = adaptive
        self._rate = RateLaw(most_per_s=rate_per_second, adaptive=adaptive)
        self._max_connections = max_connections
        self._messages_per_connection = messages_per_connection
        self._places = _Ceiling()
        self._share = _Ceiling()
        self._open = 0
        self._closed_at: deque[float] = deque(maxlen=256)
        self._open_after = 0.0
        self._refused_in_a_row = 0
        self._unclear = 0
        self._ended_after: int | None = None

    @property
    def limited(self) -> bool:
        """Whether a number of connections, or of messages on one, has been learned."""
        return self._places.value is not None or self._share.value is not None

    def slowed(self, now: float) -> bool:
        """Whether the server is why messages wait, and not its owner's rate alone."""
        return self._rate.base_per_s is not None or self._rate.blocked or self.holds(now)

    # Messages

    def admit(self, now: float) -> float:
        """0 if a message may leave now, which takes the turn; otherwise the seconds after which to ask again."""
        return self._rate.admit(now)

    def wait_s(self, now: float) -> float:
        """What ``admit`` would say, without taking the turn: when anything may leave again, whosever it is."""
        return self._rate.wait_s(now)

    @property
    def space_s(self) -> float:
        """Seconds between two messages at the moment; 0 without a limit."""
        return 1 / self._rate.pace_per_s

    def message_accepted(self, now: float, left_at: float, served: int = 0) -> None:
        """The server took the message; ``served`` is how many its connection has had by now, this one included."""
        self._unclear = 0
        self._rate.accepted(now, left_at)
        if self._rate.blocked:
            self._rate.passed(now, left_at)
        if self._ended_after is not None and served > self._ended_after:
            self._ended_after = None
        self._share.exceeded(now, served)

    def message_lost(self, left_at: float) -> None:
        """A turn was taken at that time and nothing came of it: no message, or no answer."""
        self._rate.void(left_at)

    def message_answered(
        self, now: float, left_at: float, *, stage: Stage, verdict: Verdict, reply: Reply | None, served: int = 0
    ) -> Signal:
        """The server answered the message at this stage; returns what it said about the pace.

        ``served`` is how many messages its connection had before this one.
        """
        if verdict.state is State.ACCEPTED:
            self.message_accepted(now, left_at, served + 1)
            return Signal.NONE
        reading = reading_of(stage, verdict, reply)
        if reply is None:
            self._rate.void(left_at)
        elif self.adaptive:
            self._take(now, left_at, stage, reading, served)
        return reading.signal

    # Connections

    def connection_opened(self, now: float) -> None:
        """A connection was made and signed in."""
        self._open += 1
        self._refused_in_a_row = 0
        self._places.exceeded(now, self._open)

    @property
    def turned_away(self) -> bool:
        """Whether the last connection that was tried was one too many."""
        return self._refused_in_a_row > 0

    def connection_refused(
        self, now: float, *, stage: Stage, verdict: Verdict, reply: Reply | None, opening: int = 0
    ) -> Signal:
        """A connection could not be made; returns what that said about the pace.

        ``opening`` are those that are being made beside it, and are counted by the server.
        """
        reading = reading_of(stage, verdict, reply)
        if not self.adaptive or reading.signal not in (Signal.CONNECTIONS, Signal.QUOTA):
            return reading.signal
        if now >= self._open_after:
            # Several that were tried together are refused together; that is one refusal.
            self._refused_in_a_row += 1
        there = self._open + opening
        if there:
            self._places.refused(now, there, there + self._closing(now))
            if reading.named_wait_s is None and self._places.value == there:
                # It was one more than are allowed: no reason for the allowed ones to wait.
                return reading.signal
        doubled = FIRST_OPEN_WAIT_S * 2 ** min(16, 0 if self._open else self._refused_in_a_row)
        wait = reading.named_wait_s or min(LONGEST_OPEN_WAIT_S, reading.longest_wait_s, doubled)
        self._open_after = max(self._open_after, now + wait)
        return reading.signal

    def connection_closed(self, now: float, *, served: int = 0, by_server: bool = False) -> None:
        """A connection is gone.

        ``by_server`` where the server ended it without a word, before it had answered MAIL, after ``served`` messages.
        """
        self._open = max(0, self._open - 1)
        self._closed_at.append(now)
        if by_server and self.adaptive:
            self._ended(now, served)

    def max_connections(self, now: float) -> int:
        """How many connections may be open now."""
        return self._places.at(now, self._max_connections, 1)

    def messages_per_connection(self, now: float) -> int:
        """How many messages one connection may carry now."""
        # One that is merely a little longer would need a refusal for each step up.
        return self._share.at(now, self._messages_per_connection, self._share.value or 0)

    def occupied(self, now: float) -> int:
        """How many connections the server may count as ours: those that are open, or were a moment ago."""
        return self._open + self._closing(now)

    def open_wait_s(self, now: float) -> float:
        """Seconds to wait before the next connection is tried, after one was refused."""
        return max(0.0, self._open_after - now)

    def holds(self, now: float) -> bool:
        """Whether nothing may leave for some time, because of what the server said."""
        return self._rate.hold_s(now) > 0

    def learned(self, now: float) -> Learned:
        """What is believed about the server."""
        return Learned(
            rate_per_s=self._rate.base_per_s,
            window_s=self._rate.window_s,
            max_connections=self._places.value,
            messages_per_connection=self._share.value,
            hold_s=self._rate.hold_s(now),
        )

    def _closing(self, now: float) -> int:
        return sum(now - at < CLOSING_S for at in self._closed_at)

    def _take(self, now: float, left_at: float, stage: Stage, reading: Reading, served: int) -> None:
        signal = self._decided(now, reading, served)
        if signal is Signal.RATE:
            self._rate.refused(now, left_at, reading.named_wait_s, reading.longest_wait_s)
        elif signal is Signal.QUOTA:
            self._rate.closed_for(now, reading.named_wait_s or reading.longest_wait_s)
        elif signal is Signal.NONE and stage is Stage.FINAL:
            self._rate.passed(now, left_at)
        else:
            # A recipient refused for its own sake does not say whether the message would have been one too many.
            self._rate.void(left_at)

    def _decided(self, now: float, reading: Reading, served: int) -> Signal:
        """The signal, where the numbers may say more than the answer; the two ceilings take in what is theirs."""
        signal = reading.signal
        if signal is Signal.UNCLEAR:
            self._unclear += 1
            return Signal.RATE if self._unclear >= UNCLEAR_IN_A_ROW else signal
        if signal is Signal.ENDED:
            if reading.named_wait_s is not None:
                self._rate.closed_for(now, reading.named_wait_s)
            return signal if self._ended(now, served) else Signal.RATE
        if signal is Signal.SESSION:
            self._share.met(now, served)
        elif signal is Signal.CONNECTIONS:
            # One connection cannot be too many, and with several it may still be said of the rate: both are tried.
            believed = self._places.value
            if self._open > 1 and (believed is None or self.occupied(now) <= believed):
                # Otherwise those that are too many are on their way out, and this is still about them.
                self._places.met(now, self._open - 1)
            return Signal.RATE
        return signal

    def _ended(self, now: float, served: int) -> bool:
        """A connection ended without a reason; ``True`` if its share of messages may be why."""
        if self._share.value is not None and served >= self._share.value:
            self._share.met(now, served)
            return True
        first = self._ended_after is None
        if served and self._ended_after == served:
            self._share.met(now, served)
        same = self._ended_after == served
        self._ended_after = served or None
        return first or same
