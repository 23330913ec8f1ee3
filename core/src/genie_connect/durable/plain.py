"""The journal of a send whose caller waits for it: written with its first hand-over, ended with its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from genie_connect.delivery.journal import Leaving, StepBack
from genie_connect.durable.journal import STALE, UnitJournal, answer_of
from genie_connect.durable.ledger import Ledger
from genie_connect.failpoints import point
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect.store import bitmap
from genie_connect.store.accepting import NewSend
from genie_connect.store.claims import Claim, HandOver

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
        self._first: tuple[str, list[int]] | None = None

    @property
    def unit(self) -> int | None:
        """The number of the send; ``None`` as long as nobody was to leave."""
        return None if self._claim is None else self._claim.unit

    async def leaving(self, leaving: Leaving) -> None:
        """Return once it is on disk who may have left. Raises ``StepBack``, and ``IdempotencyConflict``."""
        if self._rest is not None:
            await self._rest.leaving(leaving)
            return
        if not self._ledger.workers.fresh:
            raise StepBack(STALE, hint="the store does not answer; send again when it does")
        positions = [self._positions[address.key] for address in leaving.batch.recipients]
        hand_over = HandOver(
            attempt_id=leaving.attempt_id,
            connection=leaving.connection,
            key=leaving.idempotency_key,
            positions=bitmap.of(positions),
            started=leaving.started.timestamp(),
        )
        point("plain.open.before")
        self._claim = await self._ledger.sends.open(self._make(), owner=self._ledger.workers.id, hand_over=hand_over)
        point("plain.open.after")
        self._rest = UnitJournal(self._ledger.units, self._claim, self._positions, self._ledger.workers)
        self._rest.resume(leaving.attempt_id, positions)

    async def answered(self, attempt: Attempt, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of it."""
        if self._rest is not None:
            await self._rest.answered(attempt, outcomes)

    async def end(self, outcomes: Mapping[str, Outcome] | None = None) -> None:
        """The caller's send is over: with these outcomes by address key, or without any, when it was cancelled."""
        if self._claim is None or self._rest is None:
            return
        said = self._rest.said
        news = [
            answer_of(self._positions[key], outcome)
            for key, outcome in (outcomes or {}).items()
            if key in self._positions and said.get(self._positions[key]) != outcome
        ]
        point("plain.end.before")
        if news:
            await self._ledger.units.settle(self._claim, news)
        await self._ledger.units.finish(self._claim, giving_up=ENDED, hint=ENDED_HINT)
        point("plain.end.after")

    async def abandon(self) -> None:
        """The caller was cancelled: who may have left is unknown."""
        await asyncio.shield(self.end())
