"""When units are offered to engines again."""

from __future__ import annotations

from genie_connect.store.database import Database
from genie_connect.store.offers import OFFER_S
from genie_connect.store.writer import Writer
from tests.store.ledger import Ledger
from tests.support.clock import FakeClock

DAY_S = 86_400.0


async def test_what_was_offered_before_the_clock_was_set_back_is_offered_again(database_url: str) -> None:
    """Nobody waits for a time that was wrong; an offer that may still be good stands."""
    clock = FakeClock()
    async with Database(database_url, clock=clock) as database, Writer(database) as writer:
        ledger = Ledger(database, writer)
        unit = await ledger.send()
        clock.move(DAY_S)
        assert [each.unit for each in await ledger.units.offer(10)] == [unit]
        clock.move(-OFFER_S / 2)
        assert await ledger.units.waiting() == 0
        assert [each.unit for each in await ledger.units.offer(10)] == [unit]
        clock.move(OFFER_S / 2 - DAY_S)
        assert [each.unit for each in await ledger.units.offer(10)] == [unit]
        assert await ledger.units.offer(10) == []
        assert await ledger.units.waiting() == 1
