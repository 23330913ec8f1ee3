"""``config``: what the configuration says, where each value comes from, and whether it can be used."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import click

from genie_connect.cli.configuration import configuration, registry
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.toml import toml
from genie_connect.config import Config, EnvironmentText, connection_settings, overlaid
from genie_connect.delivery.connection import ConnectionConfig
from genie_connect.errors import ConfigurationError, GenieConnectError, Problem, SecretUnavailable, SettingsError
from genie_connect.model.secret import MASK, Secret
from genie_connect.model.settings import redacted
from genie_connect.registry import Registry


@attrs.frozen(kw_only=True)
class Value:
    """One value of the configuration, secrets masked, and where it comes from: default, file or environment."""

    path: tuple[str, ...]
    value: Any
    origin: str


@click.group()
def config() -> None:
    """The configuration: one TOML file, single values overridden by the environment.

    GENIE_CONNECT__CONNECTIONS__PRIMARY__SETTINGS__PORT=587 sets connections.primary.settings.port.
    Precedence: defaults, file, environment.
    """


@config.command(cls=Command)
@click.option("--origin", is_flag=True, help="Say of each value whether it is a default, or from file or environment.")
@pass_options
def show(options: Options, origin: bool) -> None:
    """Print the configuration in force, defaults included. Secrets are masked, references to secrets are not."""
    checked = configuration(options)
    values = list(_values(checked, registry(checked), _given(options)))
    if options.terminal.json:
        listed = [{"path": ".".join(each.path), "value": each.value, "origin": each.origin} for each in values]
        options.terminal.document({"file": str(options.config_path), "values": listed})
        return
    comments = {each.path: each.origin for each in values} if origin else {}
    options.terminal.line(toml({each.path: each.value for each in values}, comments))


@config.command(cls=Command)
@pass_options
def check(options: Options) -> None:
    """Check the whole configuration: its form, every connection's settings, and that referenced secrets can be read."""
    checked = configuration(options)
    problems = list(_problems(checked, registry(checked)))
    if problems:
        raise ConfigurationError(
            f"{options.config_path} has {len(problems)} problem{'s' * (len(problems) > 1)}", problems=problems
        )
    names = [connection.name for connection in checked.connections]
    if options.terminal.json:
        options.terminal.document({"ok": True, "file": str(options.config_path), "connections": names})
        return
    count = f"{len(names)} connection{'s' * (len(names) != 1)}"
    options.terminal.line(f"{options.config_path} is right: {count}" + (f" ({', '.join(names)})" if names else ""))


def _given(options: Options) -> dict[str, Any]:
    """The file's data with the environment's laid over it."""
    return overlaid(tomllib.loads(options.config_path.read_text(encoding="utf-8")), os.environ)


def _values(checked: Config, connectors: Registry, given: Mapping[str, Any]) -> Iterator[Value]:
    for connection in checked.connections:
        base = ("connections", connection.name)
        own = _section(connection)
        yield from _with_origin(base, own, given)
        yield from _with_origin((*base, "settings"), _settings(connection, connectors), given)
    sections: dict[str, dict[str, Any]] = {
        "connectors": {
            "allow": None if checked.allow is None else list(checked.allow),
            "safe_mode": bool(checked.safe_mode),
        },
        "suppressions": {"file": str(checked.suppressions_file) if checked.suppressions_file else None},
    }
    if checked.store is not None:
        sections["store"] = redacted(checked.store)
    for name, section in sections.items():
        yield from _with_origin((name,), section, given)


def _with_origin(base: tuple[str, ...], section: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Value]:
    table: Any = given
    for name in base:
        table = table.get(name, {}) if isinstance(table, Mapping) else {}
    for name, value in section.items():
        origin = "default"
        if name in table:
            origin = "environment" if isinstance(table[name], EnvironmentText) else "file"
        yield Value(path=(*base, name), value=value, origin=origin)


def _section(connection: ConnectionConfig) -> dict[str, Any]:
    return {
        "connector": connection.connector,
        "priority": connection.priority,
        "active": connection.active,
        "default_from": None if connection.default_from is None else str(connection.default_from),
        "purposes": sorted(purpose.value for purpose in connection.purposes),
        "allowed_from": list(connection.allowed_from),
        "rate_per_s": connection.rate_per_s,
        "max_concurrent": connection.max_concurrent,
    }


def _settings(connection: ConnectionConfig, connectors: Registry) -> dict[str, Any]:
    try:
        return redacted(_structured(connection, connectors))
    except GenieConnectError:
        # Which of them are secrets is known only to a connector that can be asked.
        return dict.fromkeys(connection.settings, MASK)


def _structured(connection: ConnectionConfig, connectors: Registry) -> Any:
    return connection_settings(connectors, connection.connector, connection.settings)


def _problems(checked: Config, connectors: Registry) -> Iterator[Problem]:
    for connection in checked.connections:
        path = f"connections.{connection.name}"
        try:
            settings = _structured(connection, connectors)
        except SettingsError as error:
            yield from error.under(f"{path}.settings")
        except GenieConnectError as error:
            yield Problem(f"{path}.connector", error.message, error.hint)
        else:
            yield from _secrets(f"{path}.settings", settings)


def _secrets(path: str, settings: Any) -> Iterator[Problem]:
    for field in attrs.fields(type(settings)):
        value = getattr(settings, field.name)
        if not isinstance(value, Secret):
            continue
        try:
            value.reveal()
        except SecretUnavailable as error:
            yield Problem(f"{path}.{field.name}", f"{error.reference} cannot be read: {error.cause}", error.hint)
