"""The ledger with one promise taken out, in a process under test only: the harness has to see the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from genie_connect.durable.worker import Worker
from genie_connect.store import hand_overs
from genie_connect.store.hand_overs import HandOvers
from genie_connect.store.unit_rows import UnitRow
from genie_connect.store.workers import Workers


def no_intent() -> None:
    """Nobody writes down who is about to leave."""

    async def leaving(self: HandOvers, connection: Any, items: Sequence[Any]) -> list[None]:
        return [None] * len(items)

    HandOvers.leaving = leaving  # type: ignore[method-assign,assignment]


def no_fence() -> None:
    """Whoever once had a unit goes on with it, whoever has it now, however long nobody has heard of it."""
    # Behind it there are others: those who are settled may not leave, and who was taken for dead lets go by itself.
    hand_overs._obstacle = lambda row, item: None
    Worker._fenced = lambda self: None  # type: ignore[method-assign]
    UnitRow.held_by = lambda self, claim: True  # type: ignore[method-assign]
    Workers.fresh = True  # type: ignore[method-assign,assignment]


SABOTAGE: Final[Mapping[str, Callable[[], None]]] = {"intent": no_intent, "fence": no_fence}
