"""Connections in the store, their secrets, and what changing the key takes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import attrs
import pytest
import sqlalchemy as sa

from genie_connect import Address, ConfigurationError, Purpose, Secret, setting, settings
from genie_connect.delivery.connection import ConnectionConfig
from genie_connect.errors import SecretUnavailable, StoreError, StoreKey
from genie_connect.model.settings import structure_settings
from genie_connect.store.connections import load_connections, remove_connection, save_connection
from genie_connect.store.database import Database
from genie_connect.store.schema import connections, secrets
from genie_connect.store.secrets import Keys, new_key, rotate

PASSWORD = "correct-horse-battery-staple"


@settings
class AcmeSettings:
    """A connector's settings with secrets of both kinds."""

    host: str = setting(title="Host", default="mail.example.com")
    password: Secret | None = setting(title="Password", secret=True, default=None)
    token: Secret | None = setting(title="Token", secret=True, default=None)


CONFIG = ConnectionConfig(
    name="primary",
    connector="acme",
    priority=3,
    active=False,
    default_from=Address.parse("Shop <shop@example.com>"),
    purposes=frozenset({Purpose.MARKETING}),
    allowed_from=("example.com",),
    rate_per_s=14.0,
    max_concurrent=2,
)
ACME = AcmeSettings(password=Secret(PASSWORD), token=Secret("env:ACME_TOKEN"))


def keys(*texts: str) -> Keys:
    """Keys from their text."""
    return Keys(Secret("\n".join(texts)))


async def stored(database: Database) -> str:
    """Everything that stands in the two tables."""
    async with database.read() as connection:
        rows = [
            *await connection.execute(sa.select(connections).where(connections.c.tenant == database.tenant)),
            *await connection.execute(sa.select(secrets).where(secrets.c.tenant == database.tenant)),
        ]
    return repr([tuple(row) for row in rows])


async def test_a_connection_comes_back_as_it_was(database: Database) -> None:
    """With every decision of its owner, and settings that the connector takes, its secrets among them."""
    mine = keys(new_key())
    await save_connection(database, mine, CONFIG, ACME)
    (loaded,) = await load_connections(database, mine)
    assert attrs.evolve(loaded, settings={}) == CONFIG
    assert structure_settings(AcmeSettings, loaded.settings).password.reveal() == PASSWORD
    assert loaded.settings["token"] == "env:ACME_TOKEN"
    assert PASSWORD not in repr(loaded)


async def test_no_secret_can_be_read_in_the_tables(database: Database) -> None:
    """A literal is encrypted; a reference says where the value is, which is not here."""
    await save_connection(database, keys(new_key()), CONFIG, ACME)
    text = await stored(database)
    assert PASSWORD not in text
    assert "env:ACME_TOKEN" in text
    assert "mail.example.com" not in text  # the default is the connector's, and may change with it


@pytest.mark.parametrize("value", ["env:NO_REFERENCE", "literal:x", "file:/etc/passwd", "päss wörd"])
async def test_a_value_that_looks_like_a_reference_stays_a_value(database: Database, value: str) -> None:
    """What was encrypted is what comes out, whatever it looks like."""
    mine = keys(new_key())
    await save_connection(database, mine, CONFIG, AcmeSettings(password=Secret(f"literal:{value}")))
    (loaded,) = await load_connections(database, mine)
    assert structure_settings(AcmeSettings, loaded.settings).password.reveal() == value


async def test_saving_again_takes_the_place_of_all_that_was_there(database: Database) -> None:
    """A secret that was taken out is gone, and removing a connection removes its secrets."""
    mine = keys(new_key())
    await save_connection(database, mine, CONFIG, ACME)
    await save_connection(database, None, CONFIG, AcmeSettings(host="other.example.com"))
    (loaded,) = await load_connections(database, None)
    assert loaded.settings == {"host": "other.example.com"}
    assert await remove_connection(database, "primary") is True
    assert await remove_connection(database, "primary") is False
    assert await stored(database) == "[]"


