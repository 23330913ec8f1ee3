"""An engine of one's own: Celery on RabbitMQ, for a host that runs both already.

One unit is one Celery task. It is acknowledged after the handler has returned (``acks_late``), so the broker delivers
it again when the worker dies. Celery's worker runs in a thread of the process that runs the engine, which is the
process that has opened the host: the handler runs on the host's event loop, and a thread of Celery's waits for it.

A package offers it to ``[engine] url = "celery+amqp://..."`` by an entry point::

    [project.entry-points."genie_connect.engines.v1"]
    "celery+amqp" = "my_package.celery_engine:from_url"
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from celery import Celery, Task
from celery.concurrency.thread import TaskPool
from celery.exceptions import Reject, WorkerShutdown
from celery.worker import WorkController
from kombu import Queue
from kombu.asynchronous import set_event_loop
from kombu.exceptions import OperationalError

from genie_connect.engine import Handler, Place, Work
from genie_connect.engine.calls import Backoff
from genie_connect.errors import EngineUnavailable

TASK = "genie_connect.unit"
PRIORITIES = 10
CONNECTIONS = 4
TICK_S = 0.1
"""How often Celery's loop looks whether it is to end."""
_logger = logging.getLogger(__name__)


def from_url(url: str, place: Place) -> CeleryEngine:
    """What the entry point names."""
    return CeleryEngine(url.removeprefix("celery+"), place)


class _Threads(TaskPool):
    """Celery's threads, each knowing its app: by itself Celery would look for the task in the default one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.executor = concurrent.futures.ThreadPoolExecutor(self.limit, initializer=self.app.set_current)


class CeleryEngine:
    """Work in a queue of RabbitMQ."""

    name = "celery"
    shares_ledger = False
    in_memory = False
    ahead = 2

    def __init__(self, broker: str, place: Place, *, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._queue = f"genie-connect.{place.store}.{place.tenant}"
        self._app = Celery("genie-connect", broker=broker, set_as_current=False)
        self._app.conf.update(
            task_queues=[Queue(self._queue, durable=True, queue_arguments={"x-max-priority": PRIORITIES})],
            task_default_queue=self._queue,
            task_ignore_result=True,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            # As many messages as handlers: what is fetched ahead would be out of everybody else's reach.
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
            # A submission has been made when the broker says so.
            broker_transport_options={"confirm_publish": True, "max_retries": 1, "interval_start": 0.1},
            task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1},
        )

        @self._app.task(bind=True, name=TASK, max_retries=None, shared=False)
        def unit(task: Task, number: int, priority: int, not_before: float) -> None:
            self._work(task, Work(unit=number, priority=priority, not_before=not_before))

        self._task = unit
        # Not the app's own pool: Celery has one for all apps with the same broker, and closing it would close theirs.
        self._connections = self._app.connection_for_write().Pool(CONNECTIONS)
        self._handler: Handler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._worker: WorkController | None = None
        self._stopped = asyncio.Event()
        self._stopping = False
        self._ending = False

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._asking, self._connect)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(0)
        self._connections.force_close_all()
        self._app.close()

    async def submit(self, work: Sequence[Work], *, transaction: Any = None) -> None:
        """Publish a task for each unit, confirmed by the broker."""
        await asyncio.to_thread(self._asking, self._publish, work)

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Run Celery's worker in a thread until ``stop``. It reconnects by itself."""
        if self._stopping:
            return
        self._handler, self._loop = handler, asyncio.get_running_loop()
        # Else it would take over the loop of the last worker of this process.
        set_event_loop(None)
        self._worker = self._app.WorkController(
            pool=_Threads,
            concurrency=concurrency,
            queues=[self._queue],
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        self._worker.timer.call_repeatedly(TICK_S, self._tick)
        thread = threading.Thread(target=self._worker.start, name="celery", daemon=True)
        thread.start()
        try:
            await self._stopped.wait()
        finally:
            self._stopping = True
            for call in list(self._under_way):
                call.cancel()
            self._ending = True
            await asyncio.to_thread(thread.join)

    async def stop(self, grace_s: float) -> None:
        """Fetch nothing new; cancel what has not ended after so many seconds, which goes back to the queue."""
        self._stopping = True
        consumer = getattr(self._worker, "consumer", None)
        if consumer is not None and not self._stopped.is_set():
            consumer.call_soon(consumer.cancel_task_queue, self._queue)
        if self._under_way and grace_s > 0:
            await asyncio.wait(self._under_way, timeout=grace_s)
        self._stopped.set()

    def _tick(self) -> None:
        if self._ending:
            raise WorkerShutdown(0)

    def _work(self, task: Task, work: Work) -> None:
        """The task, in one of Celery's threads."""
        assert self._handler is not None
        assert self._loop is not None
        call = asyncio.run_coroutine_threadsafe(self._call(self._handler, work), self._loop)
        try:
            call.result()
        except concurrent.futures.CancelledError:
            raise Reject("cut short", requeue=True) from None
        except Exception as error:  # noqa: BLE001  # whatever it is, the unit is to be tried again
            pause_s = self._backoff.after(task.request.retries + 1)
            _logger.warning("unit %d failed (%s) and waits for %.1f s", work.unit, type(error).__name__, pause_s)
            # The next try is published before this one is acknowledged. The error's text stays here.
            raise task.retry(countdown=pause_s, exc=RuntimeError(type(error).__name__)) from None

    async def _call(self, handler: Handler, work: Work) -> None:
        """On the host's loop, where nothing comes between the question and the entry in the list."""
        if self._stopping:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            await handler(work)
        finally:
            self._under_way.discard(task)

    def _connect(self) -> None:
        with self._connections.acquire(block=True) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1)

    def _publish(self, work: Sequence[Work]) -> None:
        with self._connections.acquire(block=True) as connection, self._app.amqp.Producer(connection) as producer:
            for item in work:
                self._task.apply_async(
                    (item.unit, item.priority, item.not_before),
                    producer=producer,
                    priority=max(0, min(PRIORITIES, PRIORITIES // 2 + item.priority)),
                    eta=datetime.fromtimestamp(item.not_before, UTC) if item.not_before else None,
                )

    def _asking(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except (OperationalError, OSError) as error:
            # Its text may name the broker with its password.
            raise EngineUnavailable(
                f"the engine celery does not reach its broker ({type(error).__name__})", hint="look whether it runs"
            ) from None
