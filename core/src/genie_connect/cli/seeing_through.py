"""A broadcast that a command stays with: it works on it, shows how far it is, and ends as it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from genie_connect.broadcast.handle import Broadcast, Progress
from genie_connect.cli import progress as shown
from genie_connect.cli.configuration import configuration
from genie_connect.cli.degraded import Degraded
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Options
from genie_connect.cli.stopping import Stopping
from genie_connect.cli.terminal import Terminal
from genie_connect.cli.watching import LOOK_EVERY_S, UNDER_WAY, watch
from genie_connect.errors import BroadcastStateError
from genie_connect.host import Host

ABANDONED = "ended at once: whoever was just being sent to is unknown; see: genie-connect unknown list"
BY_HAND = "interrupted at the terminal"


async def see_through(
    options: Options,
    begin: Callable[[Host, Stopping], Awaitable[Broadcast]],
    *,
    more: Callable[[Broadcast], dict[str, Any]] = lambda broadcast: {},
) -> ExitCode:
    """Work on what ``begin`` began until nothing more comes of it, and say how it ended; ``more`` goes into the JSON.

    Interrupted at the terminal, it is paused. Ended by another signal, this process lets go, and it goes on with
    workers. Either way what is being handed over ends first.
    """
    terminal, config = options.terminal, configuration(options)
    with Stopping(abandoned=ABANDONED) as stopping:
        async with Host.open(config) as host:
            host.observers.add(Degraded(terminal))
            broadcast = await begin(host, stopping)
            if host.health is None and not terminal.json:
                terminal.say("this process does not work itself ([engine] work = false); genie-connect worker does")
            progress = await watch(
                terminal, broadcast, stopping, host=host, until=lambda progress: progress.state not in UNDER_WAY
            )
            if stopping.by is not None and progress.state in UNDER_WAY:
                progress = await _let_go(terminal, broadcast, stopping, config.engine.grace_s)
        code = ExitCode.INTERRUPTED if stopping.by is not None else shown.code_of(progress)
    conclude(terminal, broadcast, progress, code, more(broadcast))
    return code


async def _let_go(terminal: Terminal, broadcast: Broadcast, stopping: Stopping, grace_s: float) -> Progress:
    if not stopping.by_hand:
        terminal.say("stopping: what is being handed over ends; workers go on with the broadcast")
        return await broadcast.progress()
    terminal.say("pausing: what is being handed over ends; once more ends at once")
    with contextlib.suppress(BroadcastStateError):
        await broadcast.pause(reason=BY_HAND)
    # Nobody begins a hand-over any more. One that hangs is given up when the host closes.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            # Others may have some of it in hand, too: there is nothing here that could tell.
            while (await broadcast.progress()).counts.chunks_in_progress:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_S)
    return await broadcast.progress()


def conclude(
    terminal: Terminal, broadcast: Broadcast, progress: Progress, code: ExitCode, more: dict[str, Any]
) -> None:
    """Say how it ended, and what to do now."""
    if terminal.json:
        terminal.document({**shown.data(broadcast, progress), **more, "exit_code": int(code)})
    else:
        for line in shown.ending(broadcast, progress):
            terminal.line(line)
    for hint in shown.advice(progress, left=True):
        terminal.say(f"hint: {hint}")
