"""What the attempt loop knows of one recipient who has no final outcome yet."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from genie_connect.model.batch import Cleared
from genie_connect.model.outcome import Outcome, Retry, Scope, State

# Nearly everybody has an outcome after one attempt and none of this: shared by all, replaced by those who differ.
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@attrs.define(eq=False)
class Pending:
    """A recipient without a final outcome: what is known so far, and where it may go next.

    ``doubt`` is set once a hand-over had no answer. ``repeat`` is then the batch that went without one, which only as
    a whole is recognised by its key. ``tries`` and ``ready_at`` are by connection.
    """

    delivery: int
    cleared: Cleared
    outcome: Outcome | None = None
    doubt: Outcome | None = None
    repeat: tuple[Pending, ...] = ()
    barred: frozenset[str] = frozenset()
    bound_to: str | None = None
    ready_at: Mapping[str, float] = _NOTHING
    tries: Mapping[str, int] = _NOTHING

    @property
    def email(self) -> str:
        """The address, as an outcome names it."""
        return self.cleared.address.email

    def tried(self, connection: str) -> None:
        """Count one more attempt on this connection."""
        self.tries = {**self.tries, connection: self.tries.get(connection, 0) + 1}

    def goes_on_from(self, outcome: Outcome) -> None:
        """Keep to where the outcome of an earlier pass lets this recipient go."""
        self.outcome = outcome
        if outcome.state is State.UNKNOWN:
            self.doubt = outcome
        elif outcome.retry is Retry.SAME:
            self.bound_to = outcome.connection
        elif outcome.retry is Retry.OTHER and outcome.connection is not None:
            self.bar(outcome.connection)

    def repeats(self, batch: tuple[Pending, ...], connection: str) -> None:
        """Go with this batch, as it went before, and nowhere else."""
        self.repeat = batch
        self.bound_to = connection

    def bar(self, connection: str) -> None:
        """Do not go to this connection again."""
        self.barred |= {connection}

    def not_before(self, connection: str, at: float) -> None:
        """Do not go to this connection before that time."""
        self.ready_at = {**self.ready_at, connection: at}

    def eligible(self, connection: str, most_tries: int) -> bool:
        """Whether this connection may be tried, now or after a wait."""
        if self.bound_to not in (None, connection) or connection in self.barred:
            return False
        return self.tries.get(connection, 0) < most_tries

    def final(self, outcome: Outcome) -> Outcome:
        """What is known in the end: a doubt stays one unless the same provider resolved it."""
        return outcome if self.doubt is None or resolves(self.doubt, outcome) else self.doubt


def resolves(doubt: Outcome, outcome: Outcome) -> bool:
    """Whether a later outcome says what became of a copy in doubt.

    One that was accepted has arrived, by whatever way. No other connection can tell that the first did not take it.
    """
    if outcome.state is State.ACCEPTED:
        return True
    refused = (outcome.state, outcome.scope, outcome.retry) == (State.REJECTED, Scope.RECIPIENT, Retry.NEVER)
    return refused and outcome.connection == doubt.connection
