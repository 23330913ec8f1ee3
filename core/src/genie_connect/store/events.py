"""Reports from after the hand-over, each kept once, and what they prove.

An event that carries our Message-ID says which copy it is about. Where that copy is ``unknown``, because no answer came
or the process died, an event that only a message that was taken can have settles it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import attrs
import sqlalchemy as sa

from genie_connect.errors import NothingUnknown
from genie_connect.model.codec import unstructure
from genie_connect.model.event import Event, EventKind
from genie_connect.model.outcome import State
from genie_connect.store.database import Database
from genie_connect.store.schema import events as table
from genie_connect.store.schema import outcomes
from genie_connect.store.statements import Dialect
from genie_connect.store.unknown import Resolution, ResolvedBy, Unknown

PROOF: Final[Mapping[EventKind, Resolution]] = {
    EventKind.QUEUED: Resolution.ACCEPTED,
    EventKind.SENT: Resolution.ACCEPTED,
    EventKind.DEFERRED: Resolution.ACCEPTED,
    EventKind.DELIVERED: Resolution.ACCEPTED,
    EventKind.BOUNCED: Resolution.ACCEPTED,
    EventKind.COMPLAINED: Resolution.ACCEPTED,
    EventKind.OPENED: Resolution.ACCEPTED,
    EventKind.CLICKED: Resolution.ACCEPTED,
    EventKind.UNSUBSCRIBED: Resolution.ACCEPTED,
    EventKind.AUTORESPONDED: Resolution.ACCEPTED,
    EventKind.REJECTED: Resolution.REJECTED,
}
"""What each kind says of the hand-over: a bounce, too, was taken first. The others are about no copy of ours."""
MOST_AT_ONCE: Final = 1_000
_ID_LENGTH: Final = 128


@attrs.frozen(kw_only=True)
class Taken:
    """What became of events: how many were new, and how many unknown copies they settled."""

    new: int = 0
    resolved: int = 0


class EventLog:
    """The events of one tenant."""

    def __init__(self, database: Database, unknown: Unknown) -> None:
        self._database = database
        self._unknown = unknown

    async def append(self, connection: str, events: Sequence[Event]) -> Taken:
        """Keep what a connection's provider reported, and settle what it proves. One that is known changes nothing.

        Raises ``StoreUnavailable``; the provider is then to report it again.
        """
        copies = [await self._copy(event) for event in events]
        # Settled before it is kept: a process that dies in between gets the event again, and settles nothing twice.
        resolved = 0
        for event, copy in zip(events, copies, strict=True):
            if copy is not None and event.kind in PROOF:
                resolved += await self._settle(copy, event.kind)
        new = 0
        async with self._database.begin() as opened:
            insert = Dialect(self._database).ignore(table)
            for event, copy in zip(events, copies, strict=True):
                new += (await opened.execute(insert, self._row(connection, event, copy))).rowcount
        return Taken(new=new, resolved=resolved)

    async def reconcile(self) -> int:
        """Settle copies that became unknown after their event had come in; how many.

        An event may be quicker than the answer, and the process may die between the two.
        """
        mine = self._database.tenant
        proving = [kind.value for kind in PROOF]
        same = (table.c.unit_id == outcomes.c.unit_id) & (table.c.position == outcomes.c.position)
        chosen = (
            sa.select(outcomes.c.unit_id, outcomes.c.position, table.c.kind)
            .select_from(sa.join(outcomes, table, same))
            .where(outcomes.c.tenant == mine, outcomes.c.state == sa.literal_column(f"'{State.UNKNOWN.value}'"))
            .where(table.c.tenant == mine, table.c.kind.in_(proving))
            .order_by(table.c.received)
            .limit(MOST_AT_ONCE)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(chosen)).all()
        return sum([await self._settle((unit, position), EventKind(kind)) for unit, position, kind in found])

    async def _copy(self, event: Event) -> tuple[int, int] | None:
        return None if event.message_id is None else await self._unknown.find(event.message_id, event.recipient)

    async def _settle(self, copy: tuple[int, int], kind: EventKind) -> bool:
        try:
            await self._unknown.resolve(*copy, PROOF[kind], ResolvedBy.EVENT, note=f"the provider reported: {kind}")
        except NothingUnknown:
            return False
        return True

    def _row(self, connection: str, event: Event, copy: tuple[int, int] | None) -> dict[str, Any]:
        unit, position = copy or (None, None)
        return {
            "tenant": self._database.tenant,
            "id": _id(connection, event.id),
            "connection": connection,
            "kind": event.kind.value,
            "recipient": event.recipient,
            "message_id": event.message_id,
            "provider_id": event.provider_id,
            "unit_id": unit,
            "position": position,
            "at": event.time.timestamp(),
            "received": self._database.now(),
            "data": json.dumps(unstructure(event), ensure_ascii=False),
        }


def _id(connection: str, event: str) -> str:
    """Two providers may number alike."""
    whole = f"{connection}/{event}"
    return whole if len(whole) <= _ID_LENGTH else blake2b(whole.encode(), digest_size=32).hexdigest()
