"""Broadcasts: loaded chunk by chunk, started, paused, gone on with, stopped, and seen how far they are.

A broadcast is ``LOADING`` while its recipients are read, and ``READY`` once it is whole. State changes are compared and
set in one statement, so that of two people who ask for different things one gets what was asked, and the other is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.errors import BroadcastStateError, NoSuchBroadcast
from genie_connect.store.database import Database
from genie_connect.store.message_ids import new_salt
from genie_connect.store.schema import BroadcastState, UnitKind, UnitState, broadcasts, chunks, units
from genie_connect.store.statements import AnyRow, Dialect
from genie_connect.store.unit_rows import UnitRows
from genie_connect.store.waiting import Waiting
from genie_connect.store.writer import Writer


@attrs.frozen(kw_only=True)
class NewBroadcast:
    """A broadcast before its recipients. ``options`` is a JSON object; the ledger reads ``at_least_once`` of it."""

    name: str
    message: bytes = attrs.field(repr=False)
    sender_domain: str
    options: str = "{}"
    salt: bytes = attrs.field(factory=new_salt, repr=False)


@attrs.frozen(kw_only=True)
class Chunk:
    """Recipients of a broadcast, packed, with the chunk's place in it, from 0."""

    number: int
    size: int
    recipients: bytes = attrs.field(repr=False)
    priority: int = 0
    not_before: float | None = None
    expires: float | None = None


@attrs.frozen(kw_only=True)
class BroadcastRecord:
    """A broadcast as it stands. Times are seconds since 1970."""

    id: int
    name: str
    state: BroadcastState
    message: bytes = attrs.field(repr=False)
    sender_domain: str
    options: str
    salt: bytes = attrs.field(repr=False)
    total: int
    chunks: int
    duplicates: int
    refused_rows: int
    reason: str | None
    created: float
    started: float | None
    finished: float | None


