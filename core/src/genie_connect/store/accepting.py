"""Taking sends in, many in one commit; each once, whatever is repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.errors import IdempotencyConflict
from genie_connect.model.outcome import Outcome
from genie_connect.store import bitmap
from genie_connect.store.claims import Claim, HandOver, SendContent
from genie_connect.store.database import Database
from genie_connect.store.hand_overs import BEGUN, attempt_row
from genie_connect.store.outcome_rows import to_row
from genie_connect.store.schema import UnitKind, UnitState, attempts, idempotency, outcomes, sends, units
from genie_connect.store.statements import Dialect, Found, Many

FIRST_EPOCH: Final = 1
"""That of a send which somebody owns from the beginning."""
_UNIT: Final = (
    *("id", "tenant", "kind", "state", "epoch", "owner", "not_before", "due", "expires", "priority", "size"),
    *("intent", "done", "suppressed"),
)
_SEND: Final = (
    *("unit_id", "tenant", "message_id", "recipients", "message", "plan", "only", "key", "at_least_once", "durable"),
    *("created", "finished"),
)


@attrs.frozen(kw_only=True)
class NewSend:
    """A send to be taken in. ``recipients`` are ``size`` packed ones, ``message`` its bytes, ``plan`` JSON.

    ``digest`` is that of the content that ``key`` stands for. ``suppressed`` says, by position, who is not written to.
    Times are seconds since 1970.
    """

    message_id: str
    recipients: bytes = attrs.field(repr=False)
    size: int
    message: bytes = attrs.field(repr=False)
    key: str | None = None
    digest: bytes = b""
    not_before: float | None = None
    expires: float | None = None
    priority: int = 0
    only: str | None = None
    at_least_once: bool = False
    plan: str | None = None
    suppressed: Mapping[int, Outcome] = attrs.field(factory=dict)

    @property
    def done(self) -> int:
        """The bitmap of those who are not to be tried."""
        return bitmap.of(self.suppressed)

    @property
    def due(self) -> bool:
        """Whether there is anybody to be tried."""
        return len(self.suppressed) < self.size


@attrs.frozen(kw_only=True)
class Accepted:
    """A send that is on disk. ``repeated`` says that its key was used before: ``unit`` is the first one's."""

    unit: int
    repeated: bool = False
    claim: Claim | None = None


@attrs.define(eq=False)
class AcceptItem:
    """One send to take in; a plain one with its first hand-over. ``unit`` is the number that it got."""

    send: NewSend
    owner: str | None
    hand_over: HandOver | None = None
    unit: int | None = None


