"""Suppressions in SQL: how long five hundred addresses take among millions, and how fast a list comes in."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import attrs
import sqlalchemy as sa

from genie_connect.delivery.suppression_files import Entry, SuppressionFile
from genie_connect.store.database import Database
from genie_connect.store.migrate import opened, upgrade
from genie_connect.store.schema import broadcasts
from genie_connect.store.suppressions import Kept, SqlSuppressions, entry_rows
from tests.bench.smtp.client import Clock
from tests.bench.smtp.ours import MODES
from tests.bench.smtp.processes import Child, child
from tests.bench.smtp.used import cpu_by_program
from tests.bench.table import Row as Line
from tests.bench.table import Table
from tests.servers.postgresql import Postgresql

MANY = 10_000_000
QUICK = 1_000_000
LOADED = 500_000
"""Recipients of the broadcast that is loaded beside."""
LOOK_UPS = 200
CHUNK = 500
FOUND_EVERY = 100
"""One address in so many of a chunk is on the list."""


@attrs.frozen(kw_only=True)
class _Measured:
    """One database. Look-ups in ms, the import by wall time and by CPU of this process and of the server."""

    alone: Sequence[float]
    alone_cpu_ms: float
    beside: Sequence[float]
    rows_per_s: float
    us: float
    server_us: float


def run(*, quick: bool = False) -> list[Table]:
    count = QUICK if quick else MANY
    found: dict[str, _Measured] = {}
    with tempfile.TemporaryDirectory(prefix="genie-connect-bench-") as folder:
        path = Path(folder) / "list.csv"
        with path.open("w") as file:
            file.write("email,reason\n")
            file.writelines(f"user{number}@example{number % 997}.com,hard_bounce\n" for number in range(count))
        for name, url in _urls(Path(folder)):
            print(name, file=sys.stderr)
            found[name] = asyncio.run(_measure(url, path, count))
    return list(_tables(found, count))


def _tables(found: dict[str, _Measured], count: int) -> Iterator[Table]:
    waiting = {name: each.alone for name, each in found.items()}
    waiting |= {f"{name}, while a broadcast is loaded": each.beside for name, each in found.items()}
    yield Table(
        title=f"Suppressions: {CHUNK} addresses among {count:,}",
        unit="ms",
        rows=[Line(name=name, samples=times, note=_most(times)) for name, times in waiting.items()],
        goal="at most 5 ms on both",
    )
    yield Table(
        title=f"Suppressions: importing {count:,} rows from CSV",
        unit="rows/s",
        rows=[Line(name=name, samples=[each.rows_per_s]) for name, each in found.items()],
        goal="100,000 rows/s",
    )
    yield Table(
        title=f"Suppressions: {CHUNK} addresses among {count:,}, CPU of this process",
        unit="ms",
        rows=[Line(name=name, samples=[each.alone_cpu_ms]) for name, each in found.items()],
    )
    used = {f"{name}, this process": each.us for name, each in found.items()}
    used |= {f"{name}, the server": each.server_us for name, each in found.items() if each.server_us}
    yield Table(
        title=f"Suppressions: importing {count:,} rows from CSV, CPU",
        unit="us/row",
        rows=[Line(name=name, samples=[spent]) for name, spent in used.items()],
    )


def _most(times: Sequence[float]) -> str:
    return f"{len(times):,} of them, 99 % within {sorted(times)[len(times) * 99 // 100]:.1f}"


def _urls(folder: Path) -> Iterator[tuple[str, str]]:
    yield "SQLite", f"sqlite:///{folder / 'store.db'}"
    with Postgresql({"shared_buffers": "'256MB'", "max_wal_size": "'4GB'"}) as server:
        yield "PostgreSQL", server.make_database()


async def _measure(url: str, path: Path, count: int) -> _Measured:
    async with opened(Database(url)) as database:
        await upgrade(database)
    async with Database(url) as database:
        store = SqlSuppressions(database)
        before = cpu_by_program()
        with Clock() as clock:
            kept = await _import(store, path)
        assert kept.added == count
        server_s = cpu_by_program().get("postgres", 0.0) - before.get("postgres", 0.0)
        chunks = _chunks(count)
        some = [next(chunks) for _ in range(LOOK_UPS)]
        with Clock() as looking_up:
            alone = [await _look_up(store, chunk) for chunk in some]
        with child(_loading(url), core=None) as loader:
            beside = [seconds async for seconds in _while_loading(database, store, chunks, loader)]
    return _Measured(
        alone=alone,
        alone_cpu_ms=looking_up.cpu_s / LOOK_UPS * 1000,
        beside=beside,
        rows_per_s=count / clock.wall_s,
        us=clock.cpu_s / count * 1e6,
        server_us=server_s / count * 1e6,
    )


async def _import(store: SqlSuppressions, path: Path) -> Kept:
    """As ``suppressions import`` does it."""
    return await store.put_list(entry_rows(await store.key(), _good(SuppressionFile(path)), 1.0))


def _good(file: SuppressionFile) -> Iterator[Entry]:
    for each in file:
        assert isinstance(each, Entry)
        yield each


def _loading(url: str) -> list[str]:
    spec = {"url": url, "engine": "embedded:", "count": LOADED, "uvloop": True}
    spec |= {"host": "127.0.0.1", "port": 25, "connections": 1, "mode": MODES["auto"]}  # nothing is sent
    return [sys.executable, "-m", "tests.bench.smtp.worker_probe", "load", json.dumps(spec)]


async def _while_loading(
    database: Database, store: SqlSuppressions, chunks: Iterator[Sequence[str]], loader: Child
) -> AsyncIterator[float]:
    """Look-ups from when the first recipients are there until the last one is."""
    while not await _broadcasts(database) and not loader.says_something(0.0):
        await asyncio.sleep(0.01)
    while not loader.says_something(0.0):
        yield await _look_up(store, next(chunks))
    assert json.loads(loader.line(1.0)) == {"loaded": LOADED}


async def _broadcasts(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(sa.select(sa.func.count()).select_from(broadcasts)) or 0)


async def _look_up(store: SqlSuppressions, keys: Sequence[str]) -> float:
    """In ms."""
    begun = time.perf_counter()
    found = await store.find(keys)
    took = time.perf_counter() - begun
    assert len(found) == CHUNK // FOUND_EVERY
    return took * 1000


def _chunks(count: int) -> Iterator[Sequence[str]]:
    chosen = random.Random(7)
    while True:
        yield [_key(chosen, number, count) for number in range(CHUNK)]


def _key(chosen: random.Random, place: int, count: int) -> str:
    number = chosen.randrange(count)
    domain = f"example{number % 997}.com" if place % FOUND_EVERY == 0 else "elsewhere.org"
    return f"user{number}@{domain}"
