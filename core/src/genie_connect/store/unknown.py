"""Copies of which nobody knows whether they arrived: listed, found by Message-ID, and resolved.

An answer that comes late resolves them by itself. Otherwise the provider is asked, an event tells it, or a person
decides; each row keeps who it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.errors import NothingUnknown
from genie_connect.model.outcome import Retry, State
from genie_connect.store import message_ids, packing
from genie_connect.store.database import Database
from genie_connect.store.message_ids import Copy, MessageIds
from genie_connect.store.schema import UnitKind, attempts, broadcasts, outcomes, sends, units
from genie_connect.store.statements import AnyRow, Dialect, Found, of_each_name
from genie_connect.store.unit_rows import UnitRows
from genie_connect.store.untried import Untried
from genie_connect.store.writer import Writer

RESENT: Final = "resend"
MOST_OF_A_MESSAGE_ID: Final = 1_000
"""So many of the latest sends of one Message-ID are looked at: hosts that give one themselves may give it twice."""
MOST_NUMBER: Final = 2**63 - 1
"""No unit has a greater number, and no database takes one."""


class Resolution(StrEnum):
    """What becomes of an unknown copy. ``RESEND`` sends it again, though it may have arrived."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RESEND = "resend"


class ResolvedBy(StrEnum):
    """Who knew. A late answer is ``answer``, and does it by itself."""

    PERSON = "person"
    EVENT = "event"
    LOOKUP = "lookup"


@attrs.frozen(kw_only=True)
class UnknownCopy:
    """A copy in doubt, with what it takes to ask after it. ``at`` and ``started`` are seconds since 1970.

    ``key`` is the idempotency key that the provider got, ``recipients`` how many left by the same hand-over.
    """

    unit: int
    position: int
    broadcast: int | None
    recipient: str
    message_id: str
    connection: str | None
    attempt_id: str | None
    key: str | None
    recipients: int | None
    started: float | None
    reason: str | None
    text: str | None
    at: float


