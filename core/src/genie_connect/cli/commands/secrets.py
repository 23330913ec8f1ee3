"""``secrets``: the key that the store's secrets are encrypted with."""

from __future__ import annotations

import asyncio

import click

from genie_connect.cli.configuration import configuration
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.stores import database, section
from genie_connect.errors import ConfigurationError


@click.group()
def secrets() -> None:
    """The key of the store's secrets: make one, or change it."""


@secrets.command("new-key", cls=Command)
@pass_options
def new_key(options: Options) -> None:
    """Print a new key. It is kept nowhere: put it in an environment variable or a file, and say so in [store] key."""
    from genie_connect.store.secrets import new_key as make  # SQL and cryptography, for this command alone

    key = make()
    if options.terminal.json:
        options.terminal.document({"key": key})
    else:
        options.terminal.line(key)


@secrets.command(cls=Command)
@pass_options
def rotate(options: Options) -> None:
    """Encrypt all secrets anew with the first of the keys that [store] key gives.

    Give the new key first and the old one after it, to every process; then run this; then take the old one away.
    It may be interrupted and run again at any time.
    """
    store = section(configuration(options))
    if store.key is None:
        raise ConfigurationError("the store has no key", hint='add key = "env:GENIE_CONNECT_KEY" to [store]')
    opened = database(store)
    key = store.key
    from genie_connect.store.secrets import Keys  # as above
    from genie_connect.store.secrets import rotate as run_through

    async def run() -> tuple[int, int]:
        keys = Keys(key)
        async with opened:
            return await run_through(opened, keys)

    done, there = asyncio.run(run())
    if options.terminal.json:
        options.terminal.document({"rotated": done, "secrets": there})
    else:
        options.terminal.line(f"{done} of {there} secrets were encrypted anew; all are under the first key")
