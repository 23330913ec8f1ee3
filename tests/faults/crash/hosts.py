"""Hosts under test: one that makes the tables, one that loads a broadcast, one that sends durably, one that works, and
one that only looks. They use what any host uses; where they read the store by themselves they only look.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import attrs
import sqlalchemy as sa

from genie_connect.broadcast.handle import Broadcast
from genie_connect.engine.contract import Place
from genie_connect.engine.nats import NatsEngine
from genie_connect.engine.open import upgrade_engine
from genie_connect.engine.pgqueuer import PgQueuerEngine
from genie_connect.errors import StoreError
from genie_connect.host import Host
from genie_connect.model.outcome import State
from genie_connect.store.database import Database
from genie_connect.store.migrate import opened, upgrade
from genie_connect.store.schema import BroadcastState, UnitState, broadcasts, outcomes, units
from tests.faults.crash.naive import MESSAGE, recipients_of
from tests.faults.crash.said import say

NAME: Final = "news"
SENDERS: Final = 2
ENDLESS: Final = 1_000_000
SUPPRESSED: Final = 3
PAUSE_S: Final = 0.2
LOOK_EVERY_S: Final = 0.1
PATIENCE_S: Final[dict[type, dict[str, float]]] = {
    NatsEngine: {"ack_wait_s": 2.0},
    PgQueuerEngine: {"heartbeat_s": 2.0},
}
"""How long an engine is trusted with a unit, shorter than by default: a run with many deaths would wait for each."""
T = TypeVar("T")


def host_of(options: dict[str, Any], *, work: bool) -> Host:
    """The host of this process."""
    for service, shorter in PATIENCE_S.items():
        service.__init__.__kwdefaults__.update(shorter)  # type: ignore[misc]
    config = options["config"]
    if "grace_s" in options:
        config = {**config, "engine": {**config["engine"], "grace_s": options["grace_s"]}}
    return Host.open(config, registry=options.get("registry"), work=work)


async def upgrade_all(options: dict[str, Any]) -> None:
    """Make the tables of the store and of the engine."""
    url = options["config"]["store"]["url"]
    async with opened(Database(url)) as store:
        await upgrade(store)
        place = Place(store=store.title, tenant=store.tenant, store_url=url)
    await upgrade_engine(options["config"]["engine"]["url"], place)


async def load(options: dict[str, Any]) -> None:
    """Load a broadcast and start it, unless a former life has done so: a host looks before it loads again."""
    async with host_of(options, work=False) as host:
        # Some who are not to be written to, so that there are outcomes without a hand-over, in more chunks than one.
        for chunk in range(SUPPRESSED):
            await host.suppressions.add(recipients_of(chunk * options["config"]["engine"]["chunk"] + 3, 1, "b")[0])
        there = {(await each.progress()).state: each for each in await host.broadcasts()}
        # What was not loaded whole never starts, and is put out of the way.
        if half := there.pop("loading", None):
            await half.stop(reason="its loader was killed")
        there.pop("stopped", None)
        if whole := there.get("ready"):
            await whole.start()
        elif not there:
            await host.broadcast(MESSAGE, recipients_of(0, options["total"], "b"), name=NAME)
    say("started")


async def send(options: dict[str, Any]) -> None:
    """Send durably, some at a time, and say so each time it was acknowledged.

    Each number has its own idempotency key. Those that nobody was told of are sent again after a death.
    """
    known = set(options["known"])
    numbers = (number for number in itertools.count() if number not in known)
    async with host_of(options, work=options.get("works", False)) as host:
        say("sending")

        async def one(number: int) -> None:
            message = attrs.evolve(MESSAGE, to=recipients_of(number, 1, "s"))
            await patiently(lambda: host.send(message, durable=True, idempotency_key=f"key {number}"))
            say(f"acknowledged {number}")

        for _ in range(options.get("most", ENDLESS) // SENDERS):
            await asyncio.gather(*(one(next(numbers)) for _ in range(SENDERS)))
            await asyncio.sleep(PAUSE_S)
        await asyncio.Event().wait()


async def plain(options: dict[str, Any]) -> None:
    """Send and wait for each result, as most hosts do."""
    async with host_of(options, work=False) as host:
        for number in range(options["first"], options["first"] + options["count"]):
            (recipient,) = recipients_of(number, 1, "p")
            receipt = await host.send(attrs.evolve(MESSAGE, to=[recipient]))
            say(f"told {number} {receipt.outcomes[recipient].state.value}")


async def resolve(options: dict[str, Any]) -> None:
    """Settle what is unknown, by what the server is known to have."""
    taken = set(options["taken"])
    async with host_of(options, work=False) as host:
        for copy in await host.unknown(limit=1000):
            await host.resolve(copy.unit, copy.position, "accepted" if copy.recipient in taken else "resend")


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try until the store can be written, as a host does whose callers wait."""
    while True:
        try:
            return await attempt()
        except StoreError:
            await asyncio.sleep(0.1)


