"""Hand-overs that may go once more: only whole, and only as long as everybody of them is in doubt."""

from __future__ import annotations

import pytest

from genie_connect.store import waiting
from tests.store.ledger import ACCEPTED, DEFERRED, UNKNOWN, opened

LATER_S = 3600.0


@pytest.mark.parametrize("said, given", [((UNKNOWN, UNKNOWN), True), ((UNKNOWN, DEFERRED), False)])
async def test_who_claims_a_unit_is_given_what_the_provider_may_recognise(
    database_url: str, said: tuple[str, ...], given: bool
) -> None:
    """Of one who was put off the provider has said something: the batch is no longer the same question."""
    async with opened(database_url) as ledger:
        unit = await ledger.send(2)
        claim = await ledger.claimed(unit, "worker")
        hand_over = ledger.hand_over([0, 1], repeat_until=ledger.database.now() + LATER_S)
        await ledger.units.leaving(claim, hand_over)
        await ledger.answer(claim, hand_over, *said, done=())
        await ledger.units.release(claim)
        again = await ledger.claimed(unit, "another")
        assert again.interrupted == ((hand_over,) if given else ())
        assert again.earlier[0].outcome.state.value == UNKNOWN


async def test_one_who_is_settled_meanwhile_is_no_part_of_it(database_url: str) -> None:
    """Nor is the rest a batch that the provider knows."""
    async with opened(database_url) as ledger:
        unit = await ledger.send(2)
        claim = await ledger.claimed(unit, "worker")
        hand_over = ledger.hand_over([0, 1], repeat_until=ledger.database.now() + LATER_S)
        await ledger.units.leaving(claim, hand_over)
        await ledger.answer(claim, hand_over, UNKNOWN, ACCEPTED, done=[1])
        await ledger.units.release(claim)
        assert (await ledger.claimed(unit, "another")).interrupted == ()


async def test_all_who_wait_in_a_broadcast_wait_no_more_when_it_is_stopped(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many chunks they are in: some at a time."""
    monkeypatch.setattr(waiting, "UNITS_AT_ONCE", 2)
    async with opened(database_url) as ledger:
        broadcast = await ledger.broadcast(1, 1, 1)
        units = [offered.unit for offered in await ledger.units.offer(10, for_s=60.0)]
        for unit in units:
            claim = await ledger.claimed(unit, "worker")
            hand_over = ledger.hand_over([0], repeat_until=ledger.database.now() + LATER_S)
            await ledger.units.leaving(claim, hand_over)
            await ledger.answer(claim, hand_over, UNKNOWN, done=())
            await ledger.units.release(claim)
        assert [(await ledger.row(unit)).done for unit in units] == [0, 0, 0]
        await ledger.broadcasts.stop(broadcast)
        assert [(await ledger.row(unit)).done for unit in units] == [1, 1, 1]
