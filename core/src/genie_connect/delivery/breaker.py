"""A circuit breaker for each connection.

A refused sign-in opens it at once: three failures for each message would lock the account. A server that cannot be
reached opens it after a few in a row. While it is open the planner passes the connection over and says why.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from genie_connect.clock import Clock
from genie_connect.model.outcome import Outcome, Scope, State

FAILURES_BEFORE_OPEN = 3
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 900.0
AT_ONCE = {"auth": 300.0, "tls": 300.0, "policy": 300.0}
"""Reasons that do not pass by themselves, with the pause they begin with, in seconds."""

PROBE_S = 0.5
"""How long to leave a connection alone while one attempt finds out whether it works again, in seconds."""
NEVER_LEFT = ("plan", "open")
"""Stages at which the other side was not asked, so that the outcome says nothing about it."""


class BreakerState(StrEnum):
    """Closed lets everything through, open nothing, half-open one attempt to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@attrs.frozen(kw_only=True)
class Standing:
    """Where a breaker stands, for another process to take over. No ``pauses`` means closed.

    ``pause_s`` is what is left of the pause in seconds, so that no two clocks need to agree.
    """

    pause_s: float = 0.0
    pauses: int = 0
    reason: str = ""
    hint: str = ""


class Permit:
    """Leave for one attempt, to be handed back with ``record`` or ``release``."""

    __slots__ = ()


class Breaker:
    """Counts what went wrong with a connection, and pauses it.

    While it is paused only the probe counts: what attempts that were under way at the time still bring in neither
    lengthens the pause once for each of them, nor ends it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._pauses = 0
        self._open_until: float | None = None
        self._probe: Permit | None = None
        self.reason = ""
        self.hint = ""
        self.changes = 0
        """How often it was opened, paused for longer, or closed by what happened here."""

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.pause_s > 0 else BreakerState.HALF_OPEN

    @property
    def pause_s(self) -> float:
        """Seconds until the next attempt may go through; 0 if it may now."""
        if self._open_until is None:
            return 0.0
        return max(PROBE_S if self._probe else 0.0, self._open_until - self._clock.monotonic())

    @property
    def standing(self) -> Standing:
        """Where it stands now, without what is counted towards the next pause."""
        if self._open_until is None:
            return Standing()
        left_s = max(0.0, self._open_until - self._clock.monotonic())
        return Standing(pause_s=left_s, pauses=max(1, self._pauses), reason=self.reason, hint=self.hint)

    def adopt(self, standing: Standing) -> None:
        """Stand where another process found that the connection stands. Its probe, if one is under way, stays one."""
        self._failures, self._pauses = 0, standing.pauses
        self.reason, self.hint = standing.reason, standing.hint
        self._open_until = self._clock.monotonic() + standing.pause_s if standing.pauses else None

    def admit(self) -> Permit | None:
        """Leave for an attempt, or ``None``. In the half-open state the first one only."""
        state = self.state
        if state is BreakerState.OPEN:
            return None
        permit = Permit()
        if state is BreakerState.HALF_OPEN:
            self._probe = permit
        return permit

    def stands(self, permit: Permit) -> bool:
        """Whether the leave still holds: the connection may have been paused since."""
        return self._open_until is None or permit is self._probe

    def record(self, outcome: Outcome, permit: Permit) -> bool:
        """Take in what came of an attempt; ``True`` if it changed the breaker from closed to open or back."""
        counts = self.stands(permit)
        self.release(permit)
        if outcome.scope is Scope.CONNECTION and outcome.state in (State.DEFERRED, State.REJECTED):
            return self._failed(outcome) if counts else self._failed_late(outcome)
        if not counts or outcome.stage in NEVER_LEFT:
            return False
        # One lost answer says little. Several in a row do: each leaves somebody in doubt, and the next one would too.
        return self._failed(outcome) if outcome.state is State.UNKNOWN else self._worked()

    def release(self, permit: Permit) -> None:
        """The attempt is over."""
        if permit is self._probe:
            self._probe = None

    def _worked(self) -> bool:
        was_open = self._open_until is not None
        self.changes += was_open
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
        first = _first_pause(outcome)
        self._pause(outcome, first if throttled else min(LONGEST_PAUSE_S, first * 2**self._pauses))
        self._pauses += 1
        return was_closed

    def _failed_late(self, outcome: Outcome) -> bool:
        """Once paused, a reason for a longer pause still counts: a refused sign-in after a lost connection."""
        pause = _first_pause(outcome)
        if self._clock.monotonic() + pause > (self._open_until or 0.0):
            self._pause(outcome, pause)
        return False

    def _pause(self, outcome: Outcome, pause_s: float) -> None:
        self.changes += 1
        self._open_until = self._clock.monotonic() + pause_s
        self.reason = outcome.text or outcome.reason or "failed"
        self.hint = outcome.hint or ""


def _first_pause(outcome: Outcome) -> float:
    reason = outcome.reason or "failed"
    if reason == "throttled" and outcome.retry_after_s:
        return outcome.retry_after_s
    return AT_ONCE.get(reason, FIRST_PAUSE_S)