class Unknown:
    """The unknown copies of one tenant."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._rows = UnitRows(database)
        self._untried = Untried(database)
        self._dialect = Dialect(database)
        whose = sa.and_(broadcasts.c.id == units.c.broadcast_id, broadcasts.c.tenant == units.c.tenant)
        of_chunks = (
            sa.select(units.c.id, units.c.size, broadcasts.c.salt, broadcasts.c.sender_domain)
            # From the units on, or SQLite looks through all broadcasts of the tenant.
            .join(broadcasts, whose, isouter=True)
            .where(self._dialect.among(units.c.id, "units"), units.c.tenant == sa.bindparam("tenant"))
            .where(units.c.kind == UnitKind.CHUNK.value)
        )
        of_sends = (
            sa.select(sends.c.message_id, sends.c.unit_id, sends.c.recipients)
            .where(sends.c.tenant == sa.bindparam("tenant"), self._dialect.among(sends.c.message_id, "names"))
            .order_by(sends.c.unit_id.desc())
            .limit(MOST_OF_A_MESSAGE_ID + 1)
        )
        self._of_chunks, self._of_sends = Found(database, of_chunks), Found(database, of_sends)
        in_doubt = sa.select(outcomes.c.unit_id, outcomes.c.position).where(
            _OURS, _UNKNOWN, self._dialect.among(outcomes.c.unit_id, "units")
        )
        self._in_doubt = Found(database, in_doubt)

    async def listed(
        self, *, broadcast: int | None = None, after: tuple[int, int] = (0, -1), limit: int = 100
    ) -> list[UnknownCopy]:
        """Unknown copies by unit and position, of all or of one broadcast; ``after`` is where to go on from."""
        wanted = _LIST.where(
            sa.or_(
                outcomes.c.unit_id > after[0],
                sa.and_(outcomes.c.unit_id == after[0], outcomes.c.position > after[1]),
            )
        )
        if broadcast is not None:
            wanted = wanted.where(units.c.broadcast_id == broadcast)
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted.limit(limit), {"tenant": self._database.tenant})).all()
        makers = {row.broadcast_id: MessageIds(row.salt, row.sender_domain) for row in rows if row.salt is not None}
        return [_copy(row, makers.get(row.broadcast_id)) for row in rows]

    async def count(self) -> int:
        """How many there are."""
        async with self._database.read() as connection:
            return int(await connection.scalar(_COUNT, {"tenant": self._database.tenant}) or 0)

    async def among(self, copies: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """Those of these copies, by unit and position, that are unknown."""
        if not copies:
            return set()
        bound = self._bound(units=sorted({unit for unit, _ in copies}))
        rows = await self._database.ask(lambda connection: self._in_doubt.rows(connection, bound))
        return {(unit, position) for unit, position in rows} & set(copies)

    async def find(self, message_id: str, recipient: str | None = None) -> tuple[int, int] | None:
        """Unit and position of the copy that carries a Message-ID, known or unknown; ``None`` where it is not ours.

        A send's recipients share one: without ``recipient`` (a bare address) only that of a single one is found.
        """
        (found,) = await self._database.ask(lambda connection: self.find_all(connection, [(message_id, recipient)]))
        return found

    async def find_all(
        self, connection: AsyncConnection, names: Sequence[tuple[str, str | None]]
    ) -> list[tuple[int, int] | None]:
        """The same for many Message-IDs, each with its recipient, asked for at once."""
        copies = [message_ids.parse(message_id) for message_id, _ in names]
        made = await self._made(connection, {copy for copy in copies if copy is not None})
        others = sorted({name for (name, _), copy in zip(names, copies, strict=True) if copy not in made})
        by_name: dict[str, list[tuple[int, list[str]]]] = {}
        if others:
            for name, unit, packed in await self._named(connection, others):
                addresses = [packing.email(each).lower() for each in packing.addresses(packed)]
                by_name.setdefault(name, []).append((unit, addresses))
        return [
            made[copy] if copy in made else _in_sends(by_name.get(name, ()), recipient)
            for (name, recipient), copy in zip(names, copies, strict=True)
        ]

    async def _named(self, connection: AsyncConnection, names: Sequence[str]) -> list[tuple[str, int, bytes]]:
        """Message-ID, unit and packed recipients of the latest sends that have one of these."""

        async def ask(some: Sequence[str]) -> list[tuple[str, int, bytes]]:
            rows = await self._of_sends.rows(connection, self._bound(names=some))
            return [(name, unit, recipients) for name, unit, recipients in rows]

        return await of_each_name(ask, names, most=MOST_OF_A_MESSAGE_ID)

    async def _made(
        self, connection: AsyncConnection, copies: Collection[Copy]
    ) -> dict[Copy | None, tuple[int, int] | None]:
        """Those that a broadcast of ours has made: unit and position, ``None`` where its chunk has no such position."""
        units = sorted({copy.unit for copy in copies if copy.unit <= MOST_NUMBER})
        if not units:
            return {}
        rows = await self._of_chunks.rows(connection, self._bound(units=units))
        chunks = {unit: (size, MessageIds(salt, domain)) for unit, size, salt, domain in rows if salt is not None}
        return {
            copy: (copy.unit, copy.position) if copy.position < chunks[copy.unit][0] else None
            for copy in copies
            if copy.unit in chunks and chunks[copy.unit][1].made(copy)
        }

    def _bound(self, **many: Sequence[int] | Sequence[str]) -> dict[str, Any]:
        return {"tenant": self._database.tenant} | {name: self._dialect.values(each) for name, each in many.items()}

    async def resolve(
        self, unit: int, position: int, resolution: Resolution, by: ResolvedBy, *, note: str | None = None
    ) -> None:
        """Say what became of an unknown copy, or have it sent again.

        ``note`` replaces its text. Raises ``NothingUnknown`` where it is not unknown, or nobody would send it again.
        """
        await self._writer.write(self._resolve, _Item(unit, position, resolution, by, note))

    async def _resolve(self, connection: AsyncConnection, items: Sequence[_Item]) -> list[Exception | None]:
        results: list[Exception | None] = []
        for item in items:
            results.append(await self._resolve_one(connection, item))
            item.seen = True
        return results

    async def _resolve_one(self, connection: AsyncConnection, item: _Item) -> NothingUnknown | None:
        row = (await self._rows.lock(connection, [item.unit])).get(item.unit)
        bound = {"b_unit": item.unit, "b_position": item.position, "b_tenant": self._database.tenant}
        found = (await connection.execute(_ROW, bound)).one_or_none()
        if row is None or found is None:
            return NothingUnknown(item.unit, item.position, "there is no such copy in doubt")
        if found.state != State.UNKNOWN.value:
            repeated = item.seen and found.resolved_by == item.by.value
            cause = f"it is known to be {found.state}"
            return None if repeated else NothingUnknown(item.unit, item.position, cause)
        if item.resolution is Resolution.RESEND:
            if not await self._untried.again(connection, row, item.position, State.UNKNOWN, by_request=True):
                return NothingUnknown(item.unit, item.position, "its broadcast was stopped, so nobody would send it")
        else:
            row.resolve(item.position, State(item.resolution.value))
            if item.resolution is Resolution.ACCEPTED and found.attempt_id is not None:
                await connection.execute(
                    _ONE_MORE, {"b_unit": item.unit, "b_attempt": found.attempt_id, "b_tenant": self._database.tenant}
                )
        await connection.execute(_SAY, bound | _said(item, self._database.now(), found.text))
        await self._rows.save(connection, [row])
        return None


@attrs.define(eq=False)
class _Item:
    unit: int
    position: int
    resolution: Resolution
    by: ResolvedBy
    note: str | None
    seen: bool = False


def _said(item: _Item, now: float, text: str | None) -> dict[str, Any]:
    again = item.resolution is Resolution.RESEND
    return {
        "new_state": State.DEFERRED.value if again else item.resolution.value,
        "new_retry": Retry.ANY.value if again else Retry.NEVER.value,
        "new_reason": RESENT if again else None if item.resolution is Resolution.ACCEPTED else "permanent",
        "new_text": item.note if item.note is not None else text,
        "new_by": item.by.value,
        "now": now,
    }


def _copy(row: AnyRow, maker: MessageIds | None) -> UnknownCopy:
    return UnknownCopy(
        unit=row.unit_id,
        position=row.position,
        broadcast=row.broadcast_id,
        recipient=row.recipient,
        message_id=row.message_id if maker is None else maker.of(row.unit_id, row.position),
        connection=row.connection,
        attempt_id=row.attempt_id,
        key=row.key,
        recipients=row.recipients,
        started=row.started,
        reason=row.reason,
        text=row.text,
        at=row.at,
    )


def _in_sends(sends: Iterable[tuple[int, Sequence[str]]], recipient: str | None) -> tuple[int, int] | None:
    """The first copy to the recipient in these sends, whose addresses are in small letters; or to the only one."""
    for unit, addresses in sends:
        if recipient is None and len(addresses) == 1:
            return unit, 0
        if recipient is not None and recipient.lower() in addresses:
            return unit, addresses.index(recipient.lower())
    return None


_OURS: Final = outcomes.c.tenant == sa.bindparam("tenant")
_UNKNOWN: Final = sa.text("outcomes.state = 'unknown'")
_LIST: Final = (
    sa.select(
        outcomes,
        units.c.broadcast_id,
        broadcasts.c.salt,
        broadcasts.c.sender_domain,
        sends.c.message_id,
        attempts.c.key,
        attempts.c.recipients,
        attempts.c.started,
    )
    .select_from(
        sa.join(outcomes, units, sa.and_(units.c.id == outcomes.c.unit_id, units.c.tenant == outcomes.c.tenant))
        .outerjoin(broadcasts, sa.and_(broadcasts.c.id == units.c.broadcast_id, broadcasts.c.tenant == units.c.tenant))
        .outerjoin(sends, sa.and_(sends.c.unit_id == units.c.id, sends.c.tenant == units.c.tenant))
        .outerjoin(
            attempts,
            sa.and_(
                attempts.c.unit_id == outcomes.c.unit_id,
                attempts.c.id == outcomes.c.attempt_id,
                attempts.c.tenant == outcomes.c.tenant,
            ),
        )
    )
    .where(_OURS, _UNKNOWN)
    .order_by(outcomes.c.unit_id, outcomes.c.position)
)
_COUNT: Final = sa.select(sa.func.count()).select_from(outcomes).where(_OURS, _UNKNOWN)
_THIS: Final = sa.and_(
    outcomes.c.unit_id == sa.bindparam("b_unit"),
    outcomes.c.position == sa.bindparam("b_position"),
    outcomes.c.tenant == sa.bindparam("b_tenant"),
)
_ROW: Final = sa.select(outcomes.c.state, outcomes.c.attempt_id, outcomes.c.resolved_by, outcomes.c.text).where(_THIS)
_SAY: Final = (
    sa.update(outcomes)
    .where(_THIS)
    .values(
        state=sa.bindparam("new_state"),
        retry=sa.bindparam("new_retry"),
        reason=sa.bindparam("new_reason"),
        text=sa.bindparam("new_text"),
        resolved_by=sa.bindparam("new_by"),
        at=sa.bindparam("now"),
    )
)
_ONE_MORE: Final = (
    sa.update(attempts)
    .where(
        attempts.c.unit_id == sa.bindparam("b_unit"),
        attempts.c.id == sa.bindparam("b_attempt"),
        attempts.c.tenant == sa.bindparam("b_tenant"),
    )
    .values(accepted=attempts.c.accepted + 1)
)
