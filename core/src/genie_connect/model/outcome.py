"""What is known for one recipient after an attempt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from operator import attrgetter
from types import NoneType
from typing import Final

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


def _state(value: State | str) -> State:
    return value if type(value) is State else State(value)


def _scope(value: Scope | str) -> Scope:
    return value if type(value) is Scope else Scope(value)


def _retry(value: Retry | str) -> Retry:
    return value if type(value) is Retry else Retry(value)


def _cleaned(value: str | bytes | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | bytes):
        raise TypeError(f"an outcome's text has to be text, not {type(value).__name__}")
    return clean_reply(value)


def _seconds(value: float | None) -> float | None:
    """A wait as it can be waited: none that has passed, none without end."""
    if value is None or not math.isfinite(value):
        return None
    return max(0.0, value)


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "recipient": (str,),
    "connection": (str, NoneType),
    "stage": (str,),
    "code": (int, NoneType),
    "enhanced": (str, NoneType),
    "reason": (str, NoneType),
    "hint": (str, NoneType),
    "provider_id": (str, NoneType),
    "suppress": (bool,),
}
_typed_values = attrgetter(*_TYPES)
_USUAL_TYPES: Final = frozenset(itertools.product(*_TYPES.values()))
_MAY_ASK_AGAIN: Final = frozenset({State.DEFERRED, State.REJECTED})


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

    recipient: str
    state: State = attrs.field(converter=_state)
    connection: str | None = None
    stage: str = ""
    code: int | None = None
    enhanced: str | None = None
    text: str | None = attrs.field(default=None, converter=_cleaned)
    reason: str | None = None
    hint: str | None = None
    scope: Scope = attrs.field(default=Scope.RECIPIENT, converter=_scope)
    retry: Retry = attrs.field(default=Retry.NEVER, converter=_retry)
    retry_after_s: float | None = attrs.field(default=None, converter=_seconds)
    provider_id: str | None = None
    suppress: bool = False

    def __attrs_post_init__(self) -> None:
        # One look for all of them, because there is an outcome for every recipient.
        if tuple(map(type, _typed_values(self))) not in _USUAL_TYPES:
            self._check_types()
        if self.retry is not Retry.NEVER and self.state not in _MAY_ASK_AGAIN:
            # The message may be there already (RFC 1047): trying again would be a second copy.
            raise ValueError(f"an outcome {self.state.value} cannot ask for another attempt")

    def _check_types(self) -> None:
        for (name, types), value in zip(_TYPES.items(), _typed_values(self), strict=True):
            if not isinstance(value, types):
                expected = " or ".join([each.__name__ for each in types])
                raise TypeError(f"an outcome's {name} has to be {expected}, not {type(value).__name__}")

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
