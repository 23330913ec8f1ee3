"""Suppressions in SQL: millions of addresses, five hundred looked up in one query.

An address is found by a digest keyed with a secret of the store's own: 16 bytes for any address, spread evenly. What
stands in the table is what holds now. The history gets a row when that changes: what was replaced or removed is
written down then, so that a list of millions that is imported once is kept once.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.delivery.suppression_files import Entry
from genie_connect.model.address import Address
from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope
from genie_connect.store.database import Database
from genie_connect.store.heaps import Heaps
from genie_connect.store.schema import meta, suppression_history, suppressions
from genie_connect.store.statements import Dialect
from genie_connect.store.suppression_sql import AT_ONCE, look_up, replace_all

KEY_NAME: Final = "suppression_key"
"""The row of ``meta`` that holds the key of the digests."""
MARK_NAME: Final = "suppression_mark"
"""The row of ``meta`` that is written for nothing but to be written."""
LIST_AT_ONCE: Final = 10_000
SCOPES: Final = (SuppressionScope.ALL, SuppressionScope.MARKETING)
"""A scope is kept as its place in here."""


class Row(NamedTuple):
    """A suppression as it is kept, without its tenant. Times are seconds since 1970."""

    digest: bytes
    scope: int
    address: str
    reason: str
    source: str
    added: float
    expires: float | None


@attrs.frozen(kw_only=True)
class Kept:
    """What came of keeping many: how many were new, took the place of another, or were there already."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(
            added=self.added + other.added,
            replaced=self.replaced + other.replaced,
            unchanged=self.unchanged + other.unchanged,
        )


@attrs.frozen(kw_only=True)
class Change:
    """One thing that was done to an address: ``add``, ``remove``, or ``expire`` when it was purged."""

    action: str
    scope: SuppressionScope
    reason: SuppressionReason
    source: str
    at: datetime


