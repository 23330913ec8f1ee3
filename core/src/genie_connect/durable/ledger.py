"""The store as durable work sees it: one database, one writer, and the tables behind their own names."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from genie_connect.clock import Clock
from genie_connect.durable.life import Life
from genie_connect.store.broadcasts import Broadcasts
from genie_connect.store.database import DEFAULT_TENANT, Database
from genie_connect.store.events import EventLog
from genie_connect.store.progress import ProgressReader
from genie_connect.store.sends import Sends
from genie_connect.store.units import Units
from genie_connect.store.unknown import Unknown
from genie_connect.store.workers import LEASE_S, Workers
from genie_connect.store.writer import Writer


class Ledger:
    """An open store. To be entered with ``async with``; raises what ``Database`` raises."""

    def __init__(
        self, url: str, *, tenant: str = DEFAULT_TENANT, clock: Clock | None = None, lease_s: float = LEASE_S
    ) -> None:
        self.database = Database(url, tenant=tenant, clock=clock)
        self.writer = Writer(self.database)
        self.units = Units(self.database, self.writer)
        self.sends = Sends(self.database, self.writer)
        self.broadcasts = Broadcasts(self.database, self.writer)
        self.progress = ProgressReader(self.database)
        self.unknown = Unknown(self.database, self.writer)
        self.events = EventLog(self.database, self.unknown)
        self.workers = Workers(self.database, self.writer, lease_s=lease_s)
        self.life = Life(self.workers)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.database)
            await stack.enter_async_context(self.writer)
            await stack.enter_async_context(self.life)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()
