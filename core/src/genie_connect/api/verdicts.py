"""What providers say no for, in the words of outcomes: the values of their tables of errors."""

from __future__ import annotations

from genie_connect.http.outcomes import TEMPORARY, THROTTLED, UNKNOWN, Verdict
from genie_connect.model.outcome import Retry, Scope, State

__all__ = [
    "AUTH",
    "CONTENT",
    "MALFORMED",
    "NOT_ALLOWED",
    "QUOTA",
    "RECIPIENT",
    "RECIPIENT_BLOCKED",
    "SENDER",
    "SUSPENDED",
    "TEMPLATE",
    "TEMPORARY",
    "THROTTLED",
    "TOO_LARGE",
    "UNKNOWN",
]


def _of(state: State, reason: str, scope: Scope, retry: Retry, hint: str) -> Verdict:
    return Verdict(state=state, reason=reason, scope=scope, retry=retry, hint=hint)


_CONNECTION, _MESSAGE, _RECIPIENT = Scope.CONNECTION, Scope.MESSAGE, Scope.RECIPIENT

AUTH = _of(State.DEFERRED, "auth", _CONNECTION, Retry.OTHER, "Check the API key and what it may do.")
SUSPENDED = _of(State.DEFERRED, "policy", _CONNECTION, Retry.OTHER, "The provider has stopped the account; ask there.")
QUOTA = _of(State.DEFERRED, "throttled", _CONNECTION, Retry.OTHER, "The quota of the account is used up.")
SENDER = _of(
    State.REJECTED,
    "sender_rejected",
    _MESSAGE,
    Retry.OTHER,
    "The account may not use this From; verify the address or its domain at the provider.",
)
RECIPIENT = _of(
    State.REJECTED, "recipient_rejected", _RECIPIENT, Retry.NEVER, "The provider says that this is no address."
)
RECIPIENT_BLOCKED = _of(
    State.REJECTED,
    "recipient_rejected",
    _RECIPIENT,
    Retry.NEVER,
    "The address is on the provider's list of bounces, complaints or unsubscribes; look it up there.",
)
"""Never another connection: the provider's list says what became of earlier mail to the address."""
CONTENT = _of(
    State.REJECTED, "content_rejected", _MESSAGE, Retry.NEVER, "The provider refuses the message for what it says."
)
MALFORMED = _of(
    State.REJECTED,
    "permanent",
    _MESSAGE,
    Retry.OTHER,
    "The provider cannot use the message as it stands; see its text.",
)
TEMPLATE = _of(
    State.REJECTED,
    "permanent",
    _MESSAGE,
    Retry.OTHER,
    "Check the id of the template and the data it is filled in with.",
)
TOO_LARGE = _of(State.REJECTED, "too_large", _MESSAGE, Retry.OTHER, "The message is bigger than the provider takes.")
NOT_ALLOWED = _of(
    State.REJECTED, "unsupported", _MESSAGE, Retry.OTHER, "The account may not do this; see the provider's text."
)
