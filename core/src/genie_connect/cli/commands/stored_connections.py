"""``connections add|show|remove``: connections in the store, which every process on it uses."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import attrs
import click

from genie_connect.cli.configuration import configuration, registry
from genie_connect.cli.errors import Failed
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.stores import database, section
from genie_connect.config import Config, ConnectionSection, EnvironmentText, StoreSection, connection_settings, typed
from genie_connect.delivery.connection import ConnectionConfig
from genie_connect.errors import GenieConnectError
from genie_connect.model.message import Purpose
from genie_connect.model.secret import MASK, Secret
from genie_connect.model.settings import info_of, redacted, structure_settings
from genie_connect.registry import ConnectorHandle
from genie_connect.registry.behind import read_by, settings_class

_name: Callable[..., Any] = click.argument("name", metavar="NAME")


@click.command(cls=Command)
@_name
@click.option("--connector", required=True, metavar="ID", help="Which connector, such as smtp.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A setting. A secret only as env: or file:.")
@click.option(
    "--secret", "secrets", multiple=True, metavar="NAME[=env:NAME|file:PATH]", help="A secret to encrypt in the store."
)
@click.option("--priority", metavar="N", help="Lower goes first among connectors of one kind.")
@click.option("--default-from", metavar="ADDRESS", help="The From of messages that have none.")
@click.option("--purposes", metavar="LIST", help="transactional, marketing, or both with a comma.")
@click.option("--allowed-from", metavar="LIST", help="Addresses and domains that it may send from, with commas.")
@click.option("--rate-per-s", metavar="N", help="Recipients a second.")
@click.option("--max-concurrent", metavar="N", help="Attempts at a time.")
@click.option("--inactive", is_flag=True, help="Keep it, and do not use it.")
@click.option("--replace", is_flag=True, help="In the place of one with this name.")
@pass_options
def add(
    options: Options,
    /,
    name: str,
    connector: str,
    given: tuple[str, ...],
    secrets: tuple[str, ...],
    *,
    inactive: bool,
    replace: bool,
    **section_options: str | None,
) -> None:
    """Keep a connection in the store.

    A secret is never an argument. `--set api_key=env:NAME` keeps the reference, which every process reads for itself.
    `--secret api_key=env:NAME` reads it now and keeps it encrypted; `--secret api_key` asks for it on the terminal.
    """
    config = configuration(options)
    store = section(config)
    connectors = registry(config)
    handle = connectors[connector]
    texts = {key: EnvironmentText(value) for key, value in section_options.items() if value is not None}
    about = structure_settings(
        ConnectionSection, typed(ConnectionSection, {**texts, "connector": connector, "active": not inactive})
    )
    chosen = settings_class(connectors, handle, dict(each.partition("=")[::2] for each in given))
    settings = handle.settings(typed(chosen, _settings(handle, chosen, given, secrets)), chosen)
    made = ConnectionConfig(
        name=name,
        connector=connector,
        settings={},
        priority=about.priority,
        active=about.active,
        default_from=about.default_from,
        purposes=frozenset(Purpose(purpose) for purpose in about.purposes),
        allowed_from=about.allowed_from,
        rate_per_s=about.rate_per_s,
        max_concurrent=about.max_concurrent,
    )
    asyncio.run(_save(store, made, settings, replace=replace))
    if any(each.name == name for each in config.connections):
        options.terminal.say(f"warning: the file has a connection {name} too, which goes before that of the store")
    if options.terminal.json:
        reader = read_by(connectors, handle, settings)
        options.terminal.document(_data(made, redacted(settings), kept="store", reader=reader))
    else:
        options.terminal.line(f"connection {name} is in the store; try it with: genie-connect connections test {name}")


@click.command(cls=Command)
@_name
@pass_options
def show(options: Options, name: str) -> None:
    """Show a connection and its settings. Secrets are masked, references to them are not."""
    config = configuration(options)
    found = next((each for each in config.connections if each.name == name), None)
    kept = "file"
    if found is None and config.store is not None:
        stored = asyncio.run(_stored(config.store))
        found, kept = next((each for each in stored if each.name == name), None), "store"
    if found is None:
        raise _missing(name)
    masked, reader = _seen(config, found)
    data = _data(found, masked, kept=kept, reader=reader)
    if options.terminal.json:
        options.terminal.document(data)
        return
    settings = data.pop("settings")
    webhook = data.pop("webhook")
    for fact, value in data.items():
        options.terminal.line(f"{fact + ':':16}{_told(value)}")
    told = "none" if webhook is None else f"{webhook['path']}, read by {webhook['read_by']}"
    options.terminal.line(f"{'webhook:':16}{told}")
    options.terminal.line("settings:")
    for fact, value in settings.items():
        options.terminal.line(f"  {fact + ':':22}{_told(value)}")


@click.command(cls=Command)
@_name
@pass_options
def remove(options: Options, name: str) -> None:
    """Take a connection and its secrets out of the store. Processes that have it open use it until they end."""
    store = section(configuration(options))
    opened = database(store)
    from genie_connect.store.connections import remove_connection  # SQL, which is an extra

    async def run() -> bool:
        async with opened:
            return await remove_connection(opened, name)

    if not asyncio.run(run()):
        raise _missing(name)
    if options.terminal.json:
        options.terminal.document({"removed": name})
    else:
        options.terminal.line(f"connection {name} and its secrets are no longer in the store")


def _settings(handle: ConnectorHandle, cls: type[Any], given: Sequence[str], secrets: Sequence[str]) -> dict[str, Any]:
    fields = attrs.fields_dict(cls)
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.UsageError(f"--set {name} has no value: write NAME=VALUE")
        if name in fields and info_of(fields[name]).secret and Secret(value).reference is None:
            raise _no_argument(f"--set {name}", name)
        found[name] = EnvironmentText(value)
    for each in secrets:
        name, equals, reference = each.partition("=")
        if name not in fields or not info_of(fields[name]).secret:
            known = [field for field, made in fields.items() if info_of(made).secret]
            raise click.UsageError(f"{name!r} is no secret of {handle.id}; it has {', '.join(known) or 'none'}")
        if equals and Secret(reference).reference is None:
            raise _no_argument(f"--secret {name}", name)
        # A value that looks like a reference is the value all the same.
        found[name] = "literal:" + (Secret(reference).reveal() if equals else _asked(name))
    return found


def _no_argument(option: str, name: str) -> Failed:
    return Failed(
        f"{option} takes no secret",
        cause="arguments can be read by every process of this machine, and stay in the shell's history",
        hint=f"give env:NAME or file:PATH, or --secret {name} alone for a prompt",
    )


def _asked(name: str) -> str:
    if not sys.stdin.isatty():
        hint = f"give --secret {name}=env:NAME or --secret {name}=file:PATH"
        raise Failed(f"there is no {name}", cause="standard input is no terminal to ask on", hint=hint)
    return str(click.prompt(name, hide_input=True, err=True))


async def _save(store: StoreSection, made: ConnectionConfig, settings: Any, *, replace: bool) -> None:
    opened = database(store)
    from genie_connect.store.connections import load_connections, save_connection  # SQL, as above
    from genie_connect.store.secrets import Keys

    keys = None if store.key is None else Keys(store.key)
    async with opened:
        there = {each.name for each in await load_connections(opened, keys)}
        if made.name in there and not replace:
            raise Failed(
                f"there is a connection {made.name} in the store",
                hint="--replace puts this one in its place",
                code=ExitCode.STATE,
            )
        await save_connection(opened, keys, made, settings)


async def _stored(store: StoreSection) -> tuple[ConnectionConfig, ...]:
    opened = database(store)
    from genie_connect.store.connections import load_connections  # SQL, as above
    from genie_connect.store.secrets import Keys

    async with opened:
        return await load_connections(opened, None if store.key is None else Keys(store.key))


def _seen(config: Config, found: ConnectionConfig) -> tuple[dict[str, Any], ConnectorHandle | None]:
    """A connection's settings, secrets masked, and the connector that reads its webhooks."""
    connectors = registry(config)
    try:
        settings = connection_settings(connectors, found.connector, found.settings)
        return redacted(settings), read_by(connectors, connectors[found.connector], settings)
    except GenieConnectError:
        # Which of them are secrets is known only to a connector that can be asked.
        return dict.fromkeys(found.settings, MASK), None


def _webhook(reader: ConnectorHandle | None, name: str) -> dict[str, str] | None:
    """Where the receiver takes a connection's webhooks, below its own URL, and whose connector reads them."""
    return None if reader is None else {"path": f"/{quote(name, safe='')}", "read_by": reader.id}


def _data(
    config: ConnectionConfig, settings: dict[str, Any], *, kept: str, reader: ConnectorHandle | None
) -> dict[str, Any]:
    return {
        "name": config.name,
        "kept": kept,
        "connector": config.connector,
        "priority": config.priority,
        "active": config.active,
        "default_from": None if config.default_from is None else str(config.default_from),
        "purposes": sorted(purpose.value for purpose in config.purposes),
        "allowed_from": list(config.allowed_from),
        "rate_per_s": config.rate_per_s,
        "max_concurrent": config.max_concurrent,
        "webhook": _webhook(reader, config.name),
        "settings": settings,
    }


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value) or "any"
    return "none" if value is None else str(value)


def _missing(name: str) -> Failed:
    return Failed(f"there is no connection {name}", hint="genie-connect connections lists them", code=ExitCode.STATE)
