"""Suppressions in SQL: how long five hundred addresses take among millions, and how fast a list comes in."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genie_connect.delivery.suppression_files import Entry, SuppressionFile
from genie_connect.store.database import Database
from genie_connect.store.migrate import opened, upgrade
from genie_connect.store.suppressions import SCOPES, Row, SqlSuppressions, digest
from tests.bench.table import Row as Line
from tests.bench.table import Table
from tests.servers.postgresql import Postgresql

MANY = 10_000_000
QUICK = 1_000_000
LOOK_UPS = 200
CHUNK = 500
AT_ONCE = 10_000
FOUND_EVERY = 100
"""One address in so many of a chunk is on the list."""


def run(*, quick: bool = False) -> list[Table]:
    count = QUICK if quick else MANY
    imports: list[Line] = []
    finds: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="genie-connect-bench-") as folder:
        path = Path(folder) / "list.csv"
        with path.open("w") as file:
            file.write("email,reason\n")
            file.writelines(f"user{number}@example{number % 997}.com,hard_bounce\n" for number in range(count))
        for name, url in _urls(Path(folder)):
            imported, found = asyncio.run(_measure(url, path, count))
            imports.append(Line(name=name, samples=imported))
            finds.append(Line(name=name, samples=found))
    return [
        Table(
            title=f"Suppressions: {CHUNK} addresses among {count:,}",
            unit="ms",
            rows=finds,
            goal="at most 5 ms on both",
        ),
        Table(
            title=f"Suppressions: importing {count:,} rows from CSV, in tenths",
            unit="rows/s",
            rows=imports,
            goal="100,000 rows/s",
        ),
    ]


def _urls(folder: Path) -> Iterator[tuple[str, str]]:
    yield "SQLite", f"sqlite:///{folder / 'store.db'}"
    with Postgresql({"shared_buffers": "'256MB'", "max_wal_size": "'4GB'"}) as server:
        yield "PostgreSQL", server.make_database()


async def _measure(url: str, path: Path, count: int) -> tuple[list[float], list[float]]:
    async with opened(Database(url)) as database:
        await upgrade(database)
    async with Database(url) as database:
        store = SqlSuppressions(database)
        imported = await _import(store, path, count)
        chosen = random.Random(7)
        chunks = [[_key(chosen, number, count) for number in range(CHUNK)] for _ in range(LOOK_UPS)]
        found: list[float] = []
        for keys in chunks:
            with _timed(found.append):
                assert len(await store.find(keys)) == CHUNK // FOUND_EVERY
    return imported, [seconds * 1000 for seconds in found]


async def _import(store: SqlSuppressions, path: Path, count: int) -> list[float]:
    """Rows a second in each tenth of the file, as ``suppressions import`` does it."""
    key, places = await store.key(), {scope: number for number, scope in enumerate(SCOPES)}
    rates: list[float] = []
    batch: list[Row] = []
    seen, begun = 0, time.perf_counter()
    for each in SuppressionFile(path):
        assert isinstance(each, Entry)
        batch.append(
            Row(
                digest(key, each.key), places[each.scope], each.email, each.reason.value, each.source, 1.0, each.expires
            )
        )
        if len(batch) == AT_ONCE:
            await store.put_rows(batch, again=False)
            seen, batch = seen + len(batch), []
            if seen % (count // 10) == 0:
                now = time.perf_counter()
                rates.append(count / 10 / (now - begun))
                begun = now
    return rates


def _key(chosen: random.Random, place: int, count: int) -> str:
    number = chosen.randrange(count)
    domain = f"example{number % 997}.com" if place % FOUND_EVERY == 0 else "elsewhere.org"
    return f"user{number}@{domain}"


@contextmanager
def _timed(keep: Callable[[float], None]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    keep(time.perf_counter() - begun)
