"""What is known for one recipient after an attempt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum

import attrs

from genie_connect.model.address import Address
from genie_connect.model.text import clean_reply


class State(StrEnum):
    """The five things that can be known. Only ``UNKNOWN`` leaves open whether the message was taken."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"


class Scope(StrEnum):
    """What an outcome says something about: this recipient, this message, or the whole connection."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    CONNECTION = "connection"


class Retry(StrEnum):
    """Where the same recipient may be tried again."""

    NEVER = "never"
    SAME = "same"
    """on this connection only, after a wait (greylisting starts anew for another sender)"""
    OTHER = "other"
    """on another connection only"""
    ANY = "any"
    """on this connection after a wait, or on another one now"""


def _seconds(value: float | None) -> float | None:
    """A wait as it can be waited: none that has passed, none without end."""
    if value is None or not math.isfinite(value):
        return None
    return max(0.0, value)


_is_text = attrs.validators.instance_of(str)
_may_be_text = attrs.validators.optional(_is_text)
_may_be_number = attrs.validators.optional(attrs.validators.instance_of(int))


@attrs.frozen(kw_only=True)
class Outcome:
    """One recipient's outcome.

    ``recipient`` is ``local@domain``. ``code`` is an SMTP reply code or HTTP status, ``enhanced`` an RFC 3463 code,
    ``text`` what the other side said, cleaned. ``reason`` is a word of the vocabulary in ``spec``
    (``recipient_rejected``, ``throttled``, ``auth``, ...), ``hint`` what to do, ``stage`` how far it had come.
    ``provider_id`` is the other side's id, kept apart from our Message-ID. ``suppress`` is set only where the other
    side said that the mailbox does not exist. Raises ``TypeError`` or ``ValueError`` for anything else, here and not
    when the outcome is acted on: by then the message has left.
    """

    recipient: str = attrs.field(validator=_is_text)
    state: State = attrs.field(converter=State)
    connection: str | None = attrs.field(default=None, validator=_may_be_text)
    stage: str = attrs.field(default="", validator=_is_text)
    code: int | None = attrs.field(default=None, validator=_may_be_number)
    enhanced: str | None = attrs.field(default=None, validator=_may_be_text)
    text: str | None = attrs.field(default=None, converter=attrs.converters.optional(clean_reply))
    reason: str | None = attrs.field(default=None, validator=_may_be_text)
    hint: str | None = attrs.field(default=None, validator=_may_be_text)
    scope: Scope = attrs.field(default=Scope.RECIPIENT, converter=Scope)
    retry: Retry = attrs.field(default=Retry.NEVER, converter=Retry)
    retry_after_s: float | None = attrs.field(default=None, converter=_seconds)
    provider_id: str | None = attrs.field(default=None, validator=_may_be_text)
    suppress: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))

    def __attrs_post_init__(self) -> None:
        if self.state in (State.ACCEPTED, State.UNKNOWN, State.SUPPRESSED) and self.retry is not Retry.NEVER:
            # The message may be there already (RFC 1047): trying again would be a second copy.
            raise ValueError(f"an outcome {self.state.value} cannot ask for another attempt")

    @property
    def final(self) -> bool:
        """Whether nothing more is to be tried for this recipient."""
        return self.retry is Retry.NEVER


class Outcomes(Mapping[str, Outcome]):
    """Outcomes by recipient. Any spelling of an address finds its outcome."""

    __slots__ = ("_by_key",)

    def __init__(self, outcomes: Mapping[str, Outcome] | None = None) -> None:
        self._by_key = {Address.parse(email).key: outcome for email, outcome in (outcomes or {}).items()}

    def __getitem__(self, recipient: str | Address) -> Outcome:
        return self._by_key[Address.parse(recipient).key]

    def __iter__(self) -> Iterator[str]:
        return (outcome.recipient for outcome in self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.counts().items())
        return f"Outcomes({counts})"

    def counts(self) -> dict[str, int]:
        """How many recipients are in each state; states nobody is in are left out."""
        found = [outcome.state for outcome in self._by_key.values()]
        return {state.value: found.count(state) for state in State if state in found}
