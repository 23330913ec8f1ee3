"""The state of breakers, shared between processes: one finds out that a connection is down, all pause it.

A row holds where the breaker stood when somebody changed it, and how much of the pause was left then. Who reads it
takes off the row's age, by the clock of the database's own machine; the clocks of two workers are never compared. Each
change raises the row's version, and is written only over the version that its writer has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.delivery.breaker import Breaker, Standing
from genie_connect.store.database import Database
from genie_connect.store.schema import health
from genie_connect.store.statements import Dialect


@attrs.define
class _Known:
    version: int = 0
    """The newest one that was read or written here."""
    changes: int = 0
    """How many changes of the breaker have been written."""


class SharedHealth:
    """Exchanges the standing of this process's breakers with that of the others. ``worker`` names the process."""

    def __init__(self, database: Database, worker: str) -> None:
        self._database = database
        self._worker = worker
        self._known: dict[str, _Known] = {}

    async def exchange(self, breakers: Mapping[str, Breaker]) -> tuple[str, ...]:
        """Write what has changed here, take over what has changed elsewhere; the names of what was taken over.

        To be called every second or so, and after a change. Breakers go by their connection's name. Where both have
        changed the more careful one wins. Raises ``StoreUnavailable``; the breakers then stand where they stood.
        """
        rows = await self._read()
        adopted: list[str] = []
        for name, breaker in breakers.items():
            known = self._known.setdefault(name, _Known())
            row = rows.get(name)
            news = row is not None and row.version > known.version and row.by_worker != self._worker
            changed = breaker.changes > known.changes
            if row is not None and news and (not changed or row.standing.pause_s > breaker.standing.pause_s):
                known.version, known.changes = row.version, breaker.changes
                breaker.adopt(row.standing)
                adopted.append(name)
            elif changed:
                await self._publish(name, breaker, known, row.version if row is not None else 0)
        return tuple(adopted)

    async def _read(self) -> dict[str, _Row]:
        age = _now(self._database) - health.c.changed
        chosen = sa.select(health, sa.cast(age, sa.Float).label("age")).where(health.c.tenant == self._database.tenant)
        rows = await self._database.ask(lambda connection: connection.execute(chosen))
        return {row.connection: _row(row) for row in rows}

    async def _publish(self, name: str, breaker: Breaker, known: _Known, version: int) -> None:
        changes, standing = breaker.changes, breaker.standing
        # After a loss of power the connection is tried once more, which is all that is lost.
        async with self._database.begin(synced=False) as connection:
            if await self._write(connection, name, standing, version):
                known.version, known.changes = version + 1, changes

    async def _write(self, connection: AsyncConnection, name: str, standing: Standing, version: int) -> bool:
        """Whether it was written: not so when somebody else has been quicker, whose change is read the next time."""
        here = {"tenant": self._database.tenant, "connection": name}
        values = {
            **attrs.asdict(standing),
            "version": version + 1,
            "by_worker": self._worker,
            "changed": _now(self._database),
        }
        if version:
            there = sa.update(health).filter_by(**here).where(health.c.version == version)
            return (await connection.execute(there.values(values))).rowcount > 0
        new = Dialect(self._database).ignore(health).values({**here, **values})
        return (await connection.execute(new)).rowcount > 0


@attrs.frozen
class _Row:
    version: int
    by_worker: str
    standing: Standing


def _row(row: Any) -> _Row:
    # A clock that was stepped back gives a negative age.
    left_s = max(0.0, row.pause_s - max(0.0, row.age))
    return _Row(
        row.version,
        row.by_worker,
        Standing(pause_s=left_s, pauses=row.pauses, reason=row.reason, hint=row.hint),
    )


def _now(database: Database) -> sa.ColumnElement[Any]:
    """The time on the machine of the database: a file has ours, a server its own."""
    if database.is_sqlite:
        return sa.literal(database.now(), sa.Float)
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