async def test_without_a_key_no_secret_is_kept_or_read(database: Database) -> None:
    """It is said what to do, and the connection is not kept without its password."""
    with pytest.raises(StoreKey, match=r"has a secret \(password\), and the store has no key"):
        await save_connection(database, None, CONFIG, ACME)
    assert await stored(database) == "[]"
    await save_connection(database, keys(new_key()), CONFIG, ACME)
    with pytest.raises(StoreKey, match="'password' of connection 'primary' is encrypted, and the store has no key"):
        await load_connections(database, None)


async def test_another_key_reads_nothing_and_writes_nothing(database: Database) -> None:
    """A wrong key is one sentence, which holds no key, and does not mix with the right one."""
    await save_connection(database, keys(new_key()), CONFIG, ACME)
    wrong = new_key()
    before = await stored(database)
    with pytest.raises(StoreKey) as refused:
        await load_connections(database, keys(wrong))
    assert (
        refused.value.message
        == "the secret 'password' of connection 'primary' cannot be decrypted with the store's key"
    )
    with pytest.raises(StoreKey):
        await save_connection(database, keys(wrong), attrs.evolve(CONFIG, name="second"), ACME)
    with pytest.raises(StoreKey):
        await rotate(database, keys(wrong))
    assert await stored(database) == before
    assert wrong not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize("moved", [{"connection": "second"}, {"field": "token"}, {"tenant": "other"}])
async def test_a_token_that_was_moved_is_refused(database: Database, database_url: str, moved: dict[str, str]) -> None:
    """A secret is of use in its own row only: not for another field, connection or tenant."""
    mine = keys(new_key())
    await save_connection(database, mine, CONFIG, AcmeSettings(password=Secret(PASSWORD)))
    async with database.begin() as connection:
        await connection.execute(sa.update(secrets).where(secrets.c.tenant == database.tenant).values(moved))
    async with Database(database_url, tenant=moved.get("tenant", database.tenant)) as there:
        await save_connection(there, None, attrs.evolve(CONFIG, name="unrelated"), AcmeSettings())
        with pytest.raises(StoreKey, match="somebody has copied it"):
            await load_connections(there, mine)


async def test_a_row_that_was_changed_by_hand_is_named(database: Database) -> None:
    """Not a traceback, and not another connection's fault."""
    await save_connection(database, None, CONFIG, AcmeSettings())
    async with database.begin() as connection:
        mine = connections.c.tenant == database.tenant
        await connection.execute(sa.update(connections).where(mine).values(config="{"))
    with pytest.raises(StoreError, match="connection 'primary' in the store cannot be read"):
        await load_connections(database, None)


async def test_tenants_do_not_see_each_others_connections(database: Database, database_url: str) -> None:
    """Two may have a connection of one name; removing one leaves the other."""
    mine = keys(new_key())
    await save_connection(database, mine, CONFIG, ACME)
    async with Database(database_url, tenant="other") as other:
        assert await load_connections(other, mine) == ()
        await save_connection(other, mine, CONFIG, AcmeSettings(password=Secret("theirs")))
        assert await remove_connection(database, "primary")
        (theirs,) = await load_connections(other, mine)
    assert structure_settings(AcmeSettings, theirs.settings).password.reveal() == "theirs"


