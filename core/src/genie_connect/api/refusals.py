"""Outcomes of what stays here: the request could not be made, so nothing was handed over."""

from __future__ import annotations

from genie_connect.errors import ValidationError
from genie_connect.model.address import Address
from genie_connect.model.outcome import Outcome, Retry, Scope, State


def unreadable(recipient: Address, error: OSError | ValidationError) -> Outcome:
    """The message cannot be put into a request: a file is gone, or the provider has no place for something."""
    if isinstance(error, OSError):
        text, hint = f"an attachment cannot be read: {error.strerror or 'it is gone'}", "Attach it again."
        reason = "internal"
    else:
        text, hint = "; ".join(str(problem) for problem in error.problems), "Say it in another way, or send elsewhere."
        reason = "unsupported"
    return Outcome(
        recipient=recipient.email,
        state=State.REJECTED,
        stage="plan",
        reason=reason,
        scope=Scope.MESSAGE,
        retry=Retry.OTHER,
        text=text,
        hint=hint,
    )


def not_shown(recipient: Address, title: str) -> Outcome:
    """Nobody of this call stands in To, and the provider takes none without.

    Moving the bcc there would show them to each other; writing somebody else there would send that one a copy.
    """
    return Outcome(
        recipient=recipient.email,
        state=State.REJECTED,
        stage="plan",
        reason="unsupported",
        scope=Scope.MESSAGE,
        retry=Retry.OTHER,
        text=f"{title} takes no message without anybody in To",
        hint="Give at least one address in to.",
    )
