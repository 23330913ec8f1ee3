"""The configuration file: one TOML file, with overrides from the environment.

::

    [connections.primary]
    connector = "smtp"
    priority = 1
    default_from = "Shop <shop@example.com>"
    [connections.primary.settings]
    host = "127.0.0.1"
    port = 2525
    security = "none"

``GENIE_CONNECT__CONNECTIONS__PRIMARY__SETTINGS__PORT=587`` overrides one value; names are joined by two underscores,
in any case. Precedence: defaults, file, environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from genie_connect.delivery.connection import ConnectionConfig, sender_rule
from genie_connect.errors import ConfigurationError, Problem, ValidationError
from genie_connect.model.address import Address
from genie_connect.model.message import Purpose
from genie_connect.model.secret import Secret
from genie_connect.model.settings import field_types, setting, settings, structure_settings, without_none
from genie_connect.registry import Registry
from genie_connect.registry.behind import settings_class

ENVIRONMENT_PREFIX = "GENIE_CONNECT__"
SECTIONS = ("connections", "connectors", "engine", "store", "suppressions")
DEFAULT_FILE = "genie-connect.toml"
SUPPRESSIONS_FILE = "suppressions.jsonl"
"""Where suppressions are kept, beside the configuration file, unless that names another place."""
C = TypeVar("C")


def _known_purpose(values: tuple[str, ...]) -> str | None:
    unknown = sorted(set(values) - set(Purpose))
    return f"{unknown[0]!r} is not a purpose; use {' or '.join(Purpose)}" if unknown else None


def _known_senders(values: tuple[str, ...]) -> str | None:
    for value in values:
        try:
            sender_rule(value)
        except ValidationError as error:
            return f"{value!r} is neither an address nor a domain: {error.problems[0].message}"
    return None


@settings
class ConnectionSection:
    """A ``[connections.NAME]`` table, without its settings."""

    connector: str = setting(title="Connector id", example="smtp")
    priority: int = setting(title="Priority", default=10, help="Lower goes first among connectors of one kind.")
    active: bool = setting(title="Active", default=True)
    default_from: Address | None = setting(title="Default From", default=None, example="Shop <shop@example.com>")
    purposes: tuple[str, ...] = setting(title="Purposes", default=(), check=_known_purpose)
    allowed_from: tuple[str, ...] = setting(
        title="Allowed From",
        default=(),
        check=_known_senders,
        help="Addresses and domains this connection may send from; none means any.",
    )
    rate_per_s: float | None = setting(title="Rate", default=None, minimum=0.001, help="Recipients a second.")
    max_concurrent: int | None = setting(title="Concurrency", default=None, minimum=1, help="Attempts at a time.")


@settings
class ConnectorsSection:
    """The ``[connectors]`` table."""

    allow: tuple[str, ...] | None = setting(title="Allow-list", default=None, help="Ids that may be imported.")
    safe_mode: bool = setting(title="Safe mode", default=False, help="Import our own connectors only.")


@settings
class SuppressionsSection:
    """The ``[suppressions]`` table."""

    file: str | None = setting(
        title="File",
        default=None,
        help="JSON Lines file, relative to the configuration file; without it, suppressions.jsonl beside that.",
    )


@settings
class StoreSection:
    """The ``[store]`` table: where durable work, suppressions and connections are kept, and for how long."""

    url: str = setting(
        title="URL",
        example="sqlite:///genie-connect.db",
        help="A SQLite file, relative to the configuration file, or postgresql://user@host/name.",
    )
    tenant: str = setting(
        title="Tenant", default="default", max_length=64, help="Whose rows these are; others never see them."
    )
    key: Secret | None = setting(
        title="Key",
        default=None,
        secret=True,
        example="env:GENIE_CONNECT_KEY",
        help="Encrypts the secrets of connections; several, one a line or with commas: the first encrypts.",
    )
    keep_sends_days: float = setting(
        title="Keep sends", default=90.0, minimum=0, help="Days after the end of a send; 0 keeps for ever."
    )
    keep_broadcasts_days: float = setting(
        title="Keep broadcasts", default=365.0, minimum=0, help="Days after the end of a broadcast; 0 keeps for ever."
    )
    keep_events_days: float = setting(
        title="Keep events", default=90.0, minimum=0, help="Days after an event came in; 0 keeps for ever."
    )
    keep_history_days: float = setting(
        title="Keep history",
        default=1095.0,
        minimum=0,
        help="Days that past suppressions stay on record; 0 keeps for ever.",
    )


@settings
class EngineSection:
    """The ``[engine]`` table: what brings work to workers, and how much of it they do at once."""

    url: str = setting(
        title="URL",
        default="embedded:",
        secret=False,
        example="nats://127.0.0.1:4222",
        help="embedded: (this process), pgqueuer: (the store's PostgreSQL), nats://host:port, or another package's.",
    )
    concurrency: int = setting(
        title="Concurrency", default=4, minimum=1, maximum=256, help="Chunks and waiting sends at a time."
    )
    micro_batch: int = setting(
        title="Micro-batch",
        default=1000,
        minimum=1,
        help="Recipients between two commits, of all chunks together; in doubt at most when the process is killed.",
    )
    chunk: int = setting(title="Chunk", default=500, minimum=1, maximum=10_000, help="Recipients in a unit of work.")
    lease_s: float = setting(
        title="Lease", default=30.0, minimum=0.5, help="Seconds of silence after which a worker is taken for dead."
    )
    grace_s: float = setting(
        title="Grace", default=30.0, minimum=0, help="Seconds that work under way has to end when the host closes."
    )
    work: bool = setting(
        title="Work", default=True, help="Whether an open host works itself; else genie-connect worker does."
    )
    first_retry_s: float = setting(
        title="First retry", default=60.0, minimum=0.01, help="Seconds until what was put off is tried again."
    )
    give_up_after_s: float = setting(
        title="Give up after", default=259_200.0, minimum=0.01, help="Seconds after which it is tried no more."
    )


@attrs.frozen(kw_only=True)
class Config:
    """A checked configuration. Settings of connections are checked when their connector is known."""

    connections: tuple[ConnectionConfig, ...] = ()
    allow: tuple[str, ...] | None = None
    safe_mode: bool | None = None
    suppressions_file: Path | None = None
    store: StoreSection | None = None
    engine: EngineSection = attrs.field(factory=EngineSection)
    path: Path | None = None


def load_config(path: str | os.PathLike[str], *, environment: Mapping[str, str] | None = None) -> Config:
    """Read a configuration file. Raises ``ConfigurationError`` with every problem found."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except FileNotFoundError:
        hint = f"write a {DEFAULT_FILE}, or name another file"
        raise ConfigurationError(f"there is no configuration file {path}", hint=hint) from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeError) as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error}") from None
    return make_config(data, path=path, environment=os.environ if environment is None else environment)