class TestKeys:
    """What may be given as the key."""

    def test_come_from_a_reference(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """From the environment with commas, from a file with lines."""
        one, two = new_key(), new_key()
        monkeypatch.setenv("STORE_KEYS", f"{two}, {one}")
        (tmp_path / "keys").write_text(f"{two}\n{one}\n")
        place = ("tenant", "connection", "field")
        token = keys(one).encrypt(place, "x")
        for reference in ("env:STORE_KEYS", f"file:{tmp_path / 'keys'}"):
            found = Keys(Secret(reference))
            assert found.decrypt(place, token) == "x"
            assert not found.is_current(token)
            assert keys(two).decrypt(place, found.encrypt(place, "y")) == "y"

    def test_what_is_no_key_is_said_without_being_shown(self) -> None:
        """The number of the wrong one, with the way to make one."""
        with pytest.raises(ConfigurationError, match="number 2 of 2, is no key") as refused:
            keys(new_key(), "hunter2")
        assert "hunter2" not in f"{refused.value.message} {refused.value.hint}"
        with pytest.raises(ConfigurationError, match="is empty"):
            keys(" ")

    def test_a_reference_that_leads_nowhere(self) -> None:
        """As for any secret."""
        with pytest.raises(SecretUnavailable):
            Keys(Secret("env:NO_SUCH_KEY"))

    def test_a_damaged_token_is_refused(self) -> None:
        """One bit is enough."""
        mine, place = keys(new_key()), ("tenant", "connection", "field")
        token = bytearray(mine.encrypt(place, "x"))
        token[40] ^= 1
        with pytest.raises(StoreKey):
            mine.decrypt(place, bytes(token))


async def put_many(database: Database, mine: Keys, count: int) -> None:
    """So many secrets of one connection."""
    names = [f"field {number:05}" for number in range(count)]
    rows = [
        {
            "tenant": database.tenant,
            "connection": "many",
            "field": name,
            "token": mine.encrypt((database.tenant, "many", name), name),
            "updated": 0.0,
        }
        for name in names
    ]
    async with database.begin() as connection:
        await connection.execute(sa.insert(secrets), rows)


async def readable(database: Database, mine: Keys) -> int:
    """How many secrets can be read with these keys; each that can is right."""
    count = 0
    async with database.read() as connection:
        for field, token in await connection.execute(
            sa.select(secrets.c.field, secrets.c.token).where(secrets.c.tenant == database.tenant)
        ):
            try:
                assert mine.decrypt((database.tenant, "many", field), bytes(token)) == field
                count += 1
            except StoreKey:
                pass
    return count


async def first_token(database: Database) -> bytes:
    """The one that a rotation begins with."""
    chosen = sa.select(secrets.c.token).where(secrets.c.tenant == database.tenant).order_by(secrets.c.field).limit(1)
    async with database.read() as connection:
        return bytes(await connection.scalar(chosen) or b"")


async def test_rotating_brings_everything_under_the_first_key(database: Database, database_url: str) -> None:
    """Afterwards the new key is enough, the old one of no use; another tenant's secrets are left alone."""
    old, new = new_key(), new_key()
    await put_many(database, keys(old), 250)
    async with Database(database_url, tenant="other") as other:
        await put_many(other, keys(old), 1)
        assert await rotate(database, keys(new, old)) == (250, 250)
        assert await rotate(database, keys(new, old)) == (0, 250)
        assert await readable(other, keys(old)) == 1
    assert await readable(database, keys(new)) == 250
    assert await readable(database, keys(old)) == 0


ROTATE = """
import asyncio, sys
from genie_connect import Secret
from genie_connect.store.database import Database
from genie_connect.store.secrets import Keys, rotate

async def main(url, keys):
    async with Database(url) as database:
        await rotate(database, Keys(Secret(keys)))

asyncio.run(main(*sys.argv[1:]))
"""
MANY = 2_000


@pytest.mark.long
async def test_a_rotation_that_is_killed_loses_nothing(database: Database, database_url: str) -> None:
    """After kill -9 in its middle all can be read with both keys, and doing it again ends it."""
    old, new = new_key(), new_key()
    await put_many(database, keys(old), MANY)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ROTATE, database_url, f"{new},{old}")
    try:
        async with asyncio.timeout(60):
            while not keys(new).is_current(await first_token(database)):
                assert process.returncode is None
    finally:
        process.kill()
        await process.wait()
    assert 0 < await readable(database, keys(new)) < MANY
    assert await readable(database, keys(new, old)) == MANY
    await rotate(database, keys(new, old))
    assert await readable(database, keys(new)) == MANY
