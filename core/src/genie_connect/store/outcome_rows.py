"""Outcomes as rows of the table, and back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.store.schema import outcomes
from genie_connect.store.statements import AnyRow


def to_row(
    tenant: str,
    unit: int,
    position: int,
    outcome: Outcome,
    *,
    attempt_id: str | None,
    at: float,
    tries: int = 1,
    resolved_by: str | None = None,
) -> dict[str, Any]:
    """The row that says an outcome. ``at`` is seconds since 1970."""
    return {
        "unit_id": unit,
        "position": position,
        "tenant": tenant,
        "recipient": outcome.recipient,
        "state": outcome.state.value,
        "connection": outcome.connection,
        "attempt_id": attempt_id,
        "stage": outcome.stage,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "text": outcome.text,
        "reason": outcome.reason,
        "hint": outcome.hint,
        "scope": outcome.scope.value,
        "retry": outcome.retry.value,
        "provider_id": outcome.provider_id,
        "tries": tries,
        "at": at,
        "resolved_by": resolved_by,
    }


def from_row(row: AnyRow) -> Outcome:
    """The outcome that a row says. How long to wait, and whether to suppress, has been acted on and is not kept."""
    return Outcome(
        recipient=row.recipient,
        state=State(row.state),
        connection=row.connection,
        stage=row.stage,
        code=row.code,
        enhanced=row.enhanced,
        text=row.text,
        reason=row.reason,
        hint=row.hint,
        scope=Scope(row.scope),
        retry=Retry(row.retry),
        provider_id=row.provider_id,
    )


def position_is(unit: int, position: int) -> sa.ColumnElement[bool]:
    """The row of one position."""
    return sa.and_(outcomes.c.unit_id == unit, outcomes.c.position == position)
