"""Hand-overs that may go once more: only whole, and only as long as everybody of them is in doubt."""

from __future__ import annotations

import pytest

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
