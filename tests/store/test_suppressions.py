"""Suppressions in SQL, on both databases: the same as in memory, with history, and for many tenants."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.delivery.suppression import MemorySuppressions, SuppressionGate
from genie_connect.model.message import Purpose
from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope
from genie_connect.store.database import Database
from genie_connect.store.schema import suppressions as table
from genie_connect.store.suppressions import Kept, Row, SqlSuppressions, digest
from tests.support.clock import START


def entry(address: str, *, at_s: float = 0, **more: object) -> Suppression:
    """A suppression that was added so many seconds after the start."""
    return Suppression(address=address, added=START + timedelta(seconds=at_s), **more)  # type: ignore[arg-type]


async def test_gives_what_a_list_in_memory_gives(database: Database) -> None:
    """After the same puts and discards both hold the same, each scope of an address for itself."""
    stores = (MemorySuppressions(), SqlSuppressions(database))
    for store in stores:
        await store.put(
            [
                entry("ada@example.com", reason=SuppressionReason.HARD_BOUNCE, source="550 no such user"),
                entry("bob@example.com", at_s=1, scope=SuppressionScope.MARKETING, expires=START + timedelta(days=1)),
                entry("bob@example.com", at_s=2),
                entry("eve@example.com", at_s=3),
            ]
        )
        await store.put([entry("Ada@Example.com", at_s=4, reason=SuppressionReason.COMPLAINT)])
        assert await store.discard("eve@example.com", None) == 1
        assert await store.discard("eve@example.com", None) == 0
        assert await store.discard("bob@example.com", SuppressionScope.ALL) == 1
    keys = ["ada@example.com", "bob@example.com", "eve@example.com", "nobody@example.com"]
    memory, kept = [await store.find(keys) for store in stores]
    assert kept == memory
    assert sorted(kept) == ["ada@example.com", "bob@example.com"]
    everything = [[each async for each in store.all()] for store in stores]
    assert sorted(everything[0], key=lambda each: each.added) == everything[1]


async def test_looks_up_more_than_fit_in_one_query(database: Database) -> None:
    """Some thousand keys at once find those that are there, and only those."""
    store = SqlSuppressions(database)
    await store.put(entry(f"user{number}@example.com") for number in range(0, 1200, 100))
    found = await store.find(f"user{number}@example.com" for number in range(1200))
    assert set(found) == {f"user{number}@example.com" for number in range(0, 1200, 100)}
    assert await store.find([]) == {}


async def test_the_gate_stops_whom_the_store_names(database: Database) -> None:
    """An unsubscribe stops marketing only, and what has expired stops nothing."""
    gate = SuppressionGate(SqlSuppressions(database))
    await gate.add("ada@example.com", reason="unsubscribe")
    await gate.add("bob@example.com", expires_s=-1)
    assert await gate.check("ADA@example.com", Purpose.MARKETING) is not None
    assert await gate.check("ada@example.com", Purpose.TRANSACTIONAL) is None
    assert await gate.check("bob@example.com") is None


async def test_keeps_what_was_done_to_an_address(database: Database) -> None:
    """What was replaced and what was removed can be read afterwards, with source and time."""
    store = SqlSuppressions(database)
    await store.put([entry("ada@example.com", source="import")])
    await store.put([entry("ada@example.com", at_s=60, reason=SuppressionReason.COMPLAINT, source="webhook")])
    await store.discard("ada@example.com", None)
    await store.put([entry("ada@example.com", at_s=10**9, source="person")])
    done = await store.history("ada@example.com")
    assert [(each.action, each.reason.value, each.source) for each in done] == [
        ("add", "manual", "import"),
        ("add", "complaint", "webhook"),
        ("remove", "complaint", "webhook"),
        ("add", "manual", "person"),
    ]
    assert [done[0].at, done[1].at] == [START, START + timedelta(seconds=60)]
    assert START < done[2].at <= datetime.now(UTC)
    assert await store.history("bob@example.com") == ()


async def test_tenants_do_not_see_each_others_lists(database: Database, database_url: str) -> None:
    """The same address may be on one list and not on the other, and removing it from one leaves the other."""
    async with Database(database_url, tenant="other") as other:
        one, two = SqlSuppressions(database), SqlSuppressions(other)
        await one.put([entry("ada@example.com", source="one")])
        assert await two.find(["ada@example.com"]) == {}
        assert [each async for each in two.all()] == []
        await two.put([entry("ada@example.com", source="two"), entry("bob@example.com")])
        assert await two.discard("ada@example.com", None) == 1
    assert [each.source for each in (await one.find(["ada@example.com"]))["ada@example.com"]] == ["one"]
    assert [each.source for each in await one.history("ada@example.com")] == ["one"]


async def test_the_table_is_searched_by_a_digest_of_a_key_of_its_own(database_url: str) -> None:
    """Two processes that open a store at once agree on the key, and no two stores share it."""
    async with Database(database_url) as one, Database(database_url) as two:
        keys = await asyncio.gather(*(SqlSuppressions(each).key() for each in (one, two, one, two)))
        await SqlSuppressions(one).put([entry("ada@example.com")])
        assert "ada@example.com" in await SqlSuppressions(two).find(["ada@example.com"])
        async with one.read() as connection:
            digests = list(await connection.scalars(sa.select(table.c.digest).where(table.c.tenant == one.tenant)))
    assert len(set(keys)) == 1
    assert [len(each) for each in digests] == [16]


@pytest.mark.parametrize("again", [True, False])
async def test_says_what_was_new_and_what_was_there(database: Database, again: bool) -> None:
    """Of an import that is repeated nothing is written twice, and the time of the first one stays."""
    store = SqlSuppressions(database)
    await store.put([entry("ada@example.com"), entry("bob@example.com", source="old")])
    rows = [row async for page in store.rows() for row in page]
    later = [row._replace(added=row.added + 60, source="") for row in rows]
    kept = await store.put_rows([*later, *later], again=again)
    assert (kept.added, kept.replaced, kept.unchanged) == ((0, 2, 2) if again else (0, 1, 3))
    assert len(await store.history("ada@example.com")) == (2 if again else 1)
    assert len(await store.history("bob@example.com")) == 2


async def test_a_list_is_kept_like_its_rows(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts, each address once with what its last row says; what is there already keeps its time and its history."""
    monkeypatch.setattr("genie_connect.store.suppressions.LIST_AT_ONCE", 100)
    store = SqlSuppressions(database)
    key = await store.key()
    people = [f"user{number}@example.com" for number in range(450)]
    await store.put([entry(people[0], source="new"), entry(people[1], source="old")])

    def rows(reason: str) -> list[Row]:
        return [Row(digest(key, each), 0, each, reason, "new", START.timestamp() + 60, None) for each in people]

    kept = await store.put_list([*rows("complaint"), *rows("manual")])
    assert (kept.added, kept.replaced, kept.unchanged) == (448, 1, 451)
    assert [len(await store.history(each)) for each in people[:3]] == [1, 2, 1]
    found = {key: each for key, (each,) in (await store.find(people)).items()}
    assert sorted(found) == sorted(people)
    assert {each.reason for each in found.values()} == {SuppressionReason.MANUAL}
    assert [(found[each].added - START).total_seconds() for each in people[:3]] == [0, 60, 60]
    assert await store.put_list([]) == Kept()


