"""How many messages a second a server takes, learned from its answers. Sans-I/O: times come as arguments.

Theory of operation
===================

**Spacing.** While nothing was refused there is no limit and ``admit`` answers 0. Afterwards messages leave evenly
spaced at the *pace*. Even spacing suits every kind of limit: a bucket of so many a second, and a window of so many a
minute, which a burst would fill for the whole minute. Nothing is saved up while nobody sends.

**Blocked.** A refusal stops everything for a moment: for as long as the server said, or else for little more than a
space, and twice that after each further refusal. Then one message goes as a probe; once the server answers a whole
message with something else than one more refusal, the stop is over. Messages that had left before the first refusal
was known belong to it and teach nothing more.

**What a refusal tells.** Right after a refusal a bucket is empty. If ``k`` messages that left in the ``t`` seconds
between two refusals were taken, the server's rate is at least ``(k - 1) / t``, and if we always had something to send,
about ``k / t``: no matter how large the bucket is. The second estimate is only used to go down. A stop of ten seconds
or more was for a window to empty; then the limit is the very number of messages taken in the minute before a refusal.

**The cycle.** ``base`` is the pace believed in. After each refusal the pace starts ``DIP`` below it, comes back to it
in one unit of messages, and then leaves it upwards as ``exp(4y²)``, ``y`` in units: slowly, since the limit is most
likely still there, then fast, since it evidently is not; but about fourfold in a minute at most, since a window that
was empty lets anything pass. A unit is as long as to keep refusals below one in a hundred messages; for a window at
least the minute after which it answers; longer where a refusal costs a named wait. The first cycles are short, until
the base is known well.

For a window each refusal sets the base anew, to the number that fitted. For a bucket:

- A refusal in the upper part leaves the base where it was: it has just held for a whole unit. Once in a while it is
  raised on trial, by a few per cent, more each time that it holds, or by half of how far the pace had come where that
  was further than ever; if it does not hold, it goes back, and the next trial comes later.
- A refusal in the lower part says that the base is too high: it sinks, at once to what was measured if that is less.

Only messages that had to wait for the pace move the cycle on: what was never tried is not known to be allowed.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import attrs

DIP: Final = 0.03
"""How far below the base a cycle begins, as a share of it."""
FIRST_UNIT: Final = 20.0
LEAST_UNIT: Final = 150.0
UNIT_S: Final = 15.0
"""A unit is what is sent in this time, and at least ``LEAST_UNIT`` messages."""
WAITS_IN_A_UNIT: Final = 40.0
"""Where a refusal costs a named wait, a unit lasts so many of them."""
SHORTEST_STOP_S: Final = 0.02
SPACES_TO_STOP: Final = 1.25
FIRST_STOP_S: Final = 0.5
"""The first stop while no pace is known yet."""
WINDOW_STOP_S: Final = 10.0
"""A stop this long was for a window to empty, not for a bucket to fill."""
LONGEST_WINDOW_STOP_S: Final = 100.0
"""A stop longer than this is no window of a minute either: the server had trouble of its own."""
WINDOW_S: Final = 60.0
PROBE_LOST_S: Final = 60.0
"""A probe without an answer for so long is given up, and another may go."""
TIMER_SLACK_S: Final = 0.004
"""Timers are not better than this: turns that come faster may be made up for when one comes late."""
SLOWEST_PER_S: Final = 1 / 120
_TICKS: Final = 16
"""In a second: how finely it is remembered when messages were accepted."""
_FIRST_STEP, _LONGEST_STEP = 0.02, 0.16
_JUMP: Final = 0.4
"""The exponent from which on a trial takes more than a step: the pace was half as high again as the base."""
_STEEPNESS: Final = 4.0
MOST_GROWTH: Final = 1.4
"""The most that the exponent grows in a minute: about fourfold."""
_AT_ONCE: Final = 0.1
_LIMIT_GONE: Final = 8.0
"""The exponent of growth at which a limit that was never met again is forgotten (about 3000 times the base)."""


@attrs.define
class _Trial:
    """A base that was raised on trial, what it was before, and when another trial may come.

    ``usual`` is how far growth goes although the base is right, for that is how large the server's bucket is.
    """

    step: float = _FIRST_STEP
    before: float | None = None
    exponent: float = 0.0
    usual: float = 0.0
    pause: int = 1
    left: int = 0

    def raised(self, base: float, exponent: float) -> float:
        """The base of the next cycle, the last one having held and grown by ``exp(exponent)``."""
        if self.before is not None:
            self.step, self.pause = min(_LONGEST_STEP, self.step * 2), 1
        self.before = None
        jump = exponent > _JUMP + 2 * self.usual
        if self.left and not jump:
            self.left -= 1
            return base
        self.before, self.exponent = base, exponent
        most = math.exp(exponent / 2)
        return base * (most if jump else min(1 + self.step, most))

    def failed(self) -> float | None:
        """The base to go back to, if there was a trial."""
        before, self.before, self.step = self.before, None, _FIRST_STEP
        if before is not None:
            self.left, self.pause = self.pause, min(16, self.pause * 2)
            self.usual = max(self.usual / 2, self.exponent)
        return before


class RateLaw:
    """The pace of one connection setting.

    ``most_per_s`` is a limit that its owner set. Without ``adaptive`` it is the only one.
    """

    def __init__(self, *, most_per_s: float | None = None, adaptive: bool = True) -> None:
        self._most = most_per_s
        self._adaptive = adaptive
        self._base: float | None = None
        self._unit = FIRST_UNIT
        self._progress = 0.0
        self._trial = _Trial()
        # When the next message may leave.
        self._due = -math.inf
        self._idle_s = 0.0
        self._asked_at = 0.0
        self._ticks: deque[list[int]] = deque(maxlen=int(2 * WINDOW_S * _TICKS))
        # When the last refusal was heard, and how much was accepted of what left after that.
        self._refused_at: float | None = None
        self._taken = 0
        self._blocked_from: float | None = None
        self._fitted = 0
        self._block_was_named = False
        self._held_until = -math.inf
        self._stop_s = FIRST_STOP_S
        self._probe_at: float | None = None
        self._answer_s = 0.05
        self.window_s: float | None = None

    @property
    def blocked(self) -> bool:
        """Whether everything stands still after a refusal."""
        return self._blocked_from is not None

    @property
    def base_per_s(self) -> float | None:
        """What the server is believed to take; ``None`` while nothing was refused."""
        return self._base

    @property
    def pace_per_s(self) -> float:
        """Messages a second at the moment; infinite without a limit."""
        most = math.inf if self._most is None else self._most
        return min(most, self._learned_pace())

    def hold_s(self, now: float) -> float:
        """Seconds until anything may leave at all."""
        return max(0.0, self._held_until - now)

    def wait_s(self, now: float) -> float:
        """What ``admit`` would say, without taking the turn."""
        if now < self._held_until:
            return self._held_until - now
        if self._blocked_from is not None:
            return self._answer_s if self._probing(now) else 0.0
        return max(0.0, self._due - now) if self._base is not None or self._most is not None else 0.0

    def admit(self, now: float) -> float:
        """0 if a message may leave now, which counts as its leaving; otherwise the seconds after which to ask again."""
        if self._base is None and self._most is None and self._blocked_from is None and now >= self._held_until:
            return 0.0
        if now < self._held_until:
            return self._held_until - now
        if self._blocked_from is not None:
            if self._probing(now):
                return self._answer_s
            self._probe_at = now
            return 0.0
        return self._in_turn(now)

    def accepted(self, now: float, left_at: float) -> None:
        """The server took a message that left at that time. While ``blocked``, call ``passed`` as well."""
        if self._refused_at is not None and left_at >= self._refused_at:
            self._taken += 1
        tick = int(now * _TICKS)
        if self._ticks and self._ticks[-1][0] == tick:
            self._ticks[-1][1] += 1
        else:
            self._ticks.append([tick, 1])

    def passed(self, now: float, left_at: float) -> None:
        """A message that left at that time met no limit."""
        if self._blocked_from is not None and self._refused_at is not None and left_at >= self._refused_at:
            self._answer_s = min(1.0, max(0.01, now - left_at))
            self._recover(now, self._blocked_from)

    def refused(self, now: float, left_at: float, named_wait_s: float | None, longest_wait_s: float) -> None:
        """A message that left at that time was too much."""
        if not self._adaptive:
            return
        if self._refused_at is not None and left_at < self._refused_at:
            # It left before we knew. Only a wait that the server names is news.
            if named_wait_s is not None:
                self._hold(now, named_wait_s)
            return
        if self._blocked_from is None:
            self._stop_s = self._first_stop_s()
            self._learn(now, left_at, named_wait_s)
            self._blocked_from = now
            self._fitted = self._in_window(now)
            self._block_was_named = False
        else:
            self._stop_s *= 2
        self._refused_at, self._taken, self._idle_s = now, 0, 0.0
        self._block_was_named |= named_wait_s is not None
        self._stop_s = min(self._stop_s, longest_wait_s)
        self._hold(now, self._stop_s if named_wait_s is None else named_wait_s)

    def void(self, left_at: float) -> None:
        """What became of a message that left at that time says nothing: if it was the probe, another may go."""
        if self._probe_at is not None and left_at >= self._probe_at:
            self._probe_at = None

    def closed_for(self, now: float, wait_s: float) -> None:
        """Nothing may leave for so long; the pace itself is not in question."""
        if self._adaptive:
            self._hold(now, wait_s)

    def _hold(self, now: float, wait_s: float) -> None:
        self._held_until = max(self._held_until, now + wait_s)
        self._probe_at = None

    def _learned_pace(self) -> float:
        if self._base is None:
            return math.inf
        if self._progress < 1:
            return self._base * (1 - DIP * (1 - self._progress) ** 3)
        return self._base * math.exp(self._exponent())

    def _exponent(self) -> float:
        beyond = max(0.0, self._progress - 1)
        # A window of a minute that had become empty lets anything pass at first.
        minutes = max(1.0, (self._asked_at - (self._refused_at or 0.0) - self._idle_s) / WINDOW_S)
        return min(_STEEPNESS * beyond * beyond, MOST_GROWTH * minutes)

    def _probing(self, now: float) -> bool:
        return self._probe_at is not None and now - self._probe_at < PROBE_LOST_S

    def _in_turn(self, now: float) -> float:
        self._asked_at = now
        if now < self._due:
            return self._due - now
        pace = self._learned_pace()
        ours = self._most is not None and pace >= self._most
        if ours and self._most is not None:
            pace = self._most
        space = 1 / pace
        waited = now < self._due + max(space, TIMER_SLACK_S)
        if waited and not ours and self._base is not None:
            self._progress += 1 / self._unit
            if self._exponent() >= _LIMIT_GONE:
                self._forget()
        elif not waited and math.isfinite(self._due):
            self._idle_s += now - self._due
            if now - self._due > WINDOW_STOP_S:
                # After a pause the server's window is empty and would let growth go too far before it answers.
                self._progress = 0.0
        self._due = max(self._due, now - max(0.0, TIMER_SLACK_S - space)) + space
        return 0.0

    def _forget(self) -> None:
        self._base, self._unit, self._progress, self._trial = None, FIRST_UNIT, 0.0, _Trial()
        self._refused_at, self.window_s = None, None

    def _first_stop_s(self) -> float:
        if self._base is None:
            return FIRST_STOP_S
        stop_s = max(SHORTEST_STOP_S, SPACES_TO_STOP / self._base)
        # A window that filled unevenly empties unevenly: wait for the gap to pass, rather than knock at every message.
        again = self.window_s == WINDOW_S and self._progress < _AT_ONCE
        return max(stop_s, 2 * self._stop_s) if again else stop_s

    def _learn(self, now: float, left_at: float, named_wait_s: float | None) -> None:
        """A new refusal: where does it put the base?"""
        if self._base is None or self._refused_at is None:
            return
        if self.window_s == WINDOW_S:
            held = self._base if self._progress >= 1 else SLOWEST_PER_S
            self._base = max(held, self._in_window(now) / WINDOW_S)
        else:
            self._base = max(SLOWEST_PER_S, self._of_bucket(left_at, self._base, self._refused_at))
        # A window answers for what was sent a minute ago: a unit must not be over before that.
        seconds = max(UNIT_S, self.window_s or 0.0, WAITS_IN_A_UNIT * (named_wait_s or 0.0))
        longest = max(LEAST_UNIT, seconds * self._base)
        self._unit = longest if named_wait_s else min(longest, self._unit * 2)
        self._progress = 0.0

    def _of_bucket(self, left_at: float, base: float, refused_at: float) -> float:
        """The base after a refusal, where the limit is one a second."""
        elapsed = max(1e-3, left_at - refused_at)
        at_least = (self._taken - 1) / elapsed
        if self._progress >= 1:
            return max(at_least, self._trial.raised(base, self._exponent()))
        before = self._trial.failed()
        if before is not None:
            # What held before the trial is no worse for the trial's failing.
            return max(at_least, before)
        measured = (self._taken + 2) / max(1e-3, elapsed - self._idle_s)
        factor = 0.9 if self._progress < 0.5 else 1 - DIP
        return max(at_least, min(factor * self._learned_pace(), measured))

    def _recover(self, now: float, blocked_from: float) -> None:
        """The probe came through."""
        stopped_s = now - blocked_from
        self._blocked_from, self._probe_at = None, None
        # A wait that the server named was kept; it says nothing of its own about how long was needed.
        named = self._block_was_named
        if self._base is None and stopped_s >= WINDOW_STOP_S and not self._fitted:
            # Nothing had been taken in the minute before, so nothing is known of how much would have been.
            return
        if self._base is None:
            window = stopped_s >= WINDOW_STOP_S
            self.window_s = WINDOW_S if window else 1.0
            measured = self._fitted / WINDOW_S if window else self._taken_per_s(now, blocked_from - 1)
            self._base = max(SLOWEST_PER_S, measured)
            self._unit = max(FIRST_UNIT, WINDOW_S * self._base) if window else FIRST_UNIT
            if window and named and WINDOW_S * self._base >= FIRST_UNIT:
                # The number is known, and to make sure of it would cost another such wait.
                self._unit = max(LEAST_UNIT, WAITS_IN_A_UNIT * stopped_s * self._base)
        elif WINDOW_STOP_S <= stopped_s < LONGEST_WINDOW_STOP_S and self.window_s != WINDOW_S and not named:
            self.window_s = WINDOW_S
            self._base = max(SLOWEST_PER_S, min(self._base, self._fitted / WINDOW_S))
            self._unit = max(LEAST_UNIT, WINDOW_S * self._base)
        self._progress = 0.0
        self._due = now + 1 / self.pace_per_s

    def _taken_per_s(self, now: float, since: float) -> float:
        """Messages a second that were accepted since then, or since the first of them."""
        recent = [(tick, count) for tick, count in self._ticks if tick >= int(since * _TICKS)]
        if not recent:
            return 0.0
        return sum(count for _, count in recent) / max(0.05, now - max(since, recent[0][0] / _TICKS))

    def _in_window(self, now: float) -> int:
        """How many messages were accepted in the last minute."""
        first = int((now - WINDOW_S) * _TICKS)
        taken = 0
        for tick, count in reversed(self._ticks):
            if tick < first:
                break
            taken += count
        return taken
