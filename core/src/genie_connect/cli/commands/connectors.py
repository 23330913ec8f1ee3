"""What is installed: ``connectors``, ``capabilities``, ``schema``."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from genie_connect.cli.configuration import configuration_if_any, registry
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.config import Config
from genie_connect.contract import API_MAJOR
from genie_connect.errors import ContractViolation, GenieConnectError
from genie_connect.host import Host
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.codec import unstructure
from genie_connect.model.diagnosis import Status
from genie_connect.model.schema import settings_table
from genie_connect.registry import ConnectorHandle, Failure


@click.command(cls=Command)
@pass_options
def connectors(options: Options) -> None:
    """List the installed connectors, and those that failed to load with the reason."""
    found = registry(configuration_if_any(options))
    terminal = options.terminal
    if terminal.json:
        failed = [_failure(failure) for failure in found.failures]
        terminal.document({"connectors": [_connector(handle) for handle in found], "failed": failed})
        return
    rows = [
        (each.id, each.info.title, each.info.kind.value, each.quality.value, _package(each), each.info.summary)
        for each in found
    ]
    if rows:
        terminal.table(("id", "title", "kind", "quality", "package", "what it is"), rows)
    else:
        terminal.say('no connectors are installed; to have one: pip install "genie-connect-smtp"')
    if found.failures:
        terminal.line()
        terminal.table(
            ("failed to load", "package", "stage", "reason", "hint"),
            [
                (each.connector, f"{each.distribution} {each.version}".strip(), each.stage, each.reason, each.hint)
                for each in found.failures
            ],
        )
    if terminal.verbose:
        for failure in found.failures:
            if failure.traceback:
                terminal.say(f"{failure.connector}:\n{failure.traceback}")


@click.command(cls=Command)
@click.argument("name", metavar="ID|CONNECTION")
@click.option("--full", is_flag=True, help="Every capability with its limits, not only the headline ones.")
@click.option("--ask", is_flag=True, help="Ask the connection's server first, which delivers nothing.")
@pass_options
def capabilities(options: Options, name: str, full: bool, ask: bool) -> None:
    """Show what a connector can do at the most, or what a connection of the file or the store can do."""
    config = configuration_if_any(options)
    found = asyncio.run(_of_connection(config, name, ask))
    is_connection = found is not None
    if ask and not is_connection:
        raise click.UsageError(f"there is no connection {name!r} whose server could be asked")
    table = registry(config)[name].capabilities() if found is None else found
    terminal = options.terminal
    if terminal.json:
        terminal.document(_table(table, connection=name if is_connection else None))
        return
    if full:
        rows = [(entry.title, entry.text, _limits(entry.limits), entry.name) for entry in table]
        terminal.table(("Capability", "Support", "Limits", "Name"), rows)
    elif terminal.console().is_terminal:
        terminal.table(("Capability", "Support"), table.rows())
    else:
        terminal.line(table.render())
    if is_connection:
        known = "as its server announced them" if table.effective else "as declared; --ask asks its server"
        terminal.say(f"capabilities of the connection {name}, {known}")


@click.command(cls=Command)
@click.argument("connector", metavar="ID")
@click.option("--table", is_flag=True, help="A Markdown table instead of JSON Schema.")
@pass_options
def schema(options: Options, connector: str, table: bool) -> None:
    """Print the JSON Schema (2020-12) of a connector's settings."""
    handle = registry(configuration_if_any(options))[connector]
    if table:
        options.terminal.line(settings_table(handle.info.settings_class))
    else:
        options.terminal.document(handle.schema())


async def _of_connection(config: Config, name: str, ask: bool) -> CapabilityTable | None:
    """The table of a connection; ``None`` where neither the file nor the store has one of this name."""
    if config.store is None and all(connection.name != name for connection in config.connections):
        return None
    async with Host.open(config, work=False) as host:
        if all(connection.name != name for connection in host.connections()):
            return None
        if ask:
            async for step in host.test(name):
                if step.status is Status.FAIL and step.diagnosis is not None:
                    raise GenieConnectError(step.diagnosis.title, hint=" ".join(step.diagnosis.fixes))
        return host.capabilities(name)


def _connector(handle: ConnectorHandle) -> dict[str, Any]:
    info = handle.info
    return {
        "id": handle.id,
        "title": info.title,
        "kind": info.kind.value,
        "summary": info.summary,
        "package": handle.distribution,
        "version": handle.version,
        "docs_url": info.docs_url,
        "api": f"{API_MAJOR}.{info.api}",
        "quality": handle.quality.value,
        **_declared(handle),
    }


def _declared(handle: ConnectorHandle) -> dict[str, Any]:
    """What it can do at the most, and what it has to be told; a connector with a fault says neither."""
    try:
        return {
            "capabilities": {entry.name: entry.level.value for entry in handle.capabilities()},
            "settings_schema": handle.schema(),
        }
    except ContractViolation as error:
        return {"capabilities": {}, "settings_schema": handle.schema(), "fault": error.message}


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "id": failure.connector,
        "package": failure.distribution,
        "version": failure.version,
        "stage": failure.stage,
        "reason": failure.reason,
        "hint": failure.hint,
    }


def _table(table: CapabilityTable, *, connection: str | None) -> dict[str, Any]:
    entries = [
        {
            "name": entry.name,
            "title": entry.title,
            "level": entry.level.value,
            "support": entry.text,
            "note": entry.note,
            "limits": unstructure(entry.limits),
        }
        for entry in table
    ]
    return {
        "connector": table.connector,
        "connection": connection,
        "effective": table.effective,
        "capabilities": entries,
    }


def _package(handle: ConnectorHandle) -> str:
    return f"{handle.distribution} {handle.version}".strip() or "built in"


def _limits(limits: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.items())
