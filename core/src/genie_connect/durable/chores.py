"""What a process with a store does now and then, beside its sends and units."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

import attrs

from genie_connect.delivery.breaker import Breaker
from genie_connect.delivery.connection import Connection
from genie_connect.durable.early_events import EarlyEvents
from genie_connect.durable.ledger import Ledger
from genie_connect.registry.isolation import log_failure
from genie_connect.store.health import SharedHealth

_logger = logging.getLogger("genie_connect.worker")
HEALTH_EVERY_S: Final = 1.0
LOOK_AGAIN_EVERY_S: Final = 10.0


@attrs.frozen(kw_only=True)
class Chore:
    """Something to be done every so many seconds. Where it fails, it is done again the next time."""

    name: str
    every_s: float
    do: Callable[[], Awaitable[None]]


class Chores:
    """Does chores while it is entered, each by itself."""

    def __init__(self, chores: tuple[Chore, ...]) -> None:
        self._chores = chores
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(_repeat(chore), name=chore.name) for chore in self._chores]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def share_health(ledger: Ledger, connections: Mapping[str, Connection]) -> Chore:
    """What one process finds out about a connection, all know about a second later."""
    health: dict[str, SharedHealth] = {}

    async def exchange() -> None:
        worker = ledger.workers.id
        if worker and worker not in health:
            # Under another id we are somebody else, whose own news are the old one's too.
            health.clear()
            health[worker] = SharedHealth(ledger.database, worker)
        breakers: dict[str, Breaker] = {name: connection.breaker for name, connection in connections.items()}
        for shared in health.values():
            for name in await shared.exchange(breakers):
                state = breakers[name].state.value
                _logger.info("another process says that connection %s is %s", name, state)

    return Chore(name="shared health", every_s=HEALTH_EVERY_S, do=exchange)


def look_at_early_events(early: EarlyEvents) -> Chore:
    """Events that came before their answers find their copies seconds after these."""

    async def look() -> None:
        await early.look()

    return Chore(name="early events", every_s=LOOK_AGAIN_EVERY_S, do=look)


async def _repeat(chore: Chore) -> None:
    while True:
        try:
            await chore.do()
        except Exception as error:  # noqa: BLE001  # a chore that fails once is done again
            log_failure(_logger, error, "%s has to wait", chore.name)
        await asyncio.sleep(chore.every_s)
