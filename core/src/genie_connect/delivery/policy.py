"""How hard a send is tried."""

from __future__ import annotations

from typing import Final

import attrs

from genie_connect.errors import Problem, ValidationError


@attrs.frozen(kw_only=True)
class SendPolicy:
    """How hard to try within one call. Times in seconds.

    ``at_least_once`` sends again where an answer was lost, and so, now and then, twice. It alone holds for durable
    sends and broadcasts too, after a crash as well. How often those are tried, and when, is a matter of ``[engine]``.
    """

    attempts_per_connection: int = 3
    longest_wait_s: float = 30.0
    first_backoff_s: float = 1.0
    at_least_once: bool = False


IN_ONE_CALL: Final = ("attempts_per_connection", "longest_wait_s", "first_backoff_s")
"""What says nothing of a send that outlives its call."""


def checked_durable(policy: SendPolicy | None, timeout_s: float, usual_timeout_s: float) -> None:
    """Raise ``ValidationError`` for what a caller asks of a durable send that holds within one call only."""
    hint = "leave it out: durable sends are tried by first_retry_s and give_up_after_s of [engine], until expires"
    usual = SendPolicy()
    asked = [f"policy.{name}" for name in IN_ONE_CALL if policy and getattr(policy, name) != getattr(usual, name)]
    if timeout_s != usual_timeout_s:
        asked.append("timeout_s")
    if asked:
        problems = [Problem(field, "holds within one call, and this send outlives it", hint) for field in asked]
        raise ValidationError(problems, what="durable send")