async def work(options: dict[str, Any]) -> None:
    """A host that works until it is told to stop."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with host_of(options, work=True):
        say("working")
        await told.wait()


async def look(options: dict[str, Any]) -> None:
    """Say what there is to be seen, once nothing is left to do or nothing has happened for ``still_for_s`` seconds."""
    async with Database(options["config"]["store"]["url"]) as store:
        loop = asyncio.get_running_loop()
        before, since = None, loop.time()
        while await patiently(lambda: _unfinished(store)) and loop.time() < since + options["still_for_s"]:
            await asyncio.sleep(LOOK_EVERY_S)
            if (now := await patiently(lambda: _settled(store))) != before:
                before, since = now, loop.time()
        async with host_of(options, work=False) as host:
            say(json.dumps(await patiently(lambda: _all(host, store))))


async def _all(host: Host, store: Database) -> dict[str, Any]:
    # Asked before and after the rest is read: what changes in between is no picture of an end.
    unfinished = await _unfinished(store)
    states = await _states(store)
    # Listed is what a host sees; that the rows are there would not do.
    listed: list[str] = []
    after = (0, -1)
    while copies := await host.unknown(after=after, limit=1000):
        listed += [copy.recipient for copy in copies]
        after = (copies[-1].unit, copies[-1].position)
    counts: Counter[str] = Counter()
    for each in await host.broadcasts():
        counts += await _counts(each)
    unfinished = max(unfinished, await _unfinished(store))
    return {"states": {**states, **dict.fromkeys(listed, "unknown")}, "counts": counts, "unfinished": unfinished}


async def _counts(broadcast: Broadcast) -> Counter[str]:
    progress = await broadcast.progress()
    if progress.state == "stopped":
        return Counter()
    return Counter({state.value: getattr(progress.counts, state.value) for state in State})


async def _states(store: Database) -> dict[str, str]:
    chosen = sa.select(outcomes.c.recipient, outcomes.c.state).where(outcomes.c.state != "unknown")
    async with store.read() as connection:
        return {row.recipient: row.state for row in await connection.execute(chosen)}


async def _settled(store: Database) -> tuple[Any, ...]:
    sums = [sa.func.sum(units.c[state.value]) for state in State]
    async with store.read() as connection:
        return tuple((await connection.execute(sa.select(*sums))).one())


async def _unfinished(store: Database) -> int:
    stopped = sa.exists().where(broadcasts.c.id == units.c.broadcast_id, broadcasts.c.state == BroadcastState.STOPPED)
    chosen = sa.select(sa.func.count()).select_from(units).where(units.c.state != UnitState.DONE, ~stopped)
    async with store.read() as connection:
        return int(await connection.scalar(chosen) or 0)


ROLES: Final[dict[str, Any]] = {
    "upgrade": upgrade_all,
    "load": load,
    "send": send,
    "plain": plain,
    "work": work,
    "resolve": resolve,
    "look": look,
}
