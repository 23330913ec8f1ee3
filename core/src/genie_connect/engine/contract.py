"""The contract of an engine. Four methods and two facts; ``docs/pages/guides/engines.md`` explains them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import attrs


@attrs.frozen(kw_only=True)
class Work:
    """One unit to be worked on. ``not_before`` is seconds since 1970; a higher ``priority`` goes first."""

    unit: int
    priority: int = 0
    not_before: float = 0.0


Handler: TypeAlias = Callable[[Work], Awaitable[None]]
"""Works on one unit. Returning means that the engine may forget it; raising, that it should call again later."""


class Engine(Protocol):
    """Brings units to handlers, at least once.

    ``shares_ledger`` says that ``submit`` can write in the ledger's own transaction. ``ahead`` is how many units it
    likes to have waiting for each handler: the ledger offers no more than that at a time.
    """

    name: str
    shares_ledger: bool
    ahead: int

    async def __aenter__(self) -> Self:
        """Connect. Raises ``EngineUnavailable``."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything; waits for no handler."""
        ...

    async def submit(self, work: Sequence[Work], *, transaction: Any = None) -> None:
        """Take in units. Returns once the engine will remember them as well as it can. Raises ``EngineUnavailable``.

        ``transaction`` is the ledger's open connection, for an engine that ``shares_ledger``.
        """
        ...

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Call the handler for each unit, ``concurrency`` at a time, until ``stop``. Survives a lost connection."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Call for no new unit, let those under way end for so many seconds, then cancel them. ``run`` then returns."""
        ...
