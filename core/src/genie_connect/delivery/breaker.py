"""A circuit breaker for each connection.

A refused sign-in opens it at once: three failures for each message would lock the account. A server that cannot be
reached opens it after a few in a row. While it is open the planner passes the connection over and says why.
"""

from __future__ import annotations

from enum import StrEnum

from genie_connect.clock import Clock
from genie_connect.model.outcome import Outcome, Scope, State

FAILURES_BEFORE_OPEN = 3
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 900.0
AT_ONCE = {"auth": 300.0, "tls": 300.0, "policy": 300.0}
"""Reasons that do not pass by themselves, with the pause they begin with, in seconds."""

NEVER_LEFT = ("plan", "open")
"""Stages at which the other side was not asked, so that the outcome says nothing about it."""


class BreakerState(StrEnum):
    """Closed lets everything through, open nothing, half-open one attempt to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts what went wrong with a connection, and pauses it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._pauses = 0
        self._open_until: float | None = None
        self._probing = False
        self.reason = ""
        self.hint = ""

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.pause_s > 0 or self._probing else BreakerState.HALF_OPEN

    @property
    def pause_s(self) -> float:
        """Seconds until the next attempt may go through; 0 if it may now."""
        if self._open_until is None:
            return 0.0
        return max(0.0, self._open_until - self._clock.monotonic())

    def admit(self) -> bool:
        """Whether an attempt may go through now. In the half-open state the first one only."""
        state = self.state
        if state is BreakerState.HALF_OPEN:
            self._probing = True
        return state is not BreakerState.OPEN

    def record(self, outcome: Outcome) -> bool:
        """Take in one outcome; ``True`` if it changed the breaker from closed to open or back."""
        self._probing = False
        if outcome.scope is Scope.CONNECTION and outcome.state in (State.DEFERRED, State.REJECTED):
            return self._failed(outcome)
        if outcome.state is State.UNKNOWN or outcome.stage in NEVER_LEFT:
            return False
        return self._worked()

    def release(self) -> None:
        """An admitted attempt ended without an outcome (it was cancelled)."""
        self._probing = False

    def _worked(self) -> bool:
        was_open = self._open_until is not None
        self._failures = self._pauses = 0
        self._open_until = None
        self.reason = self.hint = ""
        return was_open

    def _failed(self, outcome: Outcome) -> bool:
        reason = outcome.reason or "failed"
        self._failures += 1
        throttled = reason == "throttled"
        if not throttled and reason not in AT_ONCE and self._failures < FAILURES_BEFORE_OPEN and not self._pauses:
            return False
        was_closed = self._open_until is None
        first = outcome.retry_after_s if throttled and outcome.retry_after_s else AT_ONCE.get(reason, FIRST_PAUSE_S)
        pause = first if throttled else min(LONGEST_PAUSE_S, first * 2**self._pauses)
        self._pauses += 1
        self._open_until = self._clock.monotonic() + pause
        self.reason = outcome.text or reason
        self.hint = outcome.hint or ""
        return was_closed
