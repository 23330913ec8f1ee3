"""``worker``: a process that works on what is in the store until it is told to stop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import click

from genie_connect.cli.configuration import configuration
from genie_connect.cli.degraded import Degraded
from genie_connect.cli.health import HealthEndpoint, place
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.stopping import Stopping
from genie_connect.cli.stores import section
from genie_connect.cli.terminal import Terminal
from genie_connect.durable.worker import Worker, WorkerHealth
from genie_connect.errors import EngineUnavailable
from genie_connect.host import Host

LOOK_EVERY_S: Final = 1.0
TELL_EVERY_S: Final = 60.0
ABANDONED: Final = "ended at once: whoever was just being sent to is unknown; see: genie-connect unknown list"


@click.command(cls=Command)
@click.option(
    "--health",
    type=place,
    metavar="[HOST:]PORT",
    help="Answer GET /health (200 or 503) and /live there; without HOST for this machine alone.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 256), metavar="N", help="Units at a time, in place of [engine]'s."
)
@pass_options
def worker(options: Options, health: tuple[str, int] | None, concurrency: int | None) -> None:
    """Work on durable sends and broadcasts in the store until SIGTERM or Ctrl-C.

    Any number may run on a store, on any number of machines. When it is told to stop, hand-overs under way end, for
    [engine] grace_s seconds at most, and the rest is given back; told again, it ends at once.
    """
    asyncio.run(_run(options, health, concurrency))


async def _run(options: Options, health: tuple[str, int] | None, concurrency: int | None) -> None:
    config = configuration(options)
    section(config)
    if concurrency is not None:
        config = attrs.evolve(config, engine=attrs.evolve(config.engine, concurrency=concurrency))  # type: ignore[misc]  # settings are attrs classes
    log = _Log(options.terminal)
    with Stopping(abandoned=ABANDONED) as stopping:
        async with Host.open(config, work=False) as host:
            host.observers.add(Degraded(options.terminal))
            made = host.worker()
            async with made.working(), _endpoint(health, made, log):
                log.tell("working", worker=made.health.worker, engine=config.engine.url.partition(":")[0])
                await _until_asked(made, stopping, log)
                log.tell("stopping", in_progress=made.health.in_progress)
        log.tell("stopped", units_done=made.health.units_done)


async def _until_asked(made: Worker, stopping: Stopping, log: _Log) -> None:
    told_at, done = 0.0, 0
    trouble: str | None = None
    clock = asyncio.get_running_loop().time
    while not await stopping.within(LOOK_EVERY_S):
        health = made.health
        if not health.fed:
            raise EngineUnavailable(health.trouble or "the engine has ended", hint="start the worker again")
        if health.trouble != trouble:
            trouble = health.trouble
            log.tell("trouble" if trouble else "recovered", **({"what": trouble} if trouble else {}))
        if health.units_done != done and clock() - told_at >= TELL_EVERY_S:
            told_at, done = clock(), health.units_done
            log.tell("progress", units_done=done, in_progress=health.in_progress)


@asynccontextmanager
async def _endpoint(where: tuple[str, int] | None, made: Worker, log: _Log) -> AsyncIterator[None]:
    if where is None:
        yield
        return
    async with HealthEndpoint(*where, lambda: (made.health.ok, _data(made.health))) as endpoint:
        log.tell("health", url=endpoint.url)
        yield


def _data(health: WorkerHealth) -> dict[str, Any]:
    shown = attrs.asdict(health)
    # JSON has no infinity, which is how old a sweep is that never was.
    return shown | {"sweep_age_s": None if math.isinf(health.sweep_age_s) else round(health.sweep_age_s, 1)}


@attrs.frozen
class _Log:
    """Lines for a log, on standard error; with ``--json`` an object on each line, on standard output."""

    terminal: Terminal

    def tell(self, event: str, **facts: Any) -> None:
        now = datetime.now(UTC)
        if self.terminal.json:
            self.terminal.document({"at": now.isoformat(), "event": event, **facts}, indent=None)
            return
        said = " ".join(f"{name}={value}" for name, value in facts.items())
        self.terminal.say(f"{now:%Y-%m-%dT%H:%M:%SZ} {event} {said}".rstrip())
