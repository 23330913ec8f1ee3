"""A broadcast as its host sees it: started, paused, gone on with, stopped, and watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs

from genie_connect.broadcast.forecast import Forecast
from genie_connect.durable.ledger import Ledger
from genie_connect.errors import ValidationError
from genie_connect.failpoints import point
from genie_connect.model.outcome import State
from genie_connect.store.broadcasts import BroadcastRecord
from genie_connect.store.progress import ConnectionShare
from genie_connect.store.progress import Progress as Counts
from genie_connect.store.rejected import SettledCopy, settled_copies
from genie_connect.store.schema import BroadcastState

LOOK_EVERY_S: Final = 0.25
ENDED: Final = frozenset({BroadcastState.DONE, BroadcastState.STOPPED})


@attrs.frozen(kw_only=True)
class Progress:
    """How far a broadcast is. ``rate_per_s`` is what was settled since it was looked at last, in recipients a second.

    ``eta_s`` is in how many seconds it ends at that rate; ``None`` where nothing moves, or nothing is left. ``reason``
    is why it was paused or stopped.
    """

    id: int
    name: str
    state: str
    counts: Counts
    duplicates: int
    refused_rows: int
    rate_per_s: float
    eta_s: float | None
    reason: str | None
    connections: tuple[ConnectionShare, ...]


class Broadcast:
    """One broadcast in the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        record: BroadcastRecord,
        nudge: Callable[[], None],
        forecast: Forecast | None = None,
        rejects: Path | None = None,
    ) -> None:
        """``rejects`` is the file with the rows that were broken; known to who loaded it."""
        self.id = record.id
        self.name = record.name
        self.total = record.total
        self.duplicates = record.duplicates
        self.refused_rows = record.refused_rows
        self.created = datetime.fromtimestamp(record.created, UTC)
        self.forecast = forecast
        self.rejects = rejects
        self._ledger = ledger
        self._nudge = nudge
        self._seen: tuple[float, int] | None = None

    async def start(self) -> None:
        """Let workers have it. Raises ``BroadcastStateError``."""
        await self._ledger.broadcasts.start(self.id)
        point("broadcast.started")
        self._nudge()

    async def pause(self, *, reason: str | None = None) -> None:
        """Let nobody leave any more for now; what is under way ends. Raises ``BroadcastStateError``."""
        await self._ledger.broadcasts.pause(self.id, reason=reason)

    async def resume(self) -> None:
        """Go on. Raises ``BroadcastStateError``."""
        await self._ledger.broadcasts.resume(self.id)
        self._nudge()

    async def stop(self, *, reason: str | None = None) -> None:
        """End it for good: who has not left is never sent to. Raises ``BroadcastStateError``."""
        await self._ledger.broadcasts.stop(self.id, reason=reason)

    async def progress(self) -> Progress:
        """How far it is now."""
        counts = await self._ledger.progress.of(self.id)
        record = await self._ledger.broadcasts.get(self.id)
        rate = self._rate(counts)
        moving = counts.state is BroadcastState.RUNNING and rate > 0 and counts.remaining > 0
        return Progress(
            id=self.id,
            name=self.name,
            state=counts.state.name.lower(),
            counts=counts,
            duplicates=record.duplicates,
            refused_rows=record.refused_rows,
            rate_per_s=rate,
            eta_s=counts.remaining / rate if moving else None,
            reason=record.reason,
            connections=await self._ledger.progress.by_connection(self.id),
        )

    def rejected(self, states: Collection[State | str] = (State.REJECTED,)) -> AsyncIterator[SettledCopy]:
        """Whose copy was refused for good, one by one in the order of the list; the memory it takes is bounded.

        ``states`` may also ask for those that were given up (``deferred``), are ``suppressed``, or ``unknown``. Raises
        ``ValidationError`` for another state: of accepted copies only the number is kept.
        """
        wanted = {State(state) for state in states}
        if State.ACCEPTED in wanted:
            raise ValidationError.single("states", "accepted copies are counted, not listed", "leave accepted out")
        return settled_copies(self._ledger.database, self.id, wanted)

    async def wait(self, timeout_s: float | None = None) -> Progress:
        """How it ended, once it has. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s):
            # Another process may end it: there is nothing here that could tell.
            while await self._ledger.broadcasts.state(self.id) not in ENDED:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_S)
        return await self.progress()

    def _rate(self, counts: Counts) -> float:
        now = self._ledger.database.clock.monotonic()
        before, self._seen = self._seen, (now, counts.done)
        if before is None:
            ended = counts.finished or self._ledger.database.now()
            took = ended - (counts.started or ended)
            return counts.done / took if took > 0 else 0.0
        took = now - before[0]
        return max(0, counts.done - before[1]) / took if took > 0 else 0.0

    def __repr__(self) -> str:
        return f"Broadcast({self.id}, {self.name!r}, {self.total} recipients)"
