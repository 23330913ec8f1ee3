"""Many who ask about suppressions at one moment cost one look-up, and each gets an answer of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from genie_connect.delivery.asked_together import MOST_AT_ONCE, AskedTogether
from genie_connect.delivery.suppression import MemorySuppressions
from genie_connect.errors import StoreError
from genie_connect.model.suppression import Suppression
from tests.store.test_suppressions import entry

ADA, BEN, CY = "ada@example.com", "ben@example.com", "cy@example.com"


class Counted(MemorySuppressions):
    """Notes what it is asked, and answers when it may."""

    def __init__(self, *suppressed: str, fails: bool = False) -> None:
        super().__init__(map(entry, suppressed))
        self.asked: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._fails = fails

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """The suppressions of those keys, as they are when it answers."""
        self.asked.append(list(keys))
        found = await super().find(self.asked[-1])
        await self.may_answer.wait()
        if self._fails:
            raise StoreError("the list cannot be read")
        return found


async def test_one_look_up_answers_all_who_wait() -> None:
    """Each about their own keys alone."""
    store = Counted(ADA, CY)
    together = AskedTogether(store)
    first, second, third = await asyncio.gather(*(together.find(keys) for keys in ([ADA, BEN], [BEN], [CY])))
    assert (set(first), set(second), set(third)) == ({ADA}, set(), {CY})
    assert store.asked == [[ADA, BEN, CY]]


async def test_nobody_is_answered_by_a_look_up_that_had_begun_before() -> None:
    """Whoever is suppressed before somebody asks is found by them."""
    store = Counted()
    store.may_answer.clear()
    together = AskedTogether(store)
    before = asyncio.create_task(together.find([ADA]))
    while not store.asked:
        await asyncio.sleep(0)
    await together.put([entry(ADA)])
    after = asyncio.create_task(together.find([ADA]))
    await asyncio.sleep(0)
    store.may_answer.set()
    assert (set(await before), set(await after)) == (set(), {ADA})


async def test_many_keys_are_not_asked_about_in_one_go() -> None:
    """Somebody with a few does not wait for all of a large list."""
    store = Counted()
    together = AskedTogether(store)
    some = [f"r{number}@example.com" for number in range(MOST_AT_ONCE)]
    await asyncio.gather(together.find(some), together.find([ADA]), together.find([BEN]))
    assert [len(keys) for keys in store.asked] == [MOST_AT_ONCE, 2]


async def test_what_goes_wrong_is_told_to_each_and_to_nobody_later() -> None:
    """One who has gone meanwhile hears nothing, and the next look-up is another one."""
    store = Counted(ADA, fails=True)
    store.may_answer.clear()
    together = AskedTogether(store)
    asking = [asyncio.create_task(together.find([each])) for each in (ADA, BEN, CY)]
    while not store.asked:
        await asyncio.sleep(0)
    asking[2].cancel()
    store.may_answer.set()
    for each in asking[:2]:
        with pytest.raises(StoreError):
            await each
    store._fails = False
    assert set(await together.find([ADA])) == {ADA}