class Accepting:
    """Writes new sends."""

    def __init__(self, database: Database, key_kept_s: float) -> None:
        self._database = database
        self._key_kept_s = key_kept_s
        self._dialect = Dialect(database)
        self._units = Many(database, self._dialect.ignore(units), *_UNIT)
        self._sends = Many(database, self._dialect.ignore(sends), *_SEND)
        self._attempts = Many(database, self._dialect.ignore(attempts), *BEGUN)
        self._outcomes = Many(database, self._dialect.ignore(outcomes), *outcomes.c.keys())
        free = self._dialect.put(idempotency, unless=idempotency.c.until > sa.bindparam("b_now"))
        self._take_key = Many(database, free, *idempotency.c.keys())
        keys = sa.select(idempotency.c.key, idempotency.c.unit_id, idempotency.c.digest).where(
            idempotency.c.tenant == sa.bindparam("tenant"),
            self._dialect.among(idempotency.c.key, "keys"),
            idempotency.c.until > sa.bindparam("now"),
        )
        self._keys = Found(database, keys)

    async def accept(self, connection: AsyncConnection, items: Sequence[AcceptItem]) -> list[Accepted | Exception]:
        """Take these in; ``IdempotencyConflict`` for those whose key stands for another content."""
        await self._number(connection, items)
        holders = await self._hold_keys(connection, [item for item in items if item.send.key is not None])
        results = [self._result(item, holders) for item in items]
        new = [
            item
            for item, result in zip(items, results, strict=True)
            if isinstance(result, Accepted) and not result.repeated
        ]
        now, tenant = self._database.now(), self._database.tenant
        await self._units.run(connection, [self._unit_row(item, now) for item in new])
        await self._sends.run(connection, [self._send_row(item, now) for item in new])
        await self._outcomes.run(connection, [row for item in new for row in self._outcome_rows(item, now)])
        begun = [
            attempt_row(tenant, item.unit or 0, FIRST_EPOCH, item.hand_over)
            for item in new
            if item.hand_over is not None
        ]
        await self._attempts.run(connection, begun)
        return results

    async def earlier(self, connection: AsyncConnection, key: str, digest: bytes) -> int | None:
        """The send that a key stands for."""
        found = (await self._holders(connection, [key])).get(key)
        if found is None:
            return None
        unit, content = found
        if content != digest:
            raise IdempotencyConflict(key)
        return unit

    async def _number(self, connection: AsyncConnection, items: Sequence[AcceptItem]) -> None:
        # On SQLite a write is repeated only where nothing was kept, not even the numbers. On PostgreSQL nobody else
        # gets them, and by its number a send that was written is known again.
        fresh = [item for item in items if item.unit is None or self._database.is_sqlite]
        numbers = await self._dialect.numbers(connection, units, len(fresh)) if fresh else []
        for item, number in zip(fresh, numbers, strict=True):
            item.unit = number

    async def _hold_keys(
        self, connection: AsyncConnection, items: Sequence[AcceptItem]
    ) -> dict[str, tuple[int, bytes]]:
        """By key, the send that it stands for from now on, and its content."""
        if not items:
            return {}
        first: dict[str, AcceptItem] = {}
        for item in items:
            first.setdefault(item.send.key or "", item)
        now = self._database.now()
        # In one order, so that two processes with the same keys do not wait for each other.
        rows = [self._key_row(key, first[key], now) | {"b_now": now} for key in sorted(first)]
        await self._take_key.run(connection, rows)
        return await self._holders(connection, sorted(first))

    async def _holders(self, connection: AsyncConnection, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        bound = {
            "tenant": self._database.tenant,
            "keys": self._dialect.values(list(keys)),
            "now": self._database.now(),
        }
        return {key: (unit, digest) for key, unit, digest in await self._keys.rows(connection, bound)}

    def _result(self, item: AcceptItem, holders: dict[str, tuple[int, bytes]]) -> Accepted | Exception:
        send, unit = item.send, item.unit or 0
        if send.key is not None:
            holder, digest = holders[send.key]
            if digest != send.digest or (holder != unit and item.hand_over is not None):
                return IdempotencyConflict(send.key)
            if holder != unit:
                return Accepted(unit=holder, repeated=True)
        return Accepted(unit=unit, claim=self._claim(item))

    def _claim(self, item: AcceptItem) -> Claim | None:
        send = item.send
        if item.owner is None or not send.due:
            return None
        now = self._database.now()
        if (send.not_before or 0.0) > now:
            return None
        return Claim(
            unit=item.unit or 0,
            epoch=FIRST_EPOCH,
            owner=item.owner,
            kind=UnitKind.SEND,
            size=send.size,
            recipients=send.recipients,
            done=send.done,
            priority=send.priority,
            due=send.not_before or now,
            expires=send.expires,
            send=SendContent(
                message_id=send.message_id,
                message=send.message,
                plan=send.plan,
                only=send.only,
                key=send.key,
                at_least_once=send.at_least_once,
            ),
        )

    def _unit_row(self, item: AcceptItem, now: float) -> dict[str, Any]:
        send = item.send
        owned = item.owner is not None and send.due and (send.not_before or 0.0) <= now
        state = UnitState.READY if not owned else UnitState.LEASED if item.hand_over is None else UnitState.OPEN
        return {
            "id": item.unit,
            "tenant": self._database.tenant,
            "kind": UnitKind.SEND,
            "state": state if send.due else UnitState.DONE,
            "epoch": FIRST_EPOCH if owned else 0,
            "owner": item.owner if owned else None,
            "not_before": now if send.not_before is None else send.not_before,
            "due": now if send.not_before is None else send.not_before,
            "expires": send.expires,
            "priority": send.priority,
            "size": send.size,
            "intent": b"" if item.hand_over is None else bitmap.dump(item.hand_over.positions),
            "done": bitmap.dump(send.done),
            "suppressed": len(send.suppressed),
        }

    def _send_row(self, item: AcceptItem, now: float) -> dict[str, Any]:
        send = item.send
        return {
            "unit_id": item.unit,
            "tenant": self._database.tenant,
            "message_id": send.message_id,
            "recipients": send.recipients,
            "message": send.message,
            "plan": send.plan,
            "only": send.only,
            "key": send.key,
            "at_least_once": send.at_least_once,
            "durable": item.hand_over is None,
            "created": now,
            "finished": None if send.due else now,
        }

    def _outcome_rows(self, item: AcceptItem, now: float) -> list[dict[str, Any]]:
        tenant, unit = self._database.tenant, item.unit or 0
        return [
            to_row(tenant, unit, position, outcome, attempt_id=None, at=now, tries=0)
            for position, outcome in item.send.suppressed.items()
        ]

    def _key_row(self, key: str, item: AcceptItem, now: float) -> dict[str, Any]:
        return {
            "tenant": self._database.tenant,
            "key": key,
            "unit_id": item.unit,
            "digest": item.send.digest,
            "until": now + self._key_kept_s,
        }
