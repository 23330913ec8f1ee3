"""PgQueuer: the queue in the PostgreSQL that holds the ledger, so that unit and job are committed together.

PgQueuer's tables, statements and tools are used; its ``QueueManager`` is not. That one deletes a job whose handler was
cancelled, ends with its connection, and bounds the calls in progress only in steps of its batch. Here a job that was
cut short goes back to the queue, and a server that restarts is waited for.

A job holds the number of one unit. It is taken with a heartbeat; when that stops, another worker takes it over.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import asyncpg
import sqlalchemy as sa
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.adapters.persistence.qb import (
    DBSettings,
    Durability,
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job
from pgqueuer.domain.types import Channel, JobId, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.driver import Driver
from pgqueuer.ports.repository import EntrypointExecutionParameter
from sqlalchemy.exc import ArgumentError

from genie_connect.engine.calls import Backoff, Calls
from genie_connect.engine.contract import Handler, Place, Work
from genie_connect.errors import ConfigurationError, EngineUnavailable
from genie_connect.registry.isolation import log_failure

PREFIX: Final = "genie_connect_"
"""Begins the name of everything this engine makes, so that a host's own PgQueuer stays as it is."""
IDLE_S: Final = 5.0
"""How long to sleep when nothing is due and nobody notifies."""
PRUNE_EVERY_S: Final = 30.0
KEEP_LOG_S: Final = 300
KEEP_FAILED_S: Final = 7 * 86_400
PRUNE_AT_ONCE: Final = 10_000
_REMEDY: Final = "run: genie-connect db upgrade"
_LOST: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    # What asyncpg sometimes makes of a connection that ends in the middle of an answer.
    asyncpg.InternalClientError,
)
"""What a query raises when the server is away, and that it comes back from."""
_logger = logging.getLogger("genie_connect.engine")
T = TypeVar("T")


def table_settings() -> DBSettings:
    """The names of the tables. All are given, since PgQueuer would take the others from the environment."""
    return DBSettings(
        prefix=PREFIX,
        db_schema=None,
        channel=Channel(f"{PREFIX}ch_pgqueuer"),
        function=f"{PREFIX}fn_pgqueuer_changed",
        statistics_table=f"{PREFIX}pgqueuer_statistics",
        queue_status_type=f"{PREFIX}pgqueuer_status",
        queue_table=f"{PREFIX}pgqueuer",
        queue_table_log=f"{PREFIX}pgqueuer_log",
        trigger=f"{PREFIX}tg_pgqueuer_changed",
        schedules_table=f"{PREFIX}pgqueuer_schedules",
        # The queue survives a crash of the server; the log of what was done need not.
        durability=Durability.balanced,
    )


async def upgrade_tables(place: Place) -> None:
    """Make the tables, or bring them up to date. May be called at any time, by several processes at once.

    Raises ``EngineUnavailable``.
    """
    async with _told():
        connection = await asyncpg.connect(**_arguments(place))
        try:
            queries = _queries(AsyncpgDriver(connection), table_settings())
            async with queries.schema_lock():
                installed = await queries.schema_is_installed()
                if not installed:
                    await queries.install()
            if installed:
                await queries.upgrade()
        finally:
            await connection.close()


