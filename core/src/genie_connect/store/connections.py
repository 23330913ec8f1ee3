"""Connections in the store: what may be read as JSON, and their secrets encrypted beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import sqlalchemy as sa

from genie_connect.delivery.connection import ConnectionConfig
from genie_connect.errors import StoreError, StoreKey
from genie_connect.model.address import Address
from genie_connect.model.message import Purpose
from genie_connect.model.secret import Secret
from genie_connect.model.settings import info_of, plain
from genie_connect.model.validation import external_name
from genie_connect.store import secrets
from genie_connect.store.database import Database
from genie_connect.store.schema import connections
from genie_connect.store.secrets import Keys


async def load_connections(database: Database, keys: Keys | None) -> tuple[ConnectionConfig, ...]:
    """The tenant's connections by name, their secrets decrypted. Raises ``StoreKey``, ``StoreUnavailable``.

    ``keys`` may be ``None`` as long as no connection has a secret that is kept here.
    """
    table = connections.c
    chosen = sa.select(table.name, table.connector, table.config).where(table.tenant == database.tenant)
    async with database.read() as connection:
        rows = (await connection.execute(chosen.order_by(table.name))).all()
        hidden = await secrets.reveal(connection, keys, database.tenant)
    return tuple(_config(name, connector, config, hidden.get(name, {})) for name, connector, config in rows)


async def save_connection(database: Database, keys: Keys | None, config: ConnectionConfig, settings: Any) -> None:
    """Keep a connection in the place of one with its name. ``settings`` are the connector's, checked.

    They know which of their fields are secret. A secret that is a reference (``env:NAME``, ``file:PATH``) is kept as
    that; any other is encrypted. Raises ``StoreKey`` where there is no key for it; nothing is kept then.
    """
    shown, hidden = _apart(settings)
    if hidden and keys is None:
        raise StoreKey(
            f"connection {config.name!r} has a secret ({', '.join(hidden)}), and the store has no key",
            hint="make one with genie-connect secrets new-key, or give the secret as env:NAME or file:PATH",
        )
    written = json.dumps({**_decided(config), "settings": shown}, ensure_ascii=False)
    key = {"tenant": database.tenant, "name": config.name}
    async with database.begin() as connection:
        await connection.execute(sa.delete(connections).filter_by(**key))
        row = {**key, "connector": config.connector, "config": written, "updated": database.now()}
        await connection.execute(sa.insert(connections).values(row))
        if keys is not None:
            await secrets.keep(connection, keys, database.tenant, config.name, hidden, database.now())
        else:
            await secrets.forget(connection, database.tenant, config.name)


async def remove_connection(database: Database, name: str) -> bool:
    """Forget a connection and its secrets; whether there was one."""
    async with database.begin() as connection:
        gone = await connection.execute(sa.delete(connections).filter_by(tenant=database.tenant, name=name))
        await secrets.forget(connection, database.tenant, name)
        return gone.rowcount > 0


def _apart(settings: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What may be read, and what must not; a setting that has its default is left out."""
    shown: dict[str, Any] = {}
    hidden: dict[str, str] = {}
    for field in attrs.fields(type(settings)):
        value, name = getattr(settings, field.name), external_name(field.name)
        if value == field.default:
            continue
        if isinstance(value, Secret) and value.reference is None:
            hidden[name] = value.reveal()
        elif info_of(field).secret and not isinstance(value, Secret):
            raise TypeError(f"the setting {name} is secret, and its value is no Secret")
        else:
            shown[name] = plain(value)
    return shown, hidden


def _decided(config: ConnectionConfig) -> dict[str, Any]:
    return {
        "priority": config.priority,
        "active": config.active,
        "default_from": None if config.default_from is None else str(config.default_from),
        "purposes": sorted(config.purposes),
        "allowed_from": list(config.allowed_from),
        "rate_per_s": config.rate_per_s,
        "max_concurrent": config.max_concurrent,
    }


def _config(name: str, connector: str, written: str, hidden: Mapping[str, Secret]) -> ConnectionConfig:
    try:
        data = json.loads(written)
        sender = data["default_from"]
        return ConnectionConfig(
            name=name,
            connector=connector,
            settings={**data["settings"], **hidden},
            priority=data["priority"],
            active=data["active"],
            default_from=None if sender is None else Address.parse(sender),
            purposes=frozenset(Purpose(purpose) for purpose in data["purposes"]),
            allowed_from=tuple(data["allowed_from"]),
            rate_per_s=data["rate_per_s"],
            max_concurrent=data["max_concurrent"],
        )
    except (ValueError, KeyError, TypeError) as error:
        hint = "enter the connection anew; somebody has changed its row"
        raise StoreError(f"connection {name!r} in the store cannot be read: {error}", hint=hint) from None
