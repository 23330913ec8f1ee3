"""That this process lives: told to the others, and found out to be doubted by them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from genie_connect.errors import StoreError
from genie_connect.registry.isolation import log_failure
from genie_connect.store.workers import Workers

_logger = logging.getLogger("genie_connect.worker")
SLOWEST_RETRY_S: Final = 1.0


class Life:
    """Registers the process and raises its beat while it is entered, whether it works on units or only makes them.

    A process that was taken for dead begins anew under another id; ``on_fenced`` is called before, to let go of all
    that was done in the name of the old one.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._task: asyncio.Task[None] | None = None
        self.on_fenced: list[Callable[[], None]] = []
        self.trouble: str | None = None
        """Why the last beat could not be written."""

    async def __aenter__(self) -> Self:
        await self._workers.register()
        self._task = asyncio.get_running_loop().create_task(self._beat(), name="worker beat")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # Where this cannot be written, our silence says it a lease later.
        with contextlib.suppress(StoreError):
            await self._workers.leave()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._workers.beat_every_s if self.trouble is None else self._soon_s)
            try:
                if not await self._workers.beat():
                    _logger.warning("this worker was taken for dead; it begins anew")
                    for let_go in self.on_fenced:
                        let_go()
                    await self._workers.register()
                self.trouble = None
            except StoreError as error:
                self.trouble = error.message
            except Exception as error:  # noqa: BLE001  # whatever it is, without beats all our work is taken from us
                self.trouble = type(error).__name__
                log_failure(_logger, error, "the beat could not be written")

    @property
    def _soon_s(self) -> float:
        return min(SLOWEST_RETRY_S, self._workers.beat_every_s)