class Broadcasts:
    """The broadcasts of one tenant."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._rows = UnitRows(database)
        self._waiting = Waiting(database)
        self._dialect = Dialect(database)
        self._new = self._dialect.ignore(broadcasts)
        self._new_units = self._dialect.ignore(units)
        self._new_chunks = self._dialect.ignore(chunks)
        self._there = sa.select(units.c.broadcast_id, units.c.number).where(
            units.c.tenant == sa.bindparam("tenant"), self._dialect.among(units.c.broadcast_id, "ids")
        )

    async def create(self, new: NewBroadcast) -> int:
        """Write a broadcast down, ``LOADING``, and return its number."""
        return await self._writer.write(self._create, _CreateItem(new))

    async def add(self, broadcast: int, added: Sequence[Chunk]) -> None:
        """Add chunks while it is loading; one with a number that is there already is left as it is.

        Not synced: ``seal`` is. Raises ``NoSuchBroadcast`` or ``BroadcastStateError``.
        """
        if added:
            await self._writer.write(self._add, _AddItem(broadcast, added), synced=False)

    async def seal(self, broadcast: int, *, duplicates: int = 0, refused_rows: int = 0) -> BroadcastRecord:
        """All are there: it is ``READY``. ``duplicates`` and ``refused_rows`` are how many were left out, and why.

        Raises ``NoSuchBroadcast`` or ``BroadcastStateError``.
        """
        facts = {"duplicates": duplicates, "refused_rows": refused_rows}
        return await self._changed(broadcast, SEAL, facts)

    async def start(self, broadcast: int) -> BroadcastRecord:
        """Let workers have it. Raises ``NoSuchBroadcast`` or ``BroadcastStateError``."""
        return await self._changed(broadcast, START, {"started": self._database.now()})

    async def pause(self, broadcast: int, *, reason: str | None = None) -> BroadcastRecord:
        """Let nobody leave any more for now. Raises ``NoSuchBroadcast`` or ``BroadcastStateError``.

        Hand-overs that are under way end, and are answered.
        """
        return await self._changed(broadcast, PAUSE, {"reason": reason})

    async def resume(self, broadcast: int) -> BroadcastRecord:
        """Go on with a paused one. Raises ``NoSuchBroadcast`` or ``BroadcastStateError``."""
        return await self._changed(broadcast, RESUME, {"reason": None})

    async def stop(self, broadcast: int, *, reason: str | None = None) -> BroadcastRecord:
        """End it for good: whoever has not left stays so. Raises ``NoSuchBroadcast`` or ``BroadcastStateError``."""
        return await self._changed(broadcast, STOP, {"reason": reason, "finished": self._database.now()})

    async def get(self, broadcast: int) -> BroadcastRecord:
        """A broadcast as it stands. Raises ``NoSuchBroadcast``."""
        return await self._database.ask(lambda connection: self._get(connection, broadcast))

    async def state(self, broadcast: int) -> BroadcastState:
        """Its state alone. Raises ``NoSuchBroadcast``."""
        bound = {"tenant": self._database.tenant, "broadcast": broadcast}
        found = await self._database.ask(lambda connection: connection.scalar(_STATE, bound))
        if found is None:
            raise NoSuchBroadcast(broadcast)
        return BroadcastState(found)

    async def listed(self, *, states: Sequence[BroadcastState] = (), limit: int = 100) -> list[BroadcastRecord]:
        """Broadcasts, latest first, of these states or of all."""
        wanted = sa.select(broadcasts).where(broadcasts.c.tenant == self._database.tenant)
        if states:
            wanted = wanted.where(broadcasts.c.state.in_(states))
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(broadcasts.c.id.desc()).limit(limit))
            return [_record(row) for row in rows]

    async def _create(self, connection: AsyncConnection, items: Sequence[_CreateItem]) -> list[int]:
        for item in items:
            if item.id is None or self._database.is_sqlite:
                (item.id,) = await self._dialect.numbers(connection, broadcasts, 1)
            await connection.execute(self._new, self._row(item))
        return [item.id or 0 for item in items]

    def _row(self, item: _CreateItem) -> dict[str, Any]:
        return {
            "id": item.id,
            "tenant": self._database.tenant,
            "name": item.new.name,
            "state": BroadcastState.LOADING,
            "message": item.new.message,
            "sender_domain": item.new.sender_domain,
            "options": item.new.options,
            "salt": item.new.salt,
            "created": self._database.now(),
        }

    async def _add(self, connection: AsyncConnection, items: Sequence[_AddItem]) -> list[Exception | None]:
        results: list[Exception | None] = []
        for item in items:
            found = await self._find(connection, item.broadcast)
            if isinstance(found, BroadcastRecord) and found.state is BroadcastState.LOADING:
                await self._add_chunks(connection, item)
                results.append(None)
            else:
                results.append(found if isinstance(found, Exception) else _refusal(found, "take recipients"))
        return results

    async def _add_chunks(self, connection: AsyncConnection, item: _AddItem) -> None:
        bound = {"tenant": self._database.tenant, "ids": self._dialect.values([item.broadcast])}
        there = {number for _, number in await connection.execute(self._there, bound)} if item.seen else set()
        item.seen = True
        added = [chunk for chunk in item.added if chunk.number not in there]
        if not added:
            return
        numbers = await self._dialect.numbers(connection, units, len(added))
        tenant, now = self._database.tenant, self._database.now()
        await connection.execute(
            sa.insert(units),
            [
                {
                    "id": number,
                    "tenant": tenant,
                    "kind": UnitKind.CHUNK,
                    "broadcast_id": item.broadcast,
                    "number": chunk.number,
                    "state": UnitState.READY,
                    "not_before": now if chunk.not_before is None else chunk.not_before,
                    "due": now if chunk.not_before is None else chunk.not_before,
                    "expires": chunk.expires,
                    "priority": chunk.priority,
                    "size": chunk.size,
                    "intent": b"",
                    "done": b"",
                }
                for number, chunk in zip(numbers, added, strict=True)
            ],
        )
        await connection.execute(
            sa.insert(chunks),
            [
                {"unit_id": number, "tenant": tenant, "recipients": chunk.recipients}
                for number, chunk in zip(numbers, added, strict=True)
            ],
        )

    async def _changed(self, broadcast: int, change: Change, facts: dict[str, Any]) -> BroadcastRecord:
        return await self._writer.write(self._change, _ChangeItem(broadcast, change, facts))

    async def _change(
        self, connection: AsyncConnection, items: Sequence[_ChangeItem]
    ) -> list[BroadcastRecord | Exception]:
        return [await self._change_one(connection, item) for item in items]

    async def _change_one(self, connection: AsyncConnection, item: _ChangeItem) -> BroadcastRecord | Exception:
        change = item.change
        facts = item.facts | (await self._totals(connection, item.broadcast) if change is SEAL else {})
        done = await connection.execute(
            sa.update(broadcasts)
            .where(
                broadcasts.c.id == item.broadcast,
                broadcasts.c.tenant == self._database.tenant,
                broadcasts.c.state.in_(change.states),
            )
            .values(state=change.into, **facts)
        )
        if done.rowcount == 1 and change.into is BroadcastState.RUNNING:
            # There may be nobody to send to; or the last were answered while it was paused.
            await self._rows.close_broadcast(connection, item.broadcast)
            # An engine that was told of some meanwhile has forgotten them: there was nothing to do for it.
            await connection.execute(_OFFER_ANEW, {"b_broadcast": item.broadcast, "b_tenant": self._database.tenant})
        elif done.rowcount == 1 and change is STOP:
            await self._waiting.end_all_of(connection, item.broadcast)
        found = await self._find(connection, item.broadcast)
        repeated, item.seen = item.seen and isinstance(found, BroadcastRecord) and found.state is change.into, True
        if done.rowcount == 1 or repeated or isinstance(found, Exception):
            return found
        return _refusal(found, change.asked)

    async def _totals(self, connection: AsyncConnection, broadcast: int) -> dict[str, int]:
        bound = {"tenant": self._database.tenant, "broadcast": broadcast}
        row = (await connection.execute(_TOTALS, bound)).one()
        return {"chunks": row.chunks, "total": row.total}

    async def _find(self, connection: AsyncConnection, broadcast: int) -> BroadcastRecord | NoSuchBroadcast:
        try:
            return await self._get(connection, broadcast)
        except NoSuchBroadcast as error:
            return error

    async def _get(self, connection: AsyncConnection, broadcast: int) -> BroadcastRecord:
        bound = {"tenant": self._database.tenant, "broadcast": broadcast}
        row = (await connection.execute(_BROADCAST, bound)).one_or_none()
        if row is None:
            raise NoSuchBroadcast(broadcast)
        return _record(row)


@attrs.frozen
class Change:
    """A change of state: what it is called, whence, and whither."""

    asked: str
    states: tuple[BroadcastState, ...]
    into: BroadcastState


SEAL: Final = Change("be sealed", (BroadcastState.LOADING,), BroadcastState.READY)
START: Final = Change("be started", (BroadcastState.READY,), BroadcastState.RUNNING)
PAUSE: Final = Change("be paused", (BroadcastState.RUNNING,), BroadcastState.PAUSED)
RESUME: Final = Change("be resumed", (BroadcastState.PAUSED,), BroadcastState.RUNNING)
STOP: Final = Change(
    "be stopped",
    (BroadcastState.LOADING, BroadcastState.READY, BroadcastState.RUNNING, BroadcastState.PAUSED),
    BroadcastState.STOPPED,
)
_HINTS: Final = {
    BroadcastState.LOADING: "its recipients are still being read; where that was interrupted, stop it and begin anew",
    BroadcastState.READY: "start it first",
    BroadcastState.RUNNING: "it is under way already",
    BroadcastState.PAUSED: "resume it, or stop it for good",
    BroadcastState.STOPPED: "what was stopped does not go on; make a new broadcast for those who are left",
    BroadcastState.DONE: "everybody has had their turn",
}


@attrs.define(eq=False)
class _CreateItem:
    new: NewBroadcast
    id: int | None = None


@attrs.define(eq=False)
class _AddItem:
    broadcast: int
    added: Sequence[Chunk]
    seen: bool = False


@attrs.define(eq=False)
class _ChangeItem:
    broadcast: int
    change: Change
    facts: dict[str, Any]
    seen: bool = False


def _refusal(found: BroadcastRecord, asked: str) -> BroadcastStateError:
    return BroadcastStateError(found.id, state=found.state.name.lower(), asked=asked, hint=_HINTS[found.state])


def _record(row: AnyRow) -> BroadcastRecord:
    facts = dict(row._mapping)  # noqa: SLF001  # a public attribute, whatever its name
    facts.pop("tenant")
    return BroadcastRecord(**facts | {"state": BroadcastState(row.state)})


_BROADCAST: Final = sa.select(broadcasts).where(
    broadcasts.c.id == sa.bindparam("broadcast"), broadcasts.c.tenant == sa.bindparam("tenant")
)
_OFFER_ANEW: Final = (
    sa.update(units)
    .where(
        units.c.broadcast_id == sa.bindparam("b_broadcast"),
        units.c.tenant == sa.bindparam("b_tenant"),
        units.c.state == UnitState.READY,
        units.c.offered_until > 0,
    )
    .values(offered_until=0.0)
)
_STATE: Final = sa.select(broadcasts.c.state).where(
    broadcasts.c.id == sa.bindparam("broadcast"), broadcasts.c.tenant == sa.bindparam("tenant")
)
_TOTALS: Final = sa.select(
    sa.func.count().label("chunks"), sa.func.coalesce(sa.func.sum(units.c.size), 0).label("total")
).where(units.c.broadcast_id == sa.bindparam("broadcast"), units.c.tenant == sa.bindparam("tenant"))