class PgQueuerEngine:
    """Work in the store's PostgreSQL. Needs the tables that ``upgrade_tables`` makes.

    ``heartbeat_s`` is after how long of silence another worker takes a unit over; ``most_failures`` how often in a row
    a handler may raise before the job is put aside with the status ``failed``, for an operator to see.
    """

    name = "pgqueuer"
    shares_ledger = True
    in_memory = False
    ahead = 2

    def __init__(
        self, place: Place, *, backoff: Backoff | None = None, heartbeat_s: float = 30.0, most_failures: int = 20
    ) -> None:
        self._place = place
        self._arguments = _arguments(place)
        self._settings = table_settings()
        self._entrypoint = QueueEntrypoint(place.tenant)
        self._me = QueueManagerId(uuid4())
        self._backoff = backoff or Backoff()
        self._heartbeat_s = heartbeat_s
        self._most_failures = most_failures
        self._calls = Calls()
        self._jobs: dict[JobId, Job] = {}
        self._units: set[int] = set()
        self._pool: asyncpg.Pool | None = None

    async def __aenter__(self) -> Self:
        async with _told():
            self._pool = await asyncpg.create_pool(**self._arguments, min_size=1, max_size=4)
            try:
                if not await self._queries.has_table(self._settings.queue_table):
                    raise EngineUnavailable("the tables of the engine pgqueuer are missing", hint=_REMEDY)
            except BaseException:
                await self._pool.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._calls.close()
        if self._pool is not None:
            # Not close(): it waits for a server that may be away.
            self._pool.terminate()
            self._pool = None

    @property
    def _queries(self) -> Queries:
        if self._pool is None:
            raise EngineUnavailable("the engine is not open", hint="use it inside its async with block")
        return _queries(AsyncpgPoolDriver(self._pool), self._settings)

    async def submit(self, work: Sequence[Work], *, transaction: Any = None) -> None:
        """Put units in the queue; within ``transaction`` (an ``AsyncConnection``), when and if that commits.

        A unit that waits already, for the same time, is left out.
        """
        if not work:
            return
        now = time.time()
        async with _told():
            queries = self._queries if transaction is None else await self._within(transaction)
            await queries.enqueue(
                [self._entrypoint] * len(work),
                [b"%d" % item.unit for item in work],
                [item.priority for item in work],
                [timedelta(seconds=max(0.0, item.not_before - now)) for item in work],
                [self._key(item) for item in work],
                on_conflict="skip",
            )
        self._calls.wake()

    async def _within(self, transaction: Any) -> Queries:
        raw = (await transaction.get_raw_connection()).driver_connection
        if not raw.is_in_transaction():
            # SQLAlchemy begins with its first statement; before that ours would be committed by itself.
            await transaction.exec_driver_sql("SELECT 1")
        return _queries(AsyncpgDriver(raw), self._settings)

    def _key(self, work: Work) -> str:
        # A job keeps its key until it is done, and its handler may have returned the unit just now.
        again = f"/{secrets.token_hex(4)}" if work.unit in self._units else ""
        return f"{self._place.tenant}/{work.unit}/{work.not_before:.3f}{again}"

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Take jobs and call the handler until ``stop``. A server that is away is asked again until it is back."""
        async with self._calls.running(concurrency):
            helpers = [asyncio.create_task(helper()) for helper in (self._listen, self._beat, self._prune)]
            try:
                while not self._calls.stopping:
                    idle_s = await self._begin(handler) if self._calls.free else None
                    if idle_s != 0:
                        await self._calls.nap(idle_s)
                # Until the last call has ended its job has to be kept alive.
                await self._calls.ended()
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)

    async def stop(self, grace_s: float) -> None:
        """Take no new job; cancel what has not ended after so many seconds and put it back."""
        await self._calls.stop(grace_s)

    async def _begin(self, handler: Handler) -> float:
        """Begin a call for each job there is room for. Returns how long to sleep, 0 for not at all."""
        jobs = await self._surely(self._dequeue)
        if jobs is None:
            return 0
        if self._calls.stopping:
            # The stop came while the server answered.
            await asyncio.gather(*map(self._give_back, jobs))
            return 0
        for job in jobs:
            # After a long silence our own jobs look as if nobody had them.
            if job.id not in self._jobs:
                self._jobs[job.id] = job
                self._calls.begin(self._call(handler, job))
        if jobs:
            return 0
        eta = await self._surely(lambda: self._queries.next_deferred_eta([self._entrypoint]))
        # Jobs of a worker that died become due without anybody telling.
        idle_s = min(IDLE_S, self._heartbeat_s / 2)
        return idle_s if eta is None else min(idle_s, max(0.01, eta.total_seconds()))

    async def _dequeue(self) -> list[Job]:
        return await self._queries.dequeue(
            batch_size=max(1, self._calls.free),
            entrypoints={self._entrypoint: EntrypointExecutionParameter(concurrency_limit=0)},
            queue_manager_id=self._me,
            global_concurrency_limit=None,
            heartbeat_timeout=timedelta(seconds=self._heartbeat_s),
        )

    async def _call(self, handler: Handler, job: Job) -> None:
        unit = int(job.payload or b"0")
        self._units.add(unit)
        try:
            await handler(Work(unit=unit, priority=job.priority, not_before=job.execute_after.timestamp()))
        except asyncio.CancelledError:
            await self._give_back(job)
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the unit is to be tried again
            await self._failed(unit, job, error)
        else:
            await self._surely(lambda: self._queries.log_jobs([(job, "successful", None)]))
        finally:
            self._units.discard(unit)
            self._jobs.pop(job.id, None)

    async def _failed(self, unit: int, job: Job, error: Exception) -> None:
        if job.attempts + 1 >= self._most_failures:
            log_failure(_logger, error, "unit %d failed %d times and was put aside", unit, job.attempts + 1)
            await self._surely(lambda: self._queries.log_jobs([(job, "failed", None)]))
            return
        pause_s = self._backoff.after(job.attempts + 1)
        log_failure(_logger, error, "unit %d failed and waits for %.1f s", unit, pause_s)
        # No traceback is kept: it may hold what must not lie in a database.
        await self._surely(lambda: self._queries.retry_job(job, timedelta(seconds=pause_s), None))

    async def _give_back(self, job: Job) -> None:
        """Put a job that was cut short back in its place. Should that fail, its heartbeat has ended anyway."""
        try:
            async with asyncio.timeout(2.0):
                await self._queries.retry_job(job, timedelta(0), None)
        except (*_LOST, asyncpg.PostgresError, EngineUnavailable):
            _logger.warning("a unit that was cut short waits until its heartbeat is missed")

    async def _surely(self, query: Callable[[], Awaitable[T]]) -> T | None:
        """What a query returns, however often it has to be asked; None only when stopping."""
        failures = 0
        while True:
            try:
                return await query()
            except (*_LOST, asyncpg.PostgresError) as error:
                failures += 1
                if failures == 1:
                    _logger.warning("PostgreSQL gives no answer (%s); it is asked again", type(error).__name__)
                if self._calls.stopping and failures > 3:
                    return None
                await asyncio.sleep(Backoff(first_s=0.05, longest_s=2.0).after(failures))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s / 4)
            if self._jobs:
                await self._surely(lambda: self._queries.update_heartbeat(list(self._jobs)))

    async def _listen(self) -> None:
        """Be woken by new jobs; a connection that is lost is made again."""
        failures = 0
        while True:
            try:
                connection = await asyncpg.connect(**self._arguments)
            except (*_LOST, asyncpg.PostgresError):
                failures += 1
                await asyncio.sleep(Backoff(first_s=0.05, longest_s=2.0).after(failures))
                continue
            failures = 0
            try:
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(self._settings.channel, self._notified)
                self._calls.wake()
                await lost.wait()
            except (*_LOST, asyncpg.PostgresError):
                pass
            finally:
                connection.terminate()

    def _notified(self, connection: object, pid: object, channel: object, payload: object) -> None:
        # Jobs that end are told of too, and are nothing to wake for.
        if isinstance(payload, str) and '"delete"' not in payload:
            self._calls.wake()

    async def _prune(self) -> None:
        """Keep the tables from growing: PgQueuer notes every step of every job, and forgets none."""
        queue, log, statistics = (
            self._settings.queue_table,
            self._settings.queue_table_log,
            self._settings.statistics_table,
        )
        while True:
            for table, condition, keep_s in (
                (log, "TRUE", KEEP_LOG_S),
                (statistics, "TRUE", KEEP_FAILED_S),
                (queue, "status = 'failed'", KEEP_FAILED_S),
            ):
                await self._surely(lambda t=table, c=condition, k=keep_s: self._delete(t, c, k))  # type: ignore[misc]
            await asyncio.sleep(PRUNE_EVERY_S)

    async def _delete(self, table: str, condition: str, keep_s: int) -> None:
        # The names are constants of this module.
        statement = (
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {condition}"  # noqa: S608
            f" AND created < now() - make_interval(secs => $1) ORDER BY created LIMIT {PRUNE_AT_ONCE})"
        )
        while self._pool is not None:
            done: str = await self._pool.execute(statement, float(keep_s))
            if int(done.rpartition(" ")[2]) < PRUNE_AT_ONCE:
                return


def _queries(driver: Driver, settings: DBSettings) -> Queries:
    return Queries(
        driver,
        qbe=QueryBuilderEnvironment(settings),
        qbq=QueryQueueBuilder(settings),
        qbs=QuerySchedulerBuilder(settings),
    )


def _arguments(place: Place) -> Mapping[str, Any]:
    """The arguments of asyncpg for the store's URL, the same that the store itself connects with."""
    hint = "name a store like postgresql://user@host/name, or use another engine"
    try:
        url = sa.make_url(place.store_url)
    except ArgumentError:
        raise ConfigurationError(
            "engine.url: pgqueuer needs a store in PostgreSQL, and there is none", hint=hint
        ) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"engine.url: pgqueuer needs a store in PostgreSQL, and the store is kept in {url.get_backend_name()}",
            hint=hint,
        )
    url = url.set(drivername="postgresql+asyncpg")
    _, arguments = url.get_dialect()().create_connect_args(url)
    # These are SQLAlchemy's own.
    return {name: value for name, value in arguments.items() if not name.startswith(("prepared_statement_", "async_"))}


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Raise ``EngineUnavailable`` for what asyncpg raises. Its text is left out: it may hold a row."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedObjectError, asyncpg.UndefinedFunctionError):
        raise EngineUnavailable("the tables of the engine pgqueuer are missing", hint=_REMEDY) from None
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise EngineUnavailable(
            f"the engine pgqueuer is not let in by PostgreSQL ({type(error).__name__})", hint="correct store.url"
        ) from None
    except asyncpg.InsufficientPrivilegeError:
        raise EngineUnavailable(
            "the engine pgqueuer may not use its tables", hint="grant the store's user what it needs, then " + _REMEDY
        ) from None
    except (*_LOST, asyncpg.PostgresError) as error:
        raise EngineUnavailable(
            f"the engine pgqueuer does not reach PostgreSQL ({type(error).__name__})",
            hint="look whether the server runs and can be reached",
        ) from None