class SqlSuppressions:
    """The ``SuppressionStore`` of a database, for its tenant. Every method raises ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key: bytes | None = None

    async def find(self, keys: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """The suppressions of those keys that have any."""
        secret = await self.key()
        by_digest = {digest(secret, key): key for key in keys}
        wanted = list(by_digest)
        found: dict[str, list[Suppression]] = {}

        async def looked_up(connection: AsyncConnection) -> list[Any]:
            parts = (wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE))
            return [row for part in parts for row in await look_up(connection, self._database.tenant, part)]

        for row in await self._database.ask(looked_up):
            found.setdefault(by_digest[bytes(row[0])], []).append(to_suppression(row))
        return {key: tuple(each) for key, each in found.items()}

    async def put(self, suppressions: Iterable[Suppression]) -> None:
        """Keep them; each replaces what the same address had in the same scope."""
        secret = await self.key()
        await self.put_rows([_row(secret, suppression) for suppression in suppressions])

    async def put_rows(self, rows: Sequence[Row], *, again: bool = True) -> Kept:
        """Keep rows in one transaction; of several for one address and scope the last.

        Without ``again`` one that is there with the same reason, source and expiry keeps the time it was added at.
        """
        last = {(row.digest, row.scope): row for row in rows}
        if not last:
            return Kept()
        # In the order of the index neighbours are written together, which at millions of rows is most of the time.
        added, replaced = await self._replace([last[place] for place in sorted(last)], again=again)
        return Kept(added=added, replaced=replaced, unchanged=len(rows) - added - replaced)

    async def put_list(self, rows: Iterable[Row]) -> Kept:
        """Keep the rows of a whole list, however long: in the order of the index, ``LIST_AT_ONCE`` in a transaction.

        As ``put_rows`` without ``again``. Nothing is kept before the list was read to its end.
        """
        added, replaced, on_disk = 0, 0, True
        with Heaps() as heaps:
            for row in rows:
                heaps.add(row)
            batches = heaps.batches(LIST_AT_ONCE)
            batch = next(batches, None)
            while batch is not None:
                following = next(batches, None)
                new, changed = await self._replace(batch, again=False, synced=following is None)
                # With the last transaction all before it are on disk too, but one that changes nothing is not written.
                on_disk = following is None if new or changed else on_disk
                added, replaced, batch = added + new, replaced + changed, following
            if not on_disk:
                await self._reach_disk()
            return Kept(added=added, replaced=replaced, unchanged=heaps.count - added - replaced)

    async def _reach_disk(self) -> None:
        """With this transaction, which always changes something, all before it are on disk."""
        mark = {"name": MARK_NAME, "value": secrets.token_hex(16)}
        async with self._database.begin() as connection:
            await connection.execute(Dialect(self._database).put(meta), mark)

    async def _replace(self, unique: Sequence[Sequence[Any]], *, again: bool, synced: bool = True) -> tuple[int, int]:
        async def replaced_all(connection: AsyncConnection) -> tuple[int, int]:
            return await replace_all(connection, self._database.tenant, unique, again=again)

        return await self._database.carry_out(replaced_all, synced=synced)

    async def discard(self, key: str, scope: SuppressionScope | None) -> int:
        """Forget those of an address, of one scope or of all, and say how many there were."""
        which = suppressions.c.digest == digest(await self.key(), key)
        if scope is not None:
            which &= suppressions.c.scope == SCOPES.index(scope)
        now = self._database.now()
        return await self._database.carry_out(
            lambda connection: take_away(connection, self._database.tenant, which, action="remove", now=now)
        )

    async def all(self) -> AsyncIterator[Suppression]:
        """Every suppression, in the order of being added. ``rows`` is for millions: it need not sort them."""
        chosen = _columns().order_by(suppressions.c.added, suppressions.c.digest, suppressions.c.scope)
        statement = chosen.where(suppressions.c.tenant == self._database.tenant)
        async with self._database.read() as connection, connection.stream(statement) as result:
            async for row in result:
                yield to_suppression(row)

    async def rows(self) -> AsyncIterator[Sequence[Row]]:
        """Every suppression, some thousand at a time, in no order that says anything."""
        last: tuple[bytes, int] = (b"", -1)
        table = suppressions.c
        while True:
            after = sa.tuple_(table.digest, table.scope) > sa.tuple_(sa.literal(last[0]), sa.literal(last[1]))
            page = _columns().where(table.tenant == self._database.tenant, after)
            async with self._database.read() as connection:
                found = (await connection.execute(page.order_by(table.digest, table.scope).limit(AT_ONCE * 10))).all()
            if not found:
                return
            yield [Row(bytes(row[0]), *row[1:]) for row in found]
            last = (bytes(found[-1][0]), found[-1][1])

    async def history(self, key: str) -> tuple[Change, ...]:
        """What was done to the suppressions of an address, oldest first; the last additions still hold."""
        secret, tenant = await self.key(), self._database.tenant
        past, now = suppression_history.c, suppressions.c
        before = sa.select(past.action, past.scope, past.reason, past.source, past.at, past.id).where(
            past.tenant == tenant, past.digest == digest(secret, key)
        )
        holding = sa.select(sa.literal("add"), now.scope, now.reason, now.source, now.added, sa.null()).where(
            now.tenant == tenant, now.digest == digest(secret, key)
        )
        async with self._database.read() as connection:
            found = [*await connection.execute(before.order_by(past.id)), *await connection.execute(holding)]
        # What holds is older than what was written down later about another scope. The sort keeps the order of equals.
        return tuple(
            Change(
                action=row[0],
                scope=SCOPES[row[1]],
                reason=SuppressionReason(row[2]),
                source=row[3],
                at=_time(row[4]),
            )
            for row in sorted(found, key=lambda row: row[4])
        )

    async def key(self) -> bytes:
        """The key of the digests, made when the first one asks."""
        if self._key is None:
            chosen = sa.select(meta.c.value).where(meta.c.name == KEY_NAME)
            async with self._database.read() as connection:
                known = await connection.scalar(chosen)
            if known is None:
                async with self._database.begin() as connection:
                    # Of several processes that make one the first is right.
                    made = {"name": KEY_NAME, "value": secrets.token_hex(32)}
                    await connection.execute(Dialect(self._database).ignore(meta).values(made))
                    known = await connection.scalar(chosen)
            self._key = bytes.fromhex(str(known))
        return self._key


async def take_away(
    connection: AsyncConnection, tenant: str, which: sa.ColumnElement[bool], *, action: str, now: float
) -> int:
    """Write down what is there, and that it goes, and delete it; how many there were."""
    table, past = suppressions.c, suppression_history.c
    mine = (table.tenant == tenant) & which
    into = [past.tenant, past.digest, past.scope, past.action, past.reason, past.source, past.at]
    for said, at in (("add", table.added), (action, sa.literal(now, sa.Float))):
        gone = sa.select(
            table.tenant, table.digest, table.scope, sa.literal(said), table.reason, table.source, at
        ).where(mine)
        await connection.execute(sa.insert(suppression_history).from_select(into, gone))
    return (await connection.execute(sa.delete(suppressions).where(mine))).rowcount


def digest(key: bytes, address_key: str) -> bytes:
    """How an address is found."""
    return blake2b(address_key.encode(), key=key, digest_size=16).digest()


def entry_rows(key: bytes, entries: Iterable[Entry], now: float) -> Iterator[Row]:
    """Rows of a file as they are kept; ``now`` stands where the file does not say when."""
    places = {scope: number for number, scope in enumerate(SCOPES)}
    for each in entries:
        yield Row(
            digest(key, each.key),
            places[each.scope],
            each.email,
            each.reason.value,
            each.source,
            now if each.added is None else each.added,
            each.expires,
        )


def to_suppression(row: Sequence[Any]) -> Suppression:
    """A suppression from its row."""
    _, scope, address, reason, source, added, expires = row
    return Suppression(
        address=_known_address(address),
        scope=SCOPES[scope],
        reason=SuppressionReason(reason),
        source=source,
        added=_time(added),
        expires=None if expires is None else _time(expires),
    )


@lru_cache(maxsize=256)
def _known_address(address: str) -> Address:
    return Address.parse(address)


def _row(key: bytes, suppression: Suppression) -> Row:
    return Row(
        digest=digest(key, suppression.key),
        scope=SCOPES.index(suppression.scope),
        address=suppression.address.email,
        reason=suppression.reason.value,
        source=suppression.source,
        added=suppression.added.timestamp(),
        expires=None if suppression.expires is None else suppression.expires.timestamp(),
    )


def _columns() -> sa.Select[Any]:
    table = suppressions.c
    return sa.select(table.digest, table.scope, table.address, table.reason, table.source, table.added, table.expires)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
