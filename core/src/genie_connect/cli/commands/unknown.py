"""``unknown``: copies of which nobody knows whether they arrived."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from itertools import islice
from typing import Any

import attrs
import click

from genie_connect.cli.configuration import open_host
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.progress import iso, when
from genie_connect.errors import NothingUnknown
from genie_connect.host import Host
from genie_connect.store.unknown import Resolution, UnknownCopy

PAGE = 1000
AT_ONCE = 100
"""So many are resolved together, and share a commit."""
_TOLD = {
    Resolution.ACCEPTED: "counts as accepted",
    Resolution.REJECTED: "counts as rejected",
    Resolution.RESEND: "is to be sent again, though it may have arrived",
}
_resolution: Callable[..., Any] = click.argument(
    "resolution", metavar="|".join(Resolution), type=click.Choice([each.value for each in Resolution])
)
_note: Callable[..., Any] = click.option("--note", metavar="TEXT", help="How that is known; it stays with the outcome.")


@click.group()
def unknown() -> None:
    """Copies of which nobody knows whether they arrived: the answer to their hand-over was lost.

    None is sent again by itself. Later answers and events resolve them; otherwise the provider, or a person.
    """


@unknown.command("list", cls=Command)
@click.option("--broadcast", "broadcast", type=int, metavar="ID", help="Of this broadcast alone.")
@click.option("--limit", type=click.IntRange(min=1), help="So many at most.  [default: all]")
@pass_options
def list_(options: Options, broadcast: int | None, limit: int | None) -> None:
    """List them, with what it takes to look for them at the provider."""
    found = asyncio.run(_found(options, broadcast, limit))
    terminal = options.terminal
    if terminal.json:
        terminal.document({"unknown": [_data(copy) for copy in found]})
        return
    if not found:
        terminal.say("nothing is unknown")
        return
    rows = [
        (copy.unit, copy.position, copy.recipient, copy.connection or "", when(copy.at), copy.message_id)
        for copy in found
    ]
    terminal.table(
        ("unit", "position", "recipient", "connection", "since", "Message-ID"), rows, right=("unit", "position")
    )
    terminal.say(f"{len(found)} unknown")
    terminal.say("hint: genie-connect unknown resolve UNIT POSITION accepted|rejected|resend says what became of one")


@unknown.command(cls=Command)
@click.argument("unit", metavar="UNIT", type=int)
@click.argument("position", metavar="POSITION", type=int)
@_resolution
@_note
@pass_options
def resolve(options: Options, unit: int, position: int, resolution: str, note: str | None) -> None:
    """Say what became of a copy. `resend` has it sent again: its recipient may then have it twice."""

    async def run() -> None:
        async with open_host(options) as host:
            await host.resolve(unit, position, resolution, note=note)

    asyncio.run(run())
    if options.terminal.json:
        options.terminal.document({"unit": unit, "position": position, "resolution": resolution, "note": note})
    else:
        options.terminal.line(f"copy {unit}/{position} {_TOLD[Resolution(resolution)]}")


@unknown.command("resolve-all", cls=Command)
@_resolution
@click.option("--broadcast", "broadcast", type=int, metavar="ID", required=True, help="Of this broadcast.")
@_note
@pass_options
def resolve_all(options: Options, resolution: str, broadcast: int, note: str | None) -> None:
    """Say the same of all copies of a broadcast that are unknown now: what one kill leaves may be hundreds."""

    async def run() -> int:
        async with open_host(options) as host:
            await host.find_broadcast(broadcast)
            found = await _pages(host, broadcast, None)
            waiting = iter(found)
            while group := list(islice(waiting, AT_ONCE)):
                await asyncio.gather(*(_resolve(host, copy, resolution, note) for copy in group))
            return len(found)

    count = asyncio.run(run())
    if options.terminal.json:
        options.terminal.document({"resolved": count, "resolution": resolution, "note": note})
    else:
        options.terminal.line(f"{count} copies: each {_TOLD[Resolution(resolution)]}")


async def _resolve(host: Host, copy: UnknownCopy, resolution: str, note: str | None) -> None:
    # Somebody may have been quicker.
    with contextlib.suppress(NothingUnknown):
        await host.resolve(copy.unit, copy.position, resolution, note=note)


@unknown.command(cls=Command)
@pass_options
def reconcile(options: Options) -> None:
    """Ask the providers that have a look-up what became of them."""

    async def run() -> tuple[int, int]:
        async with open_host(options) as host:
            with options.terminal.busy("asking the providers ..."):
                resolved = await host.reconcile()
            return resolved, len(await _pages(host, None, None))

    resolved, left = asyncio.run(run())
    if options.terminal.json:
        options.terminal.document({"resolved": resolved, "unknown": left})
    else:
        options.terminal.line(f"{resolved} resolved; {left} unknown")


async def _found(options: Options, broadcast: int | None, limit: int | None) -> list[UnknownCopy]:
    async with open_host(options) as host:
        if broadcast is not None:
            # One that is not there has nothing unknown either; but that is not what was meant.
            await host.find_broadcast(broadcast)
        return await _pages(host, broadcast, limit)


async def _pages(host: Host, broadcast: int | None, limit: int | None) -> list[UnknownCopy]:
    found: list[UnknownCopy] = []
    after = (0, -1)
    while limit is None or len(found) < limit:
        page = await host.unknown(broadcast=broadcast, after=after, limit=PAGE)
        if not page:
            break
        found += page
        after = (page[-1].unit, page[-1].position)
    return found[:limit]


def _data(copy: UnknownCopy) -> dict[str, Any]:
    return attrs.asdict(copy) | {"started": iso(copy.started), "at": iso(copy.at)}
