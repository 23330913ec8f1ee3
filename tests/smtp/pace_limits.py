"""Servers with any limits, and whether the pace finds them: some in tests/smtp, many in tests/faults."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from genie_connect_smtp.pace import Pace
from tests.smtp.pace_simulator import Limits, Server, Simulation

_ROUND_TRIP_S = 0.02
_FASTEST_PER_S = 200.0
"""Faster ones take long to simulate and show nothing else."""


@attrs.frozen(kw_only=True)
class Limited:
    """A server with limits, and how it is sent to."""

    limits: Limits
    workers: int
    window: int

    @property
    def allowed_per_s(self) -> float:
        """What limits and round trips allow."""
        return min(self.limits.messages_per_s, self.workers * self.window / _ROUND_TRIP_S)


@st.composite
def limited(draw: st.DrawFn) -> Limited:
    """A rate, a number a minute, both or neither; only those that can be simulated in reasonable time."""
    limits = Limits(
        per_s=draw(st.none() | st.floats(1, _FASTEST_PER_S)),
        per_minute=draw(st.none() | st.integers(10, 5000)),
        burst=draw(st.integers(1, 50)),
    )
    window = draw(st.sampled_from([1, 8]))
    workers = draw(st.sampled_from([1, 10]))
    case = Limited(limits=limits, workers=workers, window=window)
    return case if case.allowed_per_s <= _FASTEST_PER_S else attrs.evolve(case, workers=1, window=1)


def check_limits_are_found(case: Limited) -> None:
    """At most 5 % refused and at least 80 % used after three minutes; and again after a pause of three minutes."""
    simulation = Simulation(
        Server(case.limits),
        Pace(max_connections=case.workers, messages_per_connection=10_000),
        workers=case.workers,
        window=case.window,
        round_trip_s=_ROUND_TRIP_S,
        demand=lambda now: not 480 <= now < 660,
    )
    tally = simulation.run(14 * 60.0)
    for first, last in ((3, 8), (12, 14)):
        assert tally.taken(first, last) >= 0.8 * case.allowed_per_s * 60 * (last - first) - 1
        refused = tally.throttled_share(first, last) * (tally.taken(first, last) + 1)
        assert refused <= 0.05 * tally.taken(first, last) + 1
