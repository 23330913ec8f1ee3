"""``broadcasts``: what is in the store, started, paused, gone on with, stopped, and seen how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import click

from genie_connect.broadcast.handle import Broadcast, Progress
from genie_connect.cli import progress as shown
from genie_connect.cli.configuration import open_host
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.seeing_through import see_through
from genie_connect.cli.stopping import Stopping
from genie_connect.cli.watching import UNDER_WAY, watch
from genie_connect.errors import BroadcastStateError
from genie_connect.host import Host

_id: Callable[..., Any] = click.argument("number", metavar="ID", type=int)
_reason: Callable[..., Any] = click.option("--reason", metavar="TEXT", help="Why; it is shown to who looks at it.")
_detach: Callable[..., Any] = click.option(
    "--detach", is_flag=True, help="End at once, and leave the work to workers (genie-connect worker)."
)


@click.group()
def broadcasts() -> None:
    """The broadcasts in the store. Whoever changes one need not be the process that works on it."""


@broadcasts.command("list", cls=Command)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many, the latest first.")
@pass_options
def list_(options: Options, limit: int) -> None:
    """List the broadcasts, latest first."""

    async def run() -> list[tuple[Broadcast, Progress]]:
        async with open_host(options) as host:
            return [(each, await each.progress()) for each in await host.broadcasts(limit=limit)]

    found = asyncio.run(run())
    terminal = options.terminal
    if terminal.json:
        terminal.document({"broadcasts": [shown.data(*each) for each in found]})
        return
    if not found:
        terminal.say("there are no broadcasts")
        return
    rows = [
        (
            each.id,
            each.name,
            each.state,
            f"{each.counts.total:,}",
            f"{each.counts.done:,}",
            f"{each.counts.unknown:,}",
            shown.when(broadcast.created.timestamp()),
        )
        for broadcast, each in found
    ]
    columns = ("id", "name", "state", "recipients", "done", "unknown", "created")
    terminal.table(columns, rows, right=("id", "recipients", "done", "unknown"))


@broadcasts.command(cls=Command)
@_id
@click.option("--watch", "go_on", is_flag=True, help="Go on showing it until it has ended or is paused.")
@pass_options
def show(options: Options, number: int, go_on: bool) -> ExitCode:
    """Show how far a broadcast is: counts, rate, what is left, and what each connection did.

    `deferred` of the total are those that were given up; of a connection also those that are tried again.
    """
    terminal = options.terminal

    async def run() -> tuple[Broadcast, Progress, ExitCode]:
        async with open_host(options) as host:
            broadcast = await host.find_broadcast(number)
            if not go_on:
                return broadcast, await broadcast.progress(), ExitCode.OK
            with Stopping(abandoned="ended at once") as stopping:
                progress = await watch(
                    terminal, broadcast, stopping, host=host, until=lambda progress: progress.state not in UNDER_WAY
                )
                return broadcast, progress, ExitCode.OK if stopping.by is None else ExitCode.INTERRUPTED

    broadcast, progress, code = asyncio.run(run())
    if terminal.json:
        terminal.document(shown.data(broadcast, progress))
    elif not go_on:
        _show(options, broadcast, progress)
    for hint in shown.advice(progress):
        terminal.say(f"hint: {hint}")
    return code


def _show(options: Options, broadcast: Broadcast, progress: Progress) -> None:
    terminal, counts = options.terminal, progress.counts
    terminal.line(shown.title(progress))
    facts = [
        ("why", progress.reason),
        ("created", shown.when(broadcast.created.timestamp())),
        ("started", shown.when(counts.started)),
        ("ended", shown.when(counts.finished)),
        ("rate", shown.pace(progress, time.time())),
        ("came twice", progress.duplicates),
        ("broken rows", progress.refused_rows),
    ]
    for fact, value in facts:
        if value:
            terminal.line(f"{fact + ':':13}{value}")
    terminal.line()
    terminal.table(shown.COLUMNS, shown.rows(progress), right=shown.COLUMNS[1:])


@broadcasts.command(cls=Command)
@_id
@click.option(
    "--also",
    type=click.Choice(["deferred", "suppressed"]),
    multiple=True,
    help="Also those that were given up (deferred), or are suppressed; may be given twice.",
)
@pass_options
def rejected(options: Options, number: int, also: tuple[str, ...]) -> None:
    """List whose copy was refused for good, and why, in the order of the list.

    They are written as they are read, however many there are; with --json each on a line of its own.
    """
    terminal = options.terminal

    async def run() -> int:
        count = 0
        async with open_host(options) as host:
            broadcast = await host.find_broadcast(number)
            async for copy in broadcast.rejected(("rejected", *also)):
                count += 1
                if terminal.json:
                    terminal.document(shown.copy_data(copy), indent=None)
                else:
                    terminal.line(shown.copy_line(copy))
        return count

    count = asyncio.run(run())
    if not terminal.json:
        terminal.say(f"{count:,} of broadcast {number}" if count else f"nobody of broadcast {number} was rejected")


@broadcasts.command(cls=Command)
@_id
@_detach
@pass_options
def start(options: Options, number: int, detach: bool) -> ExitCode:
    """Start a broadcast that was loaded with --no-start, and work on it as `broadcast` does."""

    async def begin(broadcast: Broadcast) -> None:
        await broadcast.start()

    return _go_on(options, number, begin, detach=detach)


@broadcasts.command(cls=Command)
@_id
@_detach
@pass_options
def resume(options: Options, number: int, detach: bool) -> ExitCode:
    """Go on with a paused broadcast, and work on it as `broadcast` does.

    Without --detach it takes up one that is running too, such as one whose process was killed.
    """

    async def begin(broadcast: Broadcast) -> None:
        try:
            await broadcast.resume()
        except BroadcastStateError as error:
            if detach or error.state != "running":
                raise

    return _go_on(options, number, begin, detach=detach)


@broadcasts.command(cls=Command)
@_id
@_reason
@pass_options
def pause(options: Options, number: int, reason: str | None) -> None:
    """Let nobody leave any more for now. What is being handed over ends; `resume` goes on."""
    _change(options, number, lambda broadcast: broadcast.pause(reason=reason))


@broadcasts.command(cls=Command)
@_id
@_reason
@pass_options
def stop(options: Options, number: int, reason: str | None) -> None:
    """End a broadcast for good: whoever has not been sent to never is."""
    _change(options, number, lambda broadcast: broadcast.stop(reason=reason))


def _change(options: Options, number: int, change: Callable[[Broadcast], Awaitable[None]]) -> None:
    async def run() -> tuple[Broadcast, Progress]:
        async with open_host(options) as host:
            broadcast = await host.find_broadcast(number)
            await change(broadcast)
            return broadcast, await broadcast.progress()

    broadcast, progress = asyncio.run(run())
    told(options, broadcast, progress)


def _go_on(options: Options, number: int, begin: Callable[[Broadcast], Awaitable[None]], *, detach: bool) -> ExitCode:
    if detach:
        _change(options, number, begin)
        return ExitCode.OK

    async def found(host: Host, stopping: Stopping) -> Broadcast:
        broadcast = await host.find_broadcast(number)
        await begin(broadcast)
        return broadcast

    return asyncio.run(see_through(options, found))


def told(
    options: Options, broadcast: Broadcast, progress: Progress, *, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Say how it stands after a change; ``more`` goes into the JSON."""
    if options.terminal.json:
        options.terminal.document({**shown.data(broadcast, progress), **more})
    else:
        for line in shown.ending(broadcast, progress):
            options.terminal.line(line)
    for hint in shown.advice(progress, left=True):
        options.terminal.say(f"hint: {hint}")
