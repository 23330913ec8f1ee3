"""A parser that says how many secrets it was given."""

from __future__ import annotations

from collections.abc import Sequence

from genie_connect.contract import WebhookRequest
from genie_connect.model.event import Event, EventKind
from genie_connect.model.secret import Secret


def parse_webhook(secrets: Sequence[Secret | None], request: WebhookRequest) -> tuple[Event, ...]:
    """One event, whatever the request."""
    given = [secret for secret in secrets if secret is not None]
    return (Event(id=f"{len(given)} secrets", kind=EventKind.DELIVERED, time=request.received_at),)
