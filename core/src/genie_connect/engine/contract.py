"""The contract of an engine. Three methods and four facts; ``docs/pages/guides/engines.md`` explains them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import attrs


@attrs.frozen(kw_only=True)
class Work:
    """One unit to be worked on. ``not_before`` is seconds since 1970; a higher ``priority`` goes first."""

    unit: int
    priority: int = 0
    not_before: float = 0.0


Handler: TypeAlias = Callable[[Work], Awaitable[None]]
"""Works on one unit. Returning means that the engine may forget it; raising, that it should call again later."""


@attrs.frozen(kw_only=True)
class Place:
    """Whose work an engine brings. Two engines see each other's work when, and only when, these are the same.

    ``store`` is an id of the store, the same for all who use it. ``store_url`` is where it is, for an engine that keeps
    its work there too; it may hold a password.
    """

    store: str
    tenant: str
    store_url: str = attrs.field(default="", repr=False)


class Engine(Protocol):
    """Brings units to handlers, at least once.

    ``shares_ledger`` says that ``submit`` can write in the ledger's own transaction. ``in_memory`` says that what waits
    is in this process alone, and dies with it. ``ahead`` is how many units it likes to have waiting for each handler:
    the ledger offers no more than that at a time.

    It is entered once, and run at most once.
    """

    name: str
    shares_ledger: bool
    in_memory: bool
    ahead: int

    async def __aenter__(self) -> Self:
        """Connect. Raises ``EngineUnavailable``."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything. Handlers that are still under way are cancelled."""
        ...

    async def submit(self, work: Sequence[Work], *, transaction: Any = None) -> None:
        """Take in units. Returns once the engine will remember them as well as it can. Raises ``EngineUnavailable``.

        A unit that waits already, unchanged, may be left out; one that a handler has returned from may not.
        ``transaction`` is the ledger's open connection, for an engine that ``shares_ledger``; else it is ignored.
        """
        ...

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Call the handler for each unit, ``concurrency`` at a time, until ``stop``. Survives a lost connection."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Call for no new unit, let those under way end for so many seconds, then cancel them. ``run`` then returns.

        Without a ``run``, there will be none.
        """
        ...


@runtime_checkable
class TellsTrouble(Protocol):
    """What an engine may have besides: what keeps it from bringing work just now, for the health of its worker."""

    @property
    def trouble(self) -> str | None:
        """One sentence without secrets; ``None`` while work is brought."""
        ...


Factory: TypeAlias = Callable[[str, Place], Engine]
"""Makes the engine of a URL; what an entry point of the group ``genie_connect.engines.v1`` names.

Raises ``ConfigurationError`` for a URL that it cannot use. Connects to nothing; entering the engine does.
"""
