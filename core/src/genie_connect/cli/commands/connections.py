"""``connections``: those of the file and of the store, in the order in which they are tried."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from genie_connect.cli.commands.stored_connections import add, remove, show
from genie_connect.cli.commands.test import test
from genie_connect.cli.configuration import open_host
from genie_connect.cli.options import Command, Group, Options, pass_options
from genie_connect.delivery.connection import Connection


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def connections(context: click.Context) -> None:
    """The connections of the file and of the store; without a command they are listed.

    Those in the store are of use to every process on it: a worker needs no more than the store's URL and key, in the
    environment as GENIE_CONNECT__STORE__URL and GENIE_CONNECT__STORE__KEY.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_)


@connections.command("list", cls=Command)
@pass_options
def list_(options: Options) -> None:
    """List them in the order in which they are tried."""
    found = asyncio.run(_connections(options))
    terminal = options.terminal
    if terminal.json:
        terminal.document({"connections": found})
        return
    if not found:
        terminal.say("there are no connections; genie-connect connections add keeps one in the store")
        return
    rows = [
        (
            each["name"],
            each["connector"],
            each["kind"],
            each["priority"],
            "yes" if each["active"] else "no",
            each["default_from"] or "none",
            ", ".join(each["purposes"]) or "all",
        )
        for each in found
    ]
    columns = ("connection", "connector", "kind", "priority", "active", "default From", "purposes")
    terminal.table(columns, rows, right=["priority"])


for command in (add, show, remove, test):
    connections.add_command(command)


async def _connections(options: Options) -> list[dict[str, Any]]:
    async with open_host(options) as host:
        return [_connection(each) for each in host.connections()]


def _connection(connection: Connection) -> dict[str, Any]:
    config = connection.config
    return {
        "name": connection.name,
        "connector": config.connector,
        "kind": connection.kind.value,
        "priority": config.priority,
        "active": config.active,
        "default_from": None if config.default_from is None else str(config.default_from),
        "purposes": sorted(purpose.value for purpose in config.purposes),
        "allowed_from": list(config.allowed_from),
        "rate_per_s": config.rate_per_s,
        "max_concurrent": config.max_concurrent,
    }
