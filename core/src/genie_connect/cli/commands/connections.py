"""What is configured: ``connections``."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from genie_connect.cli.configuration import open_host
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.delivery.connection import Connection


@click.command(cls=Command)
@pass_options
def connections(options: Options) -> None:
    """List the configured connections in the order in which they are tried."""
    found = asyncio.run(_connections(options))
    terminal = options.terminal
    if terminal.json:
        terminal.document({"connections": found})
        return
    if not found:
        terminal.say(f"{options.config_path} has no connections")
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
