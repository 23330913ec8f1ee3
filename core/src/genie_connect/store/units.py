"""Units of work as workers see them: offered, claimed, handed over, answered, given back, done.

Every write names the claim's owner and epoch. A worker that has lost a unit meanwhile, and comes back, changes nothing
with it; only what it knows of recipients who are ``unknown`` since is still taken in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.model.receipt import Attempt
from genie_connect.store import reaping
from genie_connect.store.claiming import Claiming, ClaimItem
from genie_connect.store.claims import Answer, Claim, HandOver, Offered
from genie_connect.store.database import Database
from genie_connect.store.hand_overs import AnsweredItem, HandOvers, LeavingItem
from genie_connect.store.letting_go import FinishItem, LettingGo, ReleaseItem
from genie_connect.store.offers import OFFER_S, Offers
from genie_connect.store.writer import Writer


class Units:
    """The units of one tenant."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._writer = writer
        self._offers = Offers(database)
        self._claiming = Claiming(database)
        self._hand_overs = HandOvers(database)
        self._letting_go = LettingGo(database)
        self._reaping = reaping.Reaping(database)

    async def offer(self, limit: int, *, for_s: float = OFFER_S) -> list[Offered]:
        """Units that are due and that no engine has: the higher priority first, sends before chunks, then the oldest.

        They are not offered again for so many seconds, or until they are withdrawn or released.
        """
        return await self._offers.offer(limit, for_s)

    @asynccontextmanager
    async def offering(
        self, limit: int, *, for_s: float = OFFER_S
    ) -> AsyncIterator[tuple[AsyncConnection, list[Offered]]]:
        """The same, with the transaction that says so: an engine that shares the store enqueues them in it."""
        async with self._offers.offering(limit, for_s) as (connection, offered):
            yield connection, offered

    async def withdraw(self, units: Sequence[int]) -> None:
        """The engine did not take these: offer them again at once."""
        if units:
            await self._writer.write(self._offers.withdraw, list(units), synced=False)

    async def waiting(self) -> int:
        """How many are offered and not claimed yet."""
        return await self._offers.waiting()

    async def claim(self, unit: int, owner: str) -> Claim | None:
        """Take a unit over for a worker; ``None`` where there is nothing to do for it now.

        That is so when it is another's, done, gone, not due, or of a broadcast that is not running.
        """
        return await self._writer.write(self._claiming.claim, ClaimItem(unit, owner), synced=False)

    async def leaving(self, claim: Claim, hand_over: HandOver) -> None:
        """Return once it is on disk that these positions may have left by this attempt.

        Raises ``StepBack`` with ``hand_back`` when the unit is no longer the claim's, its broadcast does not run, or
        one of the positions is settled already; then nobody may leave.
        """
        await self._writer.write(self._hand_overs.leaving, LeavingItem(claim, hand_over))

    async def answered(self, claim: Claim, attempt: Attempt, answers: Sequence[Answer]) -> bool:
        """Keep what came of a hand-over. A unit of which nobody is left is done with that.

        ``False`` says that the unit is no longer the claim's: what was ``unknown`` is resolved, all else left alone.
        To be awaited before one of the positions leaves again.
        """
        return await self._writer.write(self._hand_overs.answered, AnsweredItem(claim, attempt, answers), synced=False)

    async def settle(self, claim: Claim, answers: Sequence[Answer]) -> bool:
        """Keep outcomes that no hand-over brought: suppressed, not to be composed, no connection for it now.

        ``False`` says that the unit is no longer the claim's, and nothing was kept.
        """
        return await self._writer.write(self._hand_overs.answered, AnsweredItem(claim, None, answers), synced=False)

    async def release(self, claim: Claim, *, not_before: float | None = None, tried: bool = True) -> bool:
        """Give a unit back, to be claimed again from ``not_before`` (seconds since 1970; now without it).

        ``tried`` counts this as a pass that put somebody off. Whoever may have left without an answer is ``unknown``
        from then on. ``False`` says that the unit was not the claim's any more.
        """
        return await self._writer.write(self._letting_go.release, ReleaseItem(claim, not_before, tried), synced=False)

    async def finish(
        self, claim: Claim, *, giving_up: str | None = None, hint: str | None = None, plan: str | None = None
    ) -> bool:
        """End the work on a unit.

        With ``giving_up``, a reason such as ``expired``, those who are left are ``deferred`` for good; without it the
        unit is given back where somebody is left. ``plan`` replaces the plan of a send. ``False`` says that the unit
        was not the claim's any more; one that is done already is.
        """
        item = FinishItem(claim, giving_up, hint, plan)
        return await self._writer.write(self._letting_go.finish, item, synced=False)

    async def reap(self, limit: int = 200) -> list[int]:
        """Take units from workers that are not alive, for others to go on; the numbers of those that can be claimed.

        Whoever may have left is ``unknown``, unless ``at_least_once`` was chosen. A send whose caller waited for it is
        not gone on with: whoever had not left is ``deferred`` for good, with the reason ``interrupted``.
        """
        return await self._writer.write(self._reaping.reap, limit, synced=False)

    async def drop(self, owner: str) -> list[int]:
        """Take all units from a worker that ends; as ``reap`` does."""
        return await self._writer.write(self._reaping.drop, owner, synced=False)
