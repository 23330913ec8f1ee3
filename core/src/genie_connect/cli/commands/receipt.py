"""``receipt``: what became of a send that the store has."""

from __future__ import annotations

import asyncio

import click

from genie_connect.cli.configuration import open_host
from genie_connect.cli.errors import Failed
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.receipts import show
from genie_connect.model.receipt import Receipt


@click.command(cls=Command)
@click.argument("send", metavar="ID", type=int)
@pass_options
def receipt(options: Options, send: int) -> ExitCode:
    """Show what is known of a send by the number that it was given, as `send` shows it. Needs a store."""
    found = asyncio.run(_receipt(options, send))
    if found is None:
        hint = "give the number that genie-connect send ended with, or the id of a receipt"
        raise Failed(
            f"there is no send {send}", cause="none has this number, or it was purged", hint=hint, code=ExitCode.STATE
        )
    return show(options.terminal, found)


async def _receipt(options: Options, send: int) -> Receipt | None:
    async with open_host(options) as host:
        return await host.receipt(send)
