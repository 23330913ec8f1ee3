"""One look-up for all who want to know at one moment.

A list in a database takes as long to be asked about sixty recipients as about one. Many sends at a time, each with a
look-up as it is taken in and two more as it leaves, would otherwise do little else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final, TypeAlias

from genie_connect.delivery.suppression import SuppressionStore
from genie_connect.model.suppression import Suppression, SuppressionScope

Found: TypeAlias = Mapping[str, tuple[Suppression, ...]]
_Question: TypeAlias = tuple[tuple[str, ...], asyncio.Future[Found]]
MOST_AT_ONCE: Final = 1000
"""So many keys are enough for one look-up: who asks about a chunk does not wait for many others."""


class AskedTogether:
    """A list of suppressions that is asked once for all who wait.

    What is found was on the list after its asker wanted to know: nobody is answered by a look-up that had begun before.
    """

    def __init__(self, store: SuppressionStore) -> None:
        self._store = store
        self._waiting: list[_Question] = []
        self._asking: asyncio.Task[None] | None = None

    async def find(self, keys: Iterable[str]) -> Found:
        """The suppressions of those keys that have any."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()
        self._waiting.append((tuple(keys), answer))
        if self._asking is None:
            self._asking = loop.create_task(self._ask(), name="suppressions")
        return await answer

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Keep them; each replaces what the same address had in the same scope."""
        await self._store.put(suppressions)

    async def discard(self, key: str, scope: SuppressionScope | None) -> int:
        """Forget those of an address, of one scope or of all, and say how many there were."""
        return await self._store.discard(key, scope)

    def all(self) -> AsyncIterator[Suppression]:
        """Every suppression, in the order of being added."""
        return self._store.all()

    async def _ask(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._taken())
        finally:
            self._asking = None

    def _taken(self) -> list[_Question]:
        count = keys = 0
        for asked, _ in self._waiting:
            if count and keys + len(asked) > MOST_AT_ONCE:
                break
            count, keys = count + 1, keys + len(asked)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def _answer(self, taken: list[_Question]) -> None:
        try:
            found = await self._store.find({key: None for asked, _ in taken for key in asked})
        except Exception as error:  # noqa: BLE001  # a store of the host's own; told to each who asked
            for _, answer in taken:
                if not answer.done():
                    answer.set_exception(error)
            return
        for asked, answer in taken:
            if not answer.done():
                answer.set_result({key: found[key] for key in asked if key in found} if found else {})
