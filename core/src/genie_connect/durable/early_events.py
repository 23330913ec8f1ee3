"""Events that came before the answer to the hand-over that they are about.

A provider may report on a message before its own answer has been written down, with the id that stands in this
answer and in nothing else. Such an event matches nothing when it comes. No answer has to ask for it: whatever matched
nothing is looked at again, a few times and then no more.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from genie_connect.delivery.intake import WebhookResult
from genie_connect.durable.ledger import Ledger
from genie_connect.model.event import Event

_logger = logging.getLogger("genie_connect.webhooks")
LookAgain: TypeAlias = Callable[[str, Sequence[Event]], Awaitable[WebhookResult]]
"""Is given a connection and events, and acts on those that match by now."""
AGES_S: Final = (0.0, 60.0, 600.0, 3_600.0)
"""An event is looked at again at each of these ages: answers are seldom late, and workers stopped for long are rare."""
FIRST_S: Final = 86_400.0
"""A process that begins looks once so far back, at what nobody may have looked at while none was there."""
MOST: Final = 1_000
"""So many are looked at of one age, the latest: who shares an account gets the events of others all day long."""


class EarlyEvents:
    """Looks again at the events in a ledger."""

    def __init__(self, ledger: Ledger, look_again: LookAgain) -> None:
        self._ledger = ledger
        self._look_again = look_again
        self._last: float | None = None

    async def look(self) -> int:
        """Look at those whose time has come since the last look; how many copies in doubt that settles."""
        last, now = self._last, self._ledger.database.now()
        periods = [(now - FIRST_S, now)] if last is None else [(last - age, now - age) for age in AGES_S]
        found = resolved = 0
        for since, until in periods:
            for connection, events in (await self._ledger.events.unmatched(since, until, most=MOST)).items():
                result = await self._look_again(connection, events)
                found += len(events) - result.unmatched
                resolved += result.resolved
        # Only now: what could not be looked at is looked at the next time.
        self._last = now
        if found:
            _logger.info("%d events that came before their answers have found their copies", found)
        return resolved
