"""One rate for a connection, however many processes send through it.

The generic cell rate algorithm: a row holds when the bucket will be full again. Taking *n* tokens moves that time on
by *n* / rate, in one short transaction that locks the row; whoever takes more than there is waits for what it owes.

The time is the database's machine's. For PostgreSQL that is the server's clock; for a file it is time since boot, which
nobody can set, with the boot's name beside it. The row also holds the last time that was seen: when the clock goes back
by an hour, so does the time at which the bucket is full, and nobody waits for that hour.
"""

from __future__ import annotations

import platform
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.clock import Clock
from genie_connect.delivery.limiter import Limiter, OverLimit
from genie_connect.errors import StoreUnavailable
from genie_connect.store.database import Database
from genie_connect.store.schema import tokens
from genie_connect.store.statements import Dialect

SERVER: Final = "server"
"""The era of times that PostgreSQL gave."""
AGAIN_S: Final = 1.0
"""When to ask again where the store does not answer: without it nobody knows what the others have sent."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Moment(NamedTuple):
    """A time, and the clock that gave it: times of two eras have nothing to do with each other."""

    era: str
    at_s: float


class Reservation(NamedTuple):
    """Tokens that were taken: ``at_s`` on the database's clock is when they may be used, in ``wait_s`` from now."""

    at_s: float
    wait_s: float


def since_boot() -> Moment:
    """Time on this machine that no step of its clock changes."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        try:
            era = _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            era = platform.node()
        return Moment(era, time.clock_gettime(time.CLOCK_BOOTTIME))
    return Moment(platform.node(), time.monotonic())


class SharedLimiter:
    """A ``Limiter`` whose rate holds for all processes on one store; ``concurrency`` is each process's own.

    ``machine`` is the clock of a store in a file.
    """

    def __init__(
        self,
        database: Database,
        connection: str,
        clock: Clock,
        *,
        rate_per_s: float | None = None,
        concurrency: int | None = None,
        machine: Callable[[], Moment] = since_boot,
    ) -> None:
        self._database = database
        self._connection = connection
        self._clock = clock
        self._rate = rate_per_s
        self._capacity = max(1.0, rate_per_s or 1.0)
        self._machine = machine
        self._places = Limiter(clock, concurrency=concurrency)

    @asynccontextmanager
    async def room(self, recipients: int, deadline: float) -> AsyncIterator[None]:
        """A place for an attempt with so many recipients. Raises ``OverLimit`` if none comes before the deadline."""
        if self._rate is not None:
            await self._wait(recipients, deadline)
        async with self._places.room(recipients, deadline):
            yield

    async def reserve(self, recipients: int, longest_wait_s: float) -> Reservation:
        """Take tokens, at once and for all. Raises ``OverLimit`` where they come too late, and takes none then."""
        rate = self._rate
        if rate is None:
            return Reservation(0.0, 0.0)
        async with self._database.begin(synced=False) as connection:
            now, full_at = await self._locked(connection)
            full_at = max(full_at, now.at_s) + recipients / rate
            wait_s = max(0.0, full_at - now.at_s - self._capacity / rate)
            if wait_s > longest_wait_s:
                raise OverLimit(wait_s)
            await self._keep(connection, now, full_at)
        return Reservation(now.at_s + wait_s, wait_s)

    async def give_back(self, recipients: int) -> None:
        """Leave tokens to the others that were taken and not used."""
        if self._rate is not None:
            async with self._database.begin(synced=False) as connection:
                now, full_at = await self._locked(connection)
                await self._keep(connection, now, full_at - recipients / self._rate)

    async def _wait(self, recipients: int, deadline: float) -> None:
        try:
            taken = await self.reserve(recipients, deadline - self._clock.monotonic())
        except StoreUnavailable:
            raise OverLimit(AGAIN_S) from None
        if taken.wait_s <= 0:
            return
        try:
            await self._clock.sleep(taken.wait_s)
        except BaseException:
            await self.give_back(recipients)
            raise

    async def _locked(self, connection: AsyncConnection) -> tuple[Moment, float]:
        """The time now, and when the bucket is full; the row is ours until the end of the transaction."""
        table = tokens.c
        clock = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
        asked: list[Any] = [table.era, table.full_at]
        if not self._database.is_sqlite:
            asked.append(clock)
        chosen = sa.select(*asked).filter_by(**self._key()).with_for_update()
        row = (await connection.execute(chosen)).first()
        if row is None:
            new = {**self._key(), "era": "", "full_at": 0.0}
            await connection.execute(Dialect(self._database).ignore(tokens).values(new))
            row = (await connection.execute(chosen)).one()
        now = self._machine() if self._database.is_sqlite else Moment(SERVER, row[2])
        era, _, last = row[0].rpartition(" ")
        if era != now.era:
            return now, now.at_s
        stepped_back_s = max(0.0, float(last) - now.at_s)
        return now, row[1] - stepped_back_s

    async def _keep(self, connection: AsyncConnection, now: Moment, full_at: float) -> None:
        values = {"era": f"{now.era} {now.at_s!r}", "full_at": full_at}
        await connection.execute(sa.update(tokens).filter_by(**self._key()).values(values))

    def _key(self) -> dict[str, str]:
        return {"tenant": self._database.tenant, "connection": self._connection}
