"""What one would write without a ledger: a job for each chunk, send it, acknowledge it. The engine's promise is all.

It is run under the same kills as ours, with the same engines and the same connector, so that the table shows what the
ledger is for. Nothing in it is careless: the job is acknowledged only after the last answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from genie_connect.engine.contract import Engine, Place, Work
from genie_connect.engine.open import open_engine, upgrade_engine
from genie_connect.host import Host
from genie_connect.model.message import Message
from tests.faults.crash.said import say

MESSAGE = Message(from_="Shop <shop@example.com>", subject="News", text="There is news.")


def recipients_of(first: int, count: int, name: str = "r") -> list[str]:
    """The made-up recipients of a run, in their order."""
    return [f"{name}{number}@example.net" for number in range(first, first + count)]


async def submit(options: dict[str, Any]) -> None:
    """The one who hands over the list: a job for each chunk."""
    place = Place(store=options["store_id"], tenant="naive", store_url=options["store_url"])
    await upgrade_engine(options["engine_url"], place)
    async with impatient(open_engine(options["engine_url"], place), options["redeliver_s"]) as engine:
        await engine.submit([Work(unit=number) for number in range(options["total"] // options["chunk"])])
    say("submitted")


def impatient(engine: Engine, silence_s: float) -> Engine:
    """Take a silence for a death sooner than by default; the URL has no word for it."""
    for attribute in ("_ack_wait_s", "_heartbeat_s"):
        if hasattr(engine, attribute):
            setattr(engine, attribute, silence_s)
    return engine


async def work(options: dict[str, Any]) -> None:
    """A worker. With the engine in memory its jobs come with it, and ``own`` says which; else they wait already."""
    place = Place(store=options["store_id"], tenant="naive", store_url=options["store_url"])
    await upgrade_engine(options["engine_url"], place)
    engine = impatient(open_engine(options["engine_url"], place), options["redeliver_s"])
    async with Host.open(options["config"], registry=options.get("registry")) as host, engine:

        async def handler(job: Work) -> None:
            names = recipients_of(job.unit * options["chunk"], options["chunk"])
            async for _ in host.send_each(MESSAGE, names):
                pass
            say(f"sent {job.unit}")

        await engine.submit([Work(unit=number) for number in range(*options["own"])])
        say("working")
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.run(handler, concurrency=options["concurrency"]))
