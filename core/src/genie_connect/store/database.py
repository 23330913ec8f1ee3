"""Opening the store: one SQLite file in WAL mode, or PostgreSQL.

SQLite takes one writer at a time, so there is one connection that writes (``BEGIN IMMEDIATE``, so that it never has to
give up half-way) and a few that read. PostgreSQL has a pool for both.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

from genie_connect.clock import Clock, SystemClock
from genie_connect.errors import ConfigurationError
from genie_connect.store.faults import is_deadlock, told
from genie_connect.store.migrate import prepare

DEFAULT_TENANT = "default"
BUSY_TIMEOUT_MS = 30_000
WAL_PAUSE_MS = 20
READERS = 4
HUNG_AFTER_S = 10.0
"""Our transactions take milliseconds: one that is silent for so long hangs, or its network was cut. PostgreSQL only."""
DEADLOCKS = 3
"""So often work is done again that the server ended because others waited for it, and it for them."""
DEADLOCK_PAUSE_S = 0.05
T = TypeVar("T")
Work: TypeAlias = Callable[[AsyncConnection], Awaitable[T]]
"""Statements on a connection. It waits for nothing else."""
_BEGIN_WRITING = "BEGIN IMMEDIATE"
_BEGIN_READING = "BEGIN"
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class Database:
    """An open store, as one tenant sees it. To be entered with ``async with``.

    A SQLite file that is not there is made, and its schema brought up to date; PostgreSQL is only checked. Raises
    ``StoreUnavailable``, ``StoreVersion``, on entering, and ``ConfigurationError`` for a URL of another kind.
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str = DEFAULT_TENANT,
        clock: Clock | None = None,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        self.url = _parsed(url)
        self.tenant = tenant
        self.clock = clock or SystemClock()
        self._hung_after_s = hung_after_s
        self._writing: AsyncEngine | None = None
        self._reading: AsyncEngine | None = None
        self._asking: AsyncEngine | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file; else it is PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def title(self) -> str:
        """The URL without its password and its driver."""
        return self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)

    def now(self) -> float:
        """The time of day, as it is kept: seconds since 1970."""
        return self.clock.now().timestamp()

    async def __aenter__(self) -> Self:
        await self.connect()
        try:
            await prepare(self)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Make the engines without looking at the schema, which is what migrations need."""
        if self.is_sqlite:
            self._writing = _sqlite_engine(self.url, size=1, begin=_BEGIN_WRITING)
            self._reading = _sqlite_engine(self.url, size=READERS, begin=_BEGIN_READING)
        else:
            # The server then ends it: its locks would hold up whoever is to take over that process's work.
            settings = {"idle_in_transaction_session_timeout": str(round(self._hung_after_s * 1000))}
            self._writing = self._reading = create_async_engine(
                self.url,
                pool_size=READERS + 1,
                max_overflow=READERS,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"server_settings": settings},
            )
            # Each statement sees what is committed when it begins, in a transaction or not. To begin and to end one,
            # and to look before whether the connection is still there, takes three times as long as a question.
            self._asking = create_async_engine(
                self.url,
                pool_size=READERS,
                max_overflow=0,
                isolation_level="AUTOCOMMIT",
                hide_parameters=True,
                connect_args={"server_settings": settings | {"default_transaction_read_only": "on"}},
            )

    async def close(self) -> None:
        """Let go of all connections. May be called twice."""
        for engine in {self._writing, self._reading, self._asking} - {None}:
            if engine is not None:
                await engine.dispose()
        self._writing = self._reading = self._asking = None

    @asynccontextmanager
    async def begin(self, *, synced: bool = True) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes. Raises ``StoreUnavailable`` where it cannot be done; nothing of it is kept then.

        Without ``synced`` the last such transactions may be lost with the power, whole and from the end; never by the
        death of a process.
        """
        opened = self._open(self._writing).connect()
        async with told(self), opened as connection, self._transaction(connection, synced=synced):
            yield connection

    async def carry_out(self, work: Work[T], *, synced: bool = True) -> T:
        """The same for work that waits for nothing but its statements, which is quicker: on SQLite it is one visit.

        There it goes on to its end when its caller is cancelled. On PostgreSQL it may be begun anew: of two that wait
        for each other the server ends one, and keeps nothing of it.
        """
        async with told(self):
            if not self.is_sqlite:
                return await self._carry_out_on_server(work, synced=synced)
            async with self._open(self._writing).connect() as connection:
                result: T = await driver_of(connection).at_once(self._carried_out(connection, work, synced=synced))
                return result

    async def _carry_out_on_server(self, work: Work[T], *, synced: bool) -> T:
        for _ in range(DEADLOCKS):
            try:
                return await self._carry_out_once(work, synced=synced)
            except DBAPIError as error:
                if not is_deadlock(error):
                    raise
            # Begun at once, it may take what the other one is being woken up for.
            await self.clock.sleep(DEADLOCK_PAUSE_S)
        return await self._carry_out_once(work, synced=synced)

    async def _carry_out_once(self, work: Work[T], *, synced: bool) -> T:
        async with self._open(self._writing).connect() as connection, self._transaction(connection, synced=synced):
            return await work(connection)

    async def ask(self, work: Work[T]) -> T:
        """What ``read`` is for, for work that waits for nothing but its statements."""
        async with told(self):
            if not self.is_sqlite:
                return await self._ask_server(work)
            async with self._open(self._reading).connect() as connection:
                answer: T = await driver_of(connection).at_once(_asked(connection, work))
                return answer

    async def _ask_server(self, work: Work[T]) -> T:
        asking = self._open(self._asking)
        try:
            async with asking.connect() as connection:
                return await work(connection)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # The server has ended it since it was used last, and so all others. To ask twice changes nothing.
        async with asking.connect() as connection:
            return await work(connection)

    async def _carried_out(self, connection: AsyncConnection, work: Work[T], *, synced: bool) -> T:
        # Past SQLAlchemy, whose own transaction takes longer than all the statements of a write.
        driver = driver_of(connection)
        await self._sync(connection, synced=synced)
        await driver.execute_fetchall(_BEGIN_WRITING)
        try:
            result = await work(connection)
            await driver.commit()
        except BaseException:
            await driver.rollback()
            raise
        finally:
            await _forgotten(connection)
        return result

    @asynccontextmanager
    async def _transaction(self, connection: AsyncConnection, *, synced: bool) -> AsyncIterator[None]:
        if self.is_sqlite:
            await self._sync(connection, synced=synced)
        async with connection.begin():
            if not synced and not self.is_sqlite:
                await connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
            yield

    async def _sync(self, connection: AsyncConnection, *, synced: bool) -> None:
        # A pragma for each transaction would cost as much as a statement, so it is set when it changes.
        facts = connection.sync_connection.info if connection.sync_connection is not None else {}
        if facts.get("synced", True) is synced:
            return
        async with driver_of(connection).cursor() as cursor:
            await cursor.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        facts["synced"] = synced

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that reads. Raises ``StoreUnavailable``."""
        async with told(self), self._open(self._reading).connect() as connection:
            yield connection

    def _open(self, engine: AsyncEngine | None) -> AsyncEngine:
        if engine is None:
            raise AssertionError("the database is not open")
        return engine


def driver_of(connection: AsyncConnection) -> Any:
    """The driver's own connection. What it raises, ``faults.told`` knows."""
    if connection.sync_connection is None:
        raise AssertionError("only an open connection is asked")
    return connection.sync_connection.connection.driver_connection


