"""Secrets of connections, encrypted at rest with Fernet (AES-128-CBC and HMAC-SHA256).

What is encrypted names the row it stands in, so that a token that somebody copies to another row, to make us hand one
customer's key to another's server, is refused there. Several keys may be given: the first encrypts, all decrypt, and
``rotate`` brings every token under the first. It does so in small batches, each whole or not at all, and as long as
old and new keys are both given everything can be read at every moment of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.errors import ConfigurationError, StoreKey
from genie_connect.model.secret import Secret
from genie_connect.store.database import Database
from genie_connect.store.schema import secrets

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

Place: TypeAlias = tuple[str, str, str]
"""Tenant, connection and field: what a secret is bound to."""
BATCH: Final = 100
NEW_KEY: Final = "genie-connect secrets new-key"
_BETWEEN: Final = re.compile(r"[\s,]+")


def new_key() -> str:
    """A key to be kept outside of the store."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


class Keys:
    """The keys of a store, from a reference (``env:NAME``, ``file:PATH``): with commas or lines between them.

    The first encrypts. Raises ``SecretUnavailable`` where the reference leads nowhere, ``ConfigurationError`` where a
    key is none.
    """

    def __init__(self, secret: Secret) -> None:
        # A library that most hosts never need.
        from cryptography.fernet import Fernet, MultiFernet

        found = [part for part in _BETWEEN.split(secret.reveal()) if part]
        made: list[Fernet] = []
        for number, text in enumerate(found, 1):
            try:
                made.append(Fernet(text))
            except ValueError:
                raise ConfigurationError(
                    f"the store's key {secret}, number {number} of {len(found)}, is no key",
                    hint=f"a key is 44 letters and digits; make one with: {NEW_KEY}",
                ) from None
        if not made:
            raise ConfigurationError(f"the store's key {secret} is empty", hint=f"make one with: {NEW_KEY}")
        self._all: MultiFernet = MultiFernet(made)
        self._first = made[0]

    def encrypt(self, place: Place, value: str) -> bytes:
        """A token that is of use in this place only."""
        return self._first.encrypt(json.dumps([*place, value], separators=(",", ":")).encode())

    def decrypt(self, place: Place, token: bytes) -> str:
        """What was encrypted. Raises ``StoreKey`` for another key, a damaged token, and one from another place."""
        from cryptography.fernet import InvalidToken

        _, connection, field = place
        what = f"the secret {field!r} of connection {connection!r}"
        try:
            *bound, value = json.loads(self._all.decrypt(token))
        except InvalidToken:
            raise StoreKey(
                f"{what} cannot be decrypted with the store's key",
                hint="give the key that it was encrypted with, beside the new one if keys were changed",
            ) from None
        if tuple(bound) != place:
            raise StoreKey(
                f"{what} was encrypted for another place: somebody has copied it",
                hint="enter the secret of this connection anew",
            )
        return str(value)

    def is_current(self, token: bytes) -> bool:
        """Whether it is under the first key."""
        from cryptography.fernet import InvalidToken

        try:
            self._first.decrypt(token)
        except InvalidToken:
            return False
        return True


async def keep(
    connection: AsyncConnection, keys: Keys, tenant: str, name: str, values: Mapping[str, str], now: float
) -> None:
    """Put these secrets of a connection in the place of all that it had.

    Raises ``StoreKey`` where the keys are not those of what is there: a store under two keys is of use with neither.
    """
    table = secrets.c
    chosen = sa.select(table.connection, table.field, table.token).where(
        table.tenant == tenant, table.connection != name
    )
    for other, field, token in await connection.execute(chosen.limit(1)):
        keys.decrypt((tenant, other, field), bytes(token))
    await forget(connection, tenant, name)
    rows = [
        {
            "tenant": tenant,
            "connection": name,
            "field": field,
            "token": keys.encrypt((tenant, name, field), value),
            "updated": now,
        }
        for field, value in values.items()
    ]
    if rows:
        await connection.execute(sa.insert(secrets), rows)


async def forget(connection: AsyncConnection, tenant: str, name: str) -> None:
    """Delete the secrets of a connection."""
    await connection.execute(sa.delete(secrets).where(secrets.c.tenant == tenant, secrets.c.connection == name))


async def reveal(connection: AsyncConnection, keys: Keys | None, tenant: str) -> dict[str, dict[str, Secret]]:
    """All secrets of a tenant, by connection and field. Raises ``StoreKey``."""
    chosen = sa.select(secrets.c.connection, secrets.c.field, secrets.c.token).where(secrets.c.tenant == tenant)
    found: dict[str, dict[str, Secret]] = {}
    for name, field, token in await connection.execute(chosen):
        if keys is None:
            raise StoreKey(
                f"the secret {field!r} of connection {name!r} is encrypted, and the store has no key",
                hint='give it in the configuration: [store] key = "env:NAME" or "file:PATH"',
            )
        # A value that looks like a reference is the value all the same.
        found.setdefault(name, {})[field] = Secret("literal:" + keys.decrypt((tenant, name, field), bytes(token)))
    return found


async def rotate(database: Database, keys: Keys) -> tuple[int, int]:
    """Bring all secrets of the tenant under the first key; how many were brought, and how many there are.

    May be ended at any moment and done again. Raises ``StoreKey`` where one cannot be decrypted; what was brought over
    before stays so. When it has returned, the other keys are of no more use.
    """
    done = count = 0
    last = ("", "")
    while True:
        async with database.begin() as connection:
            rows = await _next(connection, database.tenant, last)
            renewed = [row for row in (_renewed(keys, each, database.now()) for each in rows) if row is not None]
            if renewed:
                await connection.execute(_RENEW, renewed)
        done, count = done + len(renewed), count + len(rows)
        if len(rows) < BATCH:
            return done, count
        last = (rows[-1].connection, rows[-1].field)


async def _next(connection: AsyncConnection, tenant: str, after: tuple[str, str]) -> Sequence[Any]:
    """A batch of rows, which nobody else changes until the end of the transaction."""
    table = secrets.c
    rest = sa.tuple_(table.connection, table.field) > sa.tuple_(sa.literal(after[0]), sa.literal(after[1]))
    chosen = sa.select(table.tenant, table.connection, table.field, table.token).where(table.tenant == tenant, rest)
    in_order = chosen.order_by(table.connection, table.field).limit(BATCH).with_for_update()
    return (await connection.execute(in_order)).all()


def _renewed(keys: Keys, row: Any, now: float) -> dict[str, Any] | None:
    place, token = (row.tenant, row.connection, row.field), bytes(row.token)
    # Also read where it is under the first key: a token from another place is to be found, not to be kept.
    value = keys.decrypt(place, token)
    if keys.is_current(token):
        return None
    return {
        "b_tenant": row.tenant,
        "b_connection": row.connection,
        "b_field": row.field,
        "new_token": keys.encrypt(place, value),
        "now": now,
    }


_RENEW: Final = (
    sa.update(secrets)
    .where(
        secrets.c.tenant == sa.bindparam("b_tenant"),
        secrets.c.connection == sa.bindparam("b_connection"),
        secrets.c.field == sa.bindparam("b_field"),
    )
    .values(token=sa.bindparam("new_token"), updated=sa.bindparam("now"))
)
