"""Outcomes of recipients who were not handed over, and why: nobody on the other side was asked."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from genie_connect.delivery.breaker import BreakerState
from genie_connect.delivery.connection import Connection
from genie_connect.errors import GenieConnectError
from genie_connect.model.outcome import Outcome, Retry, Scope, State


def untried(paused: Iterable[Connection], recipient: str) -> Outcome:
    """Every connection is paused, or the deadline came first: try again later."""
    soonest = min(paused, key=lambda connection: connection.breaker.pause_s)
    return Outcome(
        recipient=recipient,
        state=State.DEFERRED,
        connection=soonest.name,
        stage="plan",
        reason="deadline" if soonest.breaker.state is BreakerState.CLOSED else "paused",
        text=soonest.breaker.reason or None,
        hint=soonest.breaker.hint or None,
        scope=Scope.CONNECTION,
        retry=Retry.ANY,
        retry_after_s=soonest.breaker.pause_s,
    )


def not_opened(recipients: Iterable[str], error: Exception) -> tuple[Outcome, ...]:
    """The connector could not be opened."""
    # The text of a foreign exception may hold a secret; its type does not.
    text = str(error) if isinstance(error, GenieConnectError) else type(error).__name__
    refusal = Outcome(
        recipient="",
        state=State.DEFERRED,
        stage="open",
        reason="open_failed",
        text=text,
        hint="The connector could not be opened: check its settings.",
        scope=Scope.CONNECTION,
        retry=Retry.OTHER,
    )
    return _for_each(recipients, refusal)


def over_limit(recipients: Iterable[str], wait_s: float) -> tuple[Outcome, ...]:
    """The connection's own limit leaves no room for so long."""
    no_room = Outcome(
        recipient="",
        state=State.DEFERRED,
        stage="open",
        reason="own_limit",
        hint="The connection's own rate limit leaves no room before the deadline.",
        scope=Scope.MESSAGE,
        retry=Retry.ANY,
        retry_after_s=wait_s,
    )
    return _for_each(recipients, no_room)


def unchecked(recipient: str) -> Outcome:
    """The suppressions cannot be read, so nobody may be written to."""
    return Outcome(
        recipient=recipient,
        state=State.DEFERRED,
        stage="plan",
        reason="suppressions_unavailable",
        hint="The list of suppressions cannot be read, so nobody may be written to. Repair it and send again.",
        scope=Scope.MESSAGE,
        retry=Retry.ANY,
    )


def unwritten(recipient: str, *, cause: str, hint: str) -> Outcome:
    """The journal cannot be written, so nobody may leave: after a crash nobody would know of it."""
    return Outcome(
        recipient=recipient,
        state=State.DEFERRED,
        stage="plan",
        reason="journal_unavailable",
        text=cause,
        hint=hint or "The journal cannot be written, so nobody may leave. Repair the store and send again.",
        scope=Scope.MESSAGE,
        retry=Retry.ANY,
    )


def _for_each(recipients: Iterable[str], outcome: Outcome) -> tuple[Outcome, ...]:
    return tuple(attrs.evolve(outcome, recipient=recipient) for recipient in recipients)
