"""How hard a send is tried."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class SendPolicy:
    """How hard to try within one call. Times in seconds.

    ``at_least_once`` sends again where an answer was lost, and so, now and then, twice.
    """

    attempts_per_connection: int = 3
    longest_wait_s: float = 30.0
    first_backoff_s: float = 1.0
    at_least_once: bool = False
