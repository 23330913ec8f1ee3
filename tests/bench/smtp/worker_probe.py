"""Processes that share a broadcast: ``python -m tests.bench.smtp.worker_probe load|work SPEC``.

``load`` makes the tables, loads the broadcast, says so, starts it when it is told to, and answers when it has ended.
``work`` is a worker with connections of its own: it says when it is ready, and answers when it is told to end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import genie_connect as gc
from genie_connect.engine.contract import Place
from genie_connect.engine.open import upgrade_engine
from genie_connect.store.database import Database
from genie_connect.store.migrate import opened, upgrade
from tests.bench.smtp import message as messages
from tests.bench.smtp import probe
from tests.bench.smtp.client import Clock
from tests.bench.smtp.durable_probe import counts_of
from tests.bench.smtp.ours import connection_settings


def _config(spec: dict[str, Any]) -> dict[str, Any]:
    handle = gc.Registry.discover()["smtp"]
    reached = {"host": spec["host"], "port": spec["port"], "max_connections": spec["connections"]}
    settings = connection_settings(handle, spec["mode"], **reached)
    return {
        "connections": {"bench": {"connector": "smtp", "settings": settings}},
        "store": {"url": spec["url"]},
        "engine": {"url": spec["engine"]},
    }


async def _told(ready: dict[str, Any]) -> None:
    """Say that it is ready, and wait for a line."""
    print(json.dumps(ready), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def load(spec: dict[str, Any]) -> dict[str, Any]:
    """The broadcast, from its loading to its end."""
    async with opened(Database(spec["url"])) as store:
        await upgrade(store)
        place = Place(store=store.title, tenant=store.tenant, store_url=spec["url"])
    await upgrade_engine(spec["engine"], place)
    async with gc.Host.open(_config(spec), work=False) as host:
        recipients = (messages.recipient(number) for number in range(spec["count"]))
        made = await host.broadcast(messages.message("2KB"), recipients, start=False)
        await _told({"loaded": made.total})
        await made.start()
        ended = await made.wait()
    counts = ended.counts
    if counts.started is None or counts.finished is None:
        raise AssertionError("what has ended has been begun")
    return {"wall_s": counts.finished - counts.started, "counts": counts_of(counts)}


async def work(spec: dict[str, Any]) -> dict[str, Any]:
    """A worker, until it is told to end."""
    async with gc.Host.open(_config(spec)) as host:
        with Clock() as clock:
            await _told({"ready": True})
            health = host.health
    return {"cpu_s": clock.cpu_s, "chunks": 0 if health is None else health.units_done}


PROBES = {"load": load, "work": work}

if __name__ == "__main__":
    probe.main(PROBES)
