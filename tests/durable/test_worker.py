"""What a worker does when something beside its units goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from genie_connect.durable.worker import Worker, WorkerOptions
from genie_connect.engine import Handler, Work
from genie_connect.engine.embedded import EmbeddedEngine
from tests.durable.conftest import durable_host
from tests.support.connector import ScriptedConnector, letter


class Engine(EmbeddedEngine):
    """Ends by itself, as none should, or fails to take work in, as often as it is told to."""

    def __init__(self, *, ends: bool = False, fails: int = 0) -> None:
        super().__init__()
        self._ends = ends
        self.fails = fails

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Until it is stopped, or not at all."""
        if self._ends:
            raise LookupError("a bug")
        await super().run(handler, concurrency=concurrency)

    async def submit(self, work: Sequence[Work], *, transaction: Any = None) -> None:
        """Take it in, or fail."""
        if self.fails:
            self.fails -= 1
            raise LookupError("a bug")
        await super().submit(work, transaction=transaction)


def worker_of(host: Any, engine: Engine) -> Worker:
    """A worker of this host on another engine."""
    durable = host._with_store("a worker")
    return Worker(
        durable.ledger, engine, host._dispatcher, options=WorkerOptions(concurrency=4, micro_batch=1000, grace_s=30.0)
    )


async def test_an_engine_that_ends_by_itself_is_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is brought to the worker any more: it is not well, and says why."""
    async with durable_host(f"sqlite:///{tmp_path / 'store.db'}", ScriptedConnector("smtp"), work=False) as host:
        worker = worker_of(host, Engine(ends=True))
        async with worker.working(), asyncio.timeout(10):
            while worker.health.fed:
                await asyncio.sleep(0.01)
            swept = worker._swept
            worker.nudge()
            while worker._swept == swept:
                await asyncio.sleep(0.01)
            assert not worker.health.ok
            assert "the engine embedded has ended" in (worker.health.trouble or "")
    assert "has ended" in caplog.text


async def test_an_engine_in_trouble_is_seen_where_nothing_is_due(tmp_path: Path) -> None:
    """Nobody submits anything, so nobody else would meet with it."""
    async with durable_host(f"sqlite:///{tmp_path / 'store.db'}", ScriptedConnector("smtp"), work=False) as host:
        engine = Engine()
        worker = worker_of(host, engine)
        await worker._look_after_units()
        assert worker.health.trouble is None
        troubled: Any = engine
        troubled.trouble = "its server does not answer"
        await worker._look_after_units()
        assert worker.health.trouble == "its server does not answer"


async def test_a_fault_in_looking_after_units_is_none_for_ever(tmp_path: Path) -> None:
    """Whatever one look met with, there is another, and what it could not hand on waits for nobody."""
    smtp = ScriptedConnector("smtp", kind="smtp")
    async with durable_host(f"sqlite:///{tmp_path / 'store.db'}", smtp, work=False) as host:
        receipt = await host.send(letter(), durable=True)
        engine = Engine(fails=2)
        worker = worker_of(host, engine)
        with pytest.raises(LookupError):
            await worker._look_after_units()
        assert await host._with_store("a worker").ledger.units.waiting() == 0
        async with worker.working():
            assert (await host.settled(receipt.id or 0, timeout_s=30)).accepted
    assert engine.fails == 0


async def test_work_that_comes_to_a_worker_without_a_lease_goes_back_to_the_ledger(tmp_path: Path) -> None:
    """It is no failure of the work, for which the engine would let it wait, longer each time."""
    smtp = ScriptedConnector("smtp", kind="smtp")
    async with durable_host(f"sqlite:///{tmp_path / 'store.db'}", smtp, work=False) as host:
        receipt = await host.send(letter(), durable=True)
        assert receipt.id is not None
        worker, workers = worker_of(host, Engine()), host._with_store("a worker").ledger.workers
        await workers.leave()
        await worker._work(Work(unit=receipt.id, priority=0))
        assert smtp.calls == []
        await workers.register()
        async with worker.working():
            assert (await host.settled(receipt.id, timeout_s=30)).accepted
