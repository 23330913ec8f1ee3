"""From a message and a list to a broadcast in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from genie_connect.broadcast.forecast import Forecast, forecast
from genie_connect.broadcast.handle import Broadcast
from genie_connect.broadcast.loading import Loader, LoadOptions
from genie_connect.broadcast.recipients import Source
from genie_connect.delivery.connection import Connection
from genie_connect.durable.content import BroadcastOptions
from genie_connect.durable.service import Durable
from genie_connect.model.message import Message
from genie_connect.store.broadcasts import BroadcastRecord


@attrs.frozen(kw_only=True)
class Launch:
    """What is wanted of a broadcast; as ``Host.broadcast`` has it. Times are seconds since 1970."""

    name: str
    connection: str | None = None
    strict: bool = False
    rejects: Path | None = None
    not_before: float | None = None
    expires: float | None = None
    finish_by: datetime | None = None
    priority: int = 0
    at_least_once: bool = False

    async def load(
        self,
        durable: Durable,
        message: Message,
        recipients: Source,
        sender_domain: str,
        connections: Sequence[Connection],
    ) -> Broadcast:
        """Load it, whole or not at all. Raises as ``Host.broadcast`` does."""
        options = LoadOptions(
            name=self.name,
            chunk=durable.options.chunk,
            strict=self.strict,
            rejects=self.rejects,
            priority=self.priority,
            not_before=self.not_before,
            expires=self.expires,
        )
        how = BroadcastOptions(connection=self.connection, at_least_once=self.at_least_once)
        loader = Loader(durable.ledger.broadcasts, message, options)
        record = await loader.run(recipients, sender_domain, how)
        now = durable.ledger.database.now()
        starts = datetime.fromtimestamp(max(now, self.not_before or now), UTC)
        ahead = forecast(record.total, connections, starts=starts, finish_by=self.finish_by)
        return handle(durable, record, ahead, loader.rejects)


def handle(
    durable: Durable, record: BroadcastRecord, seen_ahead: Forecast | None = None, rejects: Path | None = None
) -> Broadcast:
    """A broadcast of the ledger for its host."""
    return Broadcast(
        durable.ledger, record, lambda: durable.worker.nudge() if durable.worker else None, seen_ahead, rejects
    )
