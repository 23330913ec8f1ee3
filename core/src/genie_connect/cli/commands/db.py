"""``db``: the store's tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs
import click

from genie_connect.cli.configuration import configuration
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.stores import database, section
from genie_connect.config import StoreSection

if TYPE_CHECKING:
    from genie_connect.store.purge import Purged, Retention

DAY_S = 86_400.0


@click.group()
def db() -> None:
    """The store: bring its tables up to date, check them, delete what is old."""


@db.command(cls=Command)
@pass_options
def upgrade(options: Options) -> None:
    """Make the store's tables, or bring them up to date. All of it is done or nothing."""
    store = section(configuration(options))
    opened = database(store)
    from genie_connect.store import migrate  # alembic and SQL, for this command alone

    async def run() -> str | None:
        async with migrate.opened(opened):
            return await migrate.upgrade(opened)

    before = asyncio.run(run())
    terminal = options.terminal
    if terminal.json:
        terminal.document({"store": opened.title, "before": before, "version": migrate.VERSION})
    elif before == migrate.VERSION:
        terminal.line(f"{opened.title} is at version {before} already")
    else:
        terminal.line(f"{opened.title} is at version {migrate.VERSION} now; it had {before or 'no tables'}")


@db.command(cls=Command)
@pass_options
def check(options: Options) -> None:
    """Check that the store can be read and has the tables that this version needs. Changes nothing."""
    store = section(configuration(options))
    opened = database(store)
    from genie_connect.store import migrate  # as above

    async def run() -> None:
        async with migrate.opened(opened):
            await migrate.check(opened)

    asyncio.run(run())
    if options.terminal.json:
        options.terminal.document({"ok": True, "store": opened.title, "version": migrate.VERSION})
    else:
        options.terminal.line(f"{opened.title} is right: version {migrate.VERSION}")


@db.command(cls=Command)
@pass_options
def purge(options: Options) -> None:
    """Delete what is older than [store] keeps it: sends, broadcasts, events, history, and what has expired.

    Sends that are under way, and copies of which nobody knows whether they arrived, stay however old they are.
    """
    store = section(configuration(options))
    opened = database(store)
    from genie_connect.store.purge import Purge  # as above

    async def run() -> Purged:
        async with opened:
            return await Purge(opened).run(retention(store))

    counts = attrs.asdict(asyncio.run(run()))
    if options.terminal.json:
        options.terminal.document({"purged": counts, "store": opened.title})
        return
    gone = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    options.terminal.line(f"deleted {', '.join(gone)}" if gone else "nothing is older than it is to be kept")


def retention(store: StoreSection) -> Retention:
    """How long things are kept, as the configuration says; 0 days are for ever."""
    from genie_connect.store.purge import Retention  # as above

    def seconds(days: float) -> float | None:
        return days * DAY_S if days else None

    return Retention(
        sends_s=seconds(store.keep_sends_days),
        broadcasts_s=seconds(store.keep_broadcasts_days),
        events_s=seconds(store.keep_events_days),
        history_s=seconds(store.keep_history_days),
    )
