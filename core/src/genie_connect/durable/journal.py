"""The journal of one claimed unit: what the attempt loop says of recipients, by their positions in the ledger."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Final, Protocol

import attrs

from genie_connect.delivery.journal import Leaving, StepBack
from genie_connect.durable.doubts import Doubts
from genie_connect.failpoints import point
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect.store import bitmap
from genie_connect.store.claims import Claim, HandOver
from genie_connect.store.units import Units

MARGIN_S: Final = 60.0
"""A key is not relied on for so long before its end: clocks differ, and a request takes its time."""
STALE: Final = "this worker has not been heard of for too long to be sure that the unit is still its own"


class Vital(Protocol):
    """Whether we are still taken for alive."""

    @property
    def fresh(self) -> bool:
        """Whether nobody can have taken our units."""
        ...


class UnitJournal:
    """Writes down hand-overs of a claim. ``positions`` is by address key.

    ``repeats`` is the hand-over whose batch goes once more: the provider's time for its key runs from the first.
    """

    def __init__(
        self,
        units: Units,
        claim: Claim,
        positions: Mapping[str, int],
        vital: Vital,
        doubts: Doubts,
        *,
        repeats: HandOver | None = None,
    ) -> None:
        self._units = units
        self._claim = claim
        self._positions = positions
        self._vital = vital
        self._doubts = doubts
        self._repeats = repeats
        self._by_key: set[str] = set()
        self._leaving: dict[str, list[int]] = {}
        self.said: dict[int, Outcome] = {}
        """What the last hand-over of each position brought, as the ledger has it but for copies in doubt."""

    async def leaving(self, leaving: Leaving) -> None:
        """Return once it is on disk who may have left. Raises ``StepBack``."""
        self._check()
        positions = [self._positions[address.key] for address in leaving.batch.recipients]
        point("journal.leaving.before")
        hand_over = hand_over_of(leaving, positions)
        if self._repeats is not None:
            hand_over = attrs.evolve(hand_over, repeat_until=self._repeats.repeat_until)
        await self._units.leaving(self._claim, hand_over)
        point("journal.leaving.after")
        # Stopped for a while just now, we may have been taken for dead. Nothing has left yet.
        self._check()
        self._leaving[leaving.attempt_id] = positions
        if hand_over.repeat_until is not None:
            self._by_key.add(leaving.attempt_id)

    def resume(self, attempt_id: str, positions: list[int]) -> None:
        """Go on after a hand-over that was written down elsewhere."""
        self._leaving[attempt_id] = positions

    def positions_of(self, attempt_id: str) -> list[int]:
        """Whom a hand-over was for that has not been answered yet, in the order of its outcomes."""
        return self._leaving[attempt_id]

    async def answered(
        self, attempt: Attempt, outcomes: Sequence[Outcome], *, only: Container[int] | None = None
    ) -> None:
        """Keep what came of it; of all it was for, or of ``only`` these positions, where others know better."""
        pairs = zip(self._leaving.pop(attempt.id), outcomes, strict=True)
        said = {position: outcome for position, outcome in pairs if only is None or position in only}
        answers = self._doubts.answers(said, attempt.id, by_key=attempt.id in self._by_key)
        point("journal.answered.before")
        await self._units.answered(self._claim, attempt, answers)
        point("journal.answered.after")
        self.said.update(said)

    def _check(self) -> None:
        if not self._vital.fresh:
            raise StepBack(STALE, hint="another worker goes on with it", hand_back=True)


def hand_over_of(leaving: Leaving, positions: Sequence[int]) -> HandOver:
    """A hand-over as the ledger takes it."""
    started, kept_s = leaving.started.timestamp(), (leaving.key_kept_s or 0.0) - MARGIN_S
    return HandOver(
        attempt_id=leaving.attempt_id,
        connection=leaving.connection,
        key=leaving.idempotency_key,
        positions=bitmap.of(positions),
        started=started,
        repeat_until=started + kept_s if kept_s > 0.0 else None,
    )
