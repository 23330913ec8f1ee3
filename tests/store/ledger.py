"""A ledger to be tested: the store's parts opened on one database, and short ways to say what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import sqlalchemy as sa

from genie_connect.clock import Clock
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect.model.receipt import Attempt
from genie_connect.store import bitmap, packing
from genie_connect.store.accepting import NewSend
from genie_connect.store.broadcasts import Broadcasts, Chunk, NewBroadcast
from genie_connect.store.claims import Answer, Claim, HandOver
from genie_connect.store.database import Database
from genie_connect.store.place import Place
from genie_connect.store.progress import ProgressReader
from genie_connect.store.schema import attempts, outcomes, units
from genie_connect.store.sends import Sends
from genie_connect.store.unit_rows import UnitRow, UnitRows
from genie_connect.store.units import Units
from genie_connect.store.unknown import Unknown
from genie_connect.store.workers import Workers
from genie_connect.store.writer import Writer

ACCEPTED, DEFERRED, REJECTED, UNKNOWN, SUPPRESSED = "accepted", "deferred", "rejected", "unknown", "suppressed"
_places = count(1)


class Ledger:
    """One process's view of a store."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self.database = database
        self.writer = writer
        self.units = Units(database, writer)
        self.sends = Sends(database, writer)
        self.broadcasts = Broadcasts(database, writer)
        self.progress = ProgressReader(database)
        self.unknown = Unknown(database, writer)
        self._attempts = count(1)

    def worker(self, *, place: Place | None = None) -> Workers:
        """A worker that is not registered yet, by default at a place of its own."""
        alone = Place(where=f"machine {next(_places)}", pid=1, started=1.0)
        return Workers(self.database, self.writer, place=place or alone)

    async def broadcast(self, *sizes: int, start: bool = True, **options: Any) -> int:
        """A broadcast with chunks of these sizes."""
        made = await self.broadcasts.create(
            NewBroadcast(name="news", message=b"message", sender_domain="example.com", **options)
        )
        await self.broadcasts.add(made, [chunk(number, size) for number, size in enumerate(sizes)])
        await self.broadcasts.seal(made)
        if start:
            await self.broadcasts.start(made)
        return made

    async def send(self, size: int = 1, **facts: Any) -> int:
        """A durable send."""
        return (await self.sends.accept(new_send(size, **facts))).unit

    async def claimed(self, unit: int, owner: str) -> Claim:
        """A claim that must be granted."""
        claim = await self.units.claim(unit, owner)
        assert claim is not None
        return claim

    def hand_over(self, positions: Iterable[int], connection: str = "primary", **facts: Any) -> HandOver:
        """A hand-over of these positions that is about to begin."""
        number = next(self._attempts)
        known = {"attempt_id": f"attempt{number}", "key": f"key{number}", "started": self.database.now()}
        return HandOver(connection=connection, positions=bitmap.of(positions), **{**known, **facts})

    async def leave(self, claim: Claim, positions: Iterable[int], connection: str = "primary") -> HandOver:
        """Write down that these may leave."""
        hand_over = self.hand_over(positions, connection)
        await self.units.leaving(claim, hand_over)
        return hand_over

    async def answer(self, claim: Claim, hand_over: HandOver, *said: str, done: Sequence[int] | None = None) -> bool:
        """Answer a hand-over, for its positions in their order; deferred ones are to be tried again."""
        return await self.units.answered(claim, attempt(hand_over, *said), answers(claim, hand_over, said, done))

    async def through(self, claim: Claim, *said: str, connection: str = "primary") -> None:
        """One whole hand-over of the first positions, with these answers."""
        hand_over = await self.leave(claim, range(len(said)), connection)
        await self.answer(claim, hand_over, *said)

    async def row(self, unit: int) -> UnitRow:
        """A unit as it stands."""
        async with self.database.begin(synced=False) as connection:
            return (await UnitRows(self.database).lock(connection, [unit]))[unit]

    async def rows(self) -> dict[int, UnitRow]:
        """All units as they stand."""
        async with self.database.begin(synced=False) as connection:
            ids = (await connection.execute(sa.select(units.c.id))).scalars().all()
            return await UnitRows(self.database).lock(connection, ids)

    async def said(self, unit: int) -> dict[int, str]:
        """What there is to say of a unit's positions."""
        return (await self.all_said()).get(unit, {})

    async def all_said(self) -> dict[int, dict[int, str]]:
        """The same of all units."""
        found: dict[int, dict[int, str]] = {}
        async with self.database.read() as connection:
            for row in await connection.execute(sa.select(outcomes.c.unit_id, outcomes.c.position, outcomes.c.state)):
                found.setdefault(row.unit_id, {})[row.position] = row.state
        return found

    async def tried(self, unit: int) -> dict[str, str | None]:
        """The outcome of each attempt on a unit."""
        async with self.database.read() as connection:
            rows = await connection.execute(
                sa.select(attempts.c.id, attempts.c.outcome).where(attempts.c.unit_id == unit)
            )
            return {row.id: row.outcome for row in rows}


def chunk(number: int, size: int, **facts: Any) -> Chunk:
    """A chunk of that many recipients."""
    recipients = [packing.Packed(address(number, position), {"name": "Ada"}) for position in range(size)]
    return Chunk(number=number, size=size, recipients=packing.pack(recipients), **facts)


def new_send(size: int = 1, **facts: Any) -> NewSend:
    """A send to that many recipients."""
    recipients = packing.pack([packing.Packed(address(0, position)) for position in range(size)])
    known = {"message_id": "<id@example.com>", "message": b"message", "digest": b"digest"}
    return NewSend(size=size, recipients=recipients, **{**known, **facts})


def address(number: int, position: int) -> str:
    """A recipient's address."""
    return f"user{number}.{position}@example.net"


def outcome(said: str, recipient: str = "user@example.net", connection: str | None = "primary") -> Outcome:
    """An outcome of that state."""
    state = State(said)
    retry = Retry.ANY if state is State.DEFERRED else Retry.NEVER
    return Outcome(recipient=recipient, state=state, connection=connection, retry=retry, text=f"it was {said}")


def attempt(hand_over: HandOver, *said: str) -> Attempt:
    """What came of a hand-over as a whole."""
    whole = said[0] if len(set(said)) == 1 else "partial"
    return Attempt(
        id=hand_over.attempt_id, connection=hand_over.connection, stage="final", outcome=whole, recipients=len(said)
    )


def answers(claim: Claim, hand_over: HandOver, said: Sequence[str], done: Sequence[int] | None = None) -> list[Answer]:
    """What came of it for each position."""
    found = []
    for position, state in zip(bitmap.positions(hand_over.positions), said, strict=True):
        is_done = state != DEFERRED if done is None else position in done
        told = outcome(state, address(claim.number, position), hand_over.connection)
        found.append(Answer(position, told, is_done))
    return found


@asynccontextmanager
async def opened(
    url: str, *, clock: Clock | None = None, tenant: str = "default", writer: type[Writer] = Writer
) -> AsyncIterator[Ledger]:
    """A ledger on a database."""
    async with Database(url, clock=clock, tenant=tenant) as database, writer(database) as writing:
        yield Ledger(database, writing)
