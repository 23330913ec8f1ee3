"""The journal of a send whose caller waits for it: written with its first hand-over, ended with its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from genie_connect.delivery.journal import Leaving, StepBack
from genie_connect.durable.doubts import Doubts
from genie_connect.durable.journal import STALE, UnitJournal, hand_over_of
from genie_connect.durable.ledger import Ledger
from genie_connect.errors import IdempotencyConflict
from genie_connect.failpoints import point
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect.model.receipt import Attempt
from genie_connect.store.accepting import NewSend
from genie_connect.store.claims import Answer, Claim

_CERTAINTY = {State.ACCEPTED: 2, State.UNKNOWN: 1}
"""What outweighs what, where the caller has gone before the end: put off after a doubt is still in doubt."""
ENDED = "ended"
ENDED_HINT = "Its caller was told so; nothing more is tried unless it is sent again."


class PlainJournal:
    """Writes a plain send down. ``make`` gives what is to be written, once there is something to write."""

    def __init__(self, ledger: Ledger, make: Callable[[], NewSend], positions: Mapping[str, int]) -> None:
        self._ledger = ledger
        self._make = make
        self._positions = positions
        self._claim: Claim | None = None
        self._rest: UnitJournal | None = None
        self._postponed: list[tuple[Attempt, Sequence[Outcome]]] = []
        self.key_taken = False
        """Whether another send was quicker with the same idempotency key."""

    @property
    def unit(self) -> int | None:
        """The number of the send; ``None`` as long as nobody was to leave."""
        return None if self._claim is None else self._claim.unit

    async def leaving(self, leaving: Leaving) -> None:
        """Return once it is on disk who may have left. Raises ``StepBack``."""
        if self._rest is not None:
            await self._rest.leaving(leaving)
            return
        if not self._ledger.workers.fresh:
            raise StepBack(STALE, hint="the store does not answer; send again when it does")
        positions = [self._positions[address.key] for address in leaving.batch.recipients]
        hand_over = hand_over_of(leaving, positions)
        point("plain.open.before")
        owner = self._ledger.workers.id
        try:
            self._claim = await self._ledger.sends.open(self._make(), owner=owner, hand_over=hand_over)
        except IdempotencyConflict as error:
            self.key_taken = True
            raise StepBack(error.message, hand_back=True) from None
        point("plain.open.after")
        doubts = Doubts(tried_again=False)
        self._rest = UnitJournal(self._ledger.units, self._claim, self._positions, self._ledger.workers, doubts)
        self._rest.resume(leaving.attempt_id, positions)

    async def answered(self, attempt: Attempt, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of it.

        A doubt is final in the ledger, and here it may not be: with a key that the provider honours the batch is
        repeated at once. So from a doubt on answers wait for the end. Until then the hand-overs stand without one,
        which is the same doubt, should we die.
        """
        if self._rest is None:
            return
        if self._postponed or any(outcome.state is State.UNKNOWN for outcome in outcomes):
            self._postponed.append((attempt, outcomes))
            return
        await self._rest.answered(attempt, outcomes)

    async def end(self, outcomes: Mapping[str, Outcome] | None = None) -> None:
        """The caller's send is over: with these outcomes by address key, or without any, when it was cancelled."""
        if self._claim is None or self._rest is None:
            return
        known = {self._positions[key]: outcome for key, outcome in (outcomes or {}).items() if key in self._positions}
        await self._keep_postponed(self._rest, known)
        said = self._rest.said
        news = [
            Answer(position, outcome, outcome.retry is Retry.NEVER)
            for position, outcome in known.items()
            if said.get(position) != outcome
        ]
        point("plain.end.before")
        if news:
            await self._ledger.units.settle(self._claim, news)
        await self._ledger.units.finish(self._claim, giving_up=ENDED, hint=ENDED_HINT)
        point("plain.end.after")

    async def _keep_postponed(self, rest: UnitJournal, known: Mapping[int, Outcome]) -> None:
        """Each position is told by the attempt whose outcome is the one that counts in the end."""
        teller: dict[int, tuple[int, str]] = {}
        for attempt, outcomes in self._postponed:
            for position, outcome in zip(rest.positions_of(attempt.id), outcomes, strict=True):
                end = known.get(position)
                weight = _CERTAINTY.get(outcome.state, 0) if end is None else int(end.state is outcome.state)
                if weight > teller.get(position, (0, ""))[0]:
                    teller[position] = (weight, attempt.id)
        postponed, self._postponed = self._postponed, []
        for attempt, outcomes in postponed:
            told = {position for position, (_, attempt_id) in teller.items() if attempt_id == attempt.id}
            await rest.answered(attempt, outcomes, only=told)

    async def abandon(self) -> None:
        """The caller was cancelled: who may have left is unknown."""
        await asyncio.shield(self.end())
