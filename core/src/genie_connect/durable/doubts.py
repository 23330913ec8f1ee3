"""Those of a unit who may have left without an answer: what each new outcome makes of the doubt.

A copy in doubt is tried again where that cannot make a second one (the same batch under a key that the provider
recognises), or where the host chose ``at_least_once``. Until an outcome says what became of it, it stays ``unknown``:
that nobody took the repetition says nothing of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from genie_connect.delivery.pending import resolves
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect.store.claims import Answer, Earlier


class Doubts:
    """The doubts of one claim. Without ``tried_again`` nobody ever is, as in a send whose caller waits for it."""

    def __init__(
        self, earlier: Mapping[int, Earlier] | None = None, *, at_least_once: bool = False, tried_again: bool = True
    ) -> None:
        self.at_least_once = at_least_once
        self._tried_again = tried_again
        self._waiting: dict[int, tuple[Outcome, str | None]] = {
            position: (before.outcome, before.attempt_id)
            for position, before in (earlier or {}).items()
            if before.outcome.state is State.UNKNOWN
        }

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[int]:
        return iter(tuple(self._waiting))

    def __contains__(self, position: object) -> bool:
        """Whether a position is in doubt and may be tried again."""
        return position in self._waiting

    def of(self, position: int) -> Outcome:
        """The outcome that says so."""
        return self._waiting[position][0]

    def answers(self, said: Mapping[int, Outcome], attempt_id: str, *, by_key: bool = False) -> list[Answer]:
        """What the answers of a hand-over mean for the ledger. ``by_key``: the provider would recognise it."""
        if not self._waiting and not any(each.state is State.UNKNOWN for each in said.values()):
            return [Answer(position, outcome, outcome.retry is Retry.NEVER) for position, outcome in said.items()]
        may = self._tried_again and (
            self.at_least_once or (by_key and all(self._is_open(*each) for each in said.items()))
        )
        return [self._answer(position, outcome, attempt_id, may) for position, outcome in said.items()]

    def untried(self, position: int, outcome: Outcome) -> Answer:
        """What an outcome that no hand-over brought means: whoever is in doubt stays so."""
        final = outcome.retry is Retry.NEVER
        return self._still(position, final) if position in self._waiting else Answer(position, outcome, final)

    def given_up(self, positions: Iterable[int]) -> list[Answer]:
        """Nobody tries these again: what they are in the end."""
        return [self._still(position, final=True) for position in positions]

    def _is_open(self, position: int, outcome: Outcome) -> bool:
        """Only a batch of which everybody is still in doubt can go again as it was."""
        return outcome.state is State.UNKNOWN or (position in self._waiting and outcome.retry is not Retry.NEVER)

    def _answer(self, position: int, outcome: Outcome, attempt_id: str, may: bool) -> Answer:
        final = outcome.retry is Retry.NEVER
        if outcome.state is State.UNKNOWN:
            self._waiting[position] = (outcome, attempt_id)
            return self._still(position, not may)
        if position in self._waiting and not resolves(self.of(position), outcome):
            return self._still(position, final or not may)
        self._waiting.pop(position, None)
        return Answer(position, outcome, final)

    def _still(self, position: int, final: bool) -> Answer:
        doubt, attempt_id = self._waiting[position]
        if final:
            del self._waiting[position]
        return Answer(position, doubt, final, attempt_id)