async def test_a_list_is_on_disk_when_it_has_been_kept(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it was new: a last part that was there already writes nothing, and brings nothing to the disk."""
    monkeypatch.setattr("genie_connect.store.suppressions.LIST_AT_ONCE", 5)
    async with Database(sqlite_url) as database:
        store = SqlSuppressions(database)
        key = await store.key()
        people = sorted((f"user{number}@example.com" for number in range(20)), key=lambda each: digest(key, each))
        rows = [Row(digest(key, each), 0, each, "manual", "new", START.timestamp(), None) for each in people]
        await store.put_list(rows[-5:])
        log = Path(f"{sqlite_url.removeprefix('sqlite:///')}-wal")

        def written_ahead() -> bytes:
            return log.read_bytes()

        begun: list[tuple[bool, bytes]] = []
        sync = database._sync

        async def noted(connection: AsyncConnection, *, synced: bool) -> None:
            begun.append((synced, written_ahead()))
            await sync(connection, synced=synced)

        monkeypatch.setattr(database, "_sync", noted)
        assert await store.put_list(rows) == Kept(added=15, unchanged=5)
        after = [*(before for _, before in begun[1:]), written_ahead()]
        written = [synced for (synced, before), then in zip(begun, after, strict=True) if then != before]
    assert not all(written)
    assert written[-1]