async def _asked(connection: AsyncConnection, work: Work[T]) -> T:
    driver = driver_of(connection)
    await driver.execute_fetchall(_BEGIN_READING)
    try:
        return await work(connection)
    finally:
        await driver.rollback()
        await _forgotten(connection)


async def _forgotten(connection: AsyncConnection) -> None:
    # SQLAlchemy begins a transaction of its own with a statement that goes through it. The driver's has ended already.
    if connection.in_transaction():
        await connection.rollback()


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        hint = "use sqlite:///file.db or postgresql://user@host/name"
        raise ConfigurationError("the store's URL cannot be read", hint=hint) from None
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        hint = "use sqlite:///file.db or postgresql://user@host/name"
        raise ConfigurationError(f"the store cannot be kept in {parsed.get_backend_name()}", hint=hint)
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("the store's URL names no file", hint="use sqlite:///file.db")
    return parsed.set(drivername=driver)


async def _connect(*arguments: Any, **keywords: Any) -> Any:
    from genie_connect.store.sqlite_driver import connect  # brings aiosqlite, which only a file needs

    return await connect(*arguments, **keywords)


def _set_up(connection: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "synchronous = FULL",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    _log_ahead(cursor)
    cursor.close()


def _log_ahead(cursor: Any) -> None:
    # Of several that switch a new file to WAL at once SQLite refuses some without waiting, whatever the busy timeout.
    for _ in range(BUSY_TIMEOUT_MS // WAL_PAUSE_MS):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            await_only(asyncio.sleep(WAL_PAUSE_MS / 1000))
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")


def _sqlite_engine(url: sa.URL, *, size: int, begin: str) -> AsyncEngine:
    folder = Path(url.database or "").parent
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder} for the store", hint="make it, or name another place")
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "async_creator_fn": _connect},
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        # The driver's own transactions begin late and end early; ours begin where SQLAlchemy says.
        connection.isolation_level = None
        try:
            _set_up(connection)
        except BaseException:
            # The pool forgets it unclosed, with a thread that would hold up the end of the process.
            connection.close()
            raise

    @sa.event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        driver = connection.connection.driver_connection
        if driver is None or not driver.in_transaction:
            connection.exec_driver_sql(begin)

    return engine
