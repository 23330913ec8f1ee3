"""The record of a send."""

from __future__ import annotations

from datetime import datetime

import attrs

from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.outcome import Outcomes, State
from genie_connect.model.plan import Plan


@attrs.frozen(kw_only=True)
class DoubtfulCopy:
    """A copy of whose hand-over nobody knows what became of it: our Message-ID, and the bare address it went to."""

    message_id: str
    recipient: str


@attrs.frozen(kw_only=True)
class Attempt:
    """One try to hand a batch to one connection.

    ``stage`` is how far it came (``final`` is the answer to the whole message), ``outcome`` what came of it:
    a state, or ``partial`` where recipients differ. ``ms`` is wall time in milliseconds, ``started`` when it began.
    ``in_doubt`` are those whose outcome is ``unknown``: what a provider can be asked after.
    """

    id: str
    connection: str
    stage: str
    outcome: str
    reason: str | None = None
    text: str | None = None
    hint: str | None = None
    recipients: int = 1
    ms: int = 0
    started: datetime | None = None
    in_doubt: tuple[DoubtfulCopy, ...] = ()


@attrs.frozen(kw_only=True)
class Receipt:
    """What was planned, tried and known when the send returned.

    ``id`` is under which a host with a store knows the send. ``pending`` says that it goes on: outcomes that are there
    may still change, and those that are not are to come.

    ``tags`` and ``metadata`` are the message's: by the ``message_id`` they are joined to events of providers that do
    not carry them.
    """

    message_id: str
    outcomes: Outcomes
    attempts: tuple[Attempt, ...]
    plan: Plan
    tags: tuple[str, ...] = ()
    metadata: FrozenMap[str] = EMPTY
    id: int | None = None
    pending: bool = False

    @property
    def accepted(self) -> bool:
        """Whether every recipient that was not suppressed was accepted."""
        return bool(self.outcomes) and all(
            outcome.state in (State.ACCEPTED, State.SUPPRESSED) for outcome in self.outcomes.values()
        )

    @property
    def connection(self) -> str | None:
        """The connection that accepted it, the first where several did."""
        for outcome in self.outcomes.values():
            if outcome.state is State.ACCEPTED:
                return outcome.connection
        return None