def make_config(
    data: Mapping[str, Any], *, path: Path | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """A configuration from plain data. Raises ``ConfigurationError`` with every problem found."""
    data = overlaid(data, environment or {})
    problems = [
        Problem(key, "is not a section", f"the sections are {', '.join(SECTIONS)}")
        for key in data
        if key not in SECTIONS
    ]
    connections = tuple(_connections(data.get("connections", {}), problems))
    connectors = _section(ConnectorsSection, data.get("connectors", {}), "connectors", problems)
    suppressions = _section(SuppressionsSection, data.get("suppressions", {}), "suppressions", problems)
    store = _section(StoreSection, data["store"], "store", problems) if "store" in data else None
    engine = _section(EngineSection, data.get("engine", {}), "engine", problems)
    if problems or connectors is None or suppressions is None or engine is None:
        where = f"the configuration file {path}" if path else "the configuration"
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigurationError(f"{where} has {len(problems)} problem(s):\n{listed}", problems=problems)
    folder = path.parent if path else Path()
    return Config(
        connections=connections,
        allow=connectors.allow,
        safe_mode=connectors.safe_mode or None,
        store=None if store is None else _beside(store, folder),
        engine=engine,
        suppressions_file=folder / (suppressions.file or SUPPRESSIONS_FILE) if path or suppressions.file else None,
        path=path,
    )


def _beside(store: StoreSection, folder: Path) -> StoreSection:
    scheme, slashes, path = store.url.partition(":///")
    if not slashes or not scheme.startswith("sqlite") or Path(path).is_absolute():
        return store
    return attrs.evolve(store, url=f"{scheme}:///{folder / path}")  # type: ignore[misc]  # settings are attrs classes


def overlaid(data: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The data with what the environment sets in it."""
    result: dict[str, Any] = _copied(data)
    for variable in sorted(environment):
        if not variable.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        names = variable[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        target = result
        for name in names[:-1]:
            nested = target.setdefault(_spelling(target, name), {})
            if not isinstance(nested, dict):
                raise ConfigurationError(f"the environment variable {variable} names a table where there is a value")
            target = nested
        target[_spelling(target, names[-1])] = EnvironmentText(environment[variable])
    return result


class EnvironmentText(str):
    """A value from the environment: text, whatever the setting's type is, until that type is known."""

    __slots__ = ()


def typed(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Values from the environment turned into what the settings class wants; anything else as it is."""
    hints = field_types(cls)
    return {
        name: _from_text(value, without_none(hints[name])[0])
        if isinstance(value, EnvironmentText) and name in hints
        else value
        for name, value in data.items()
    }


def connection_settings(registry: Registry, connector: str, data: Mapping[str, Any]) -> Any:
    """The checked settings of a connection, with those of a provider behind it.

    Raises ``SettingsError``, and ``ConnectorUnavailable`` where there is no such connector.
    """
    handle = registry[connector]
    cls = settings_class(registry, handle, data)
    return handle.settings(typed(cls, data), cls)


def _from_text(value: str, hint: Any) -> Any:
    text = str(value)
    if hint is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    if getattr(hint, "__origin__", None) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _connections(data: Any, problems: list[Problem]) -> Iterator[ConnectionConfig]:
    if not isinstance(data, Mapping):
        problems.append(Problem("connections", "must be a table of tables"))
        return
    for name, table in data.items():
        path = f"connections.{name}"
        if not isinstance(table, Mapping):
            problems.append(Problem(path, "must be a table"))
            continue
        rest = {key: value for key, value in table.items() if key != "settings"}
        section = _section(ConnectionSection, rest, path, problems)
        given = table.get("settings", {})
        if not isinstance(given, Mapping):
            problems.append(Problem(f"{path}.settings", "must be a table"))
            continue
        if section is not None:
            yield ConnectionConfig(
                name=name,
                connector=section.connector,
                settings=given,
                priority=section.priority,
                active=section.active,
                default_from=section.default_from,
                purposes=frozenset(Purpose(purpose) for purpose in section.purposes),
                allowed_from=section.allowed_from,
                rate_per_s=section.rate_per_s,
                max_concurrent=section.max_concurrent,
            )


def _section(cls: type[C], data: Any, path: str, problems: list[Problem]) -> C | None:
    try:
        return structure_settings(cls, typed(cls, data) if isinstance(data, Mapping) else data)
    except ValidationError as error:
        problems.extend(error.under(path))
        return None


def _copied(data: Any) -> Any:
    return {key: _copied(value) for key, value in data.items()} if isinstance(data, Mapping) else data


def _spelling(table: Mapping[str, Any], name: str) -> str:
    """The key of the table that differs from ``name`` in case or hyphens only, or ``name``."""
    plain = name.replace("-", "_").lower()
    return next((key for key in table if key.replace("-", "_").lower() == plain), name)
