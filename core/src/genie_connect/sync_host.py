"""A host for programs without an event loop: a thin portal over one loop in a thread.

::

    with SyncHost.open("genie-connect.toml") as host:
        receipt = host.send(Message(to=["ada@example.com"], subject="Your order", text="It is on its way."))
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from genie_connect.clock import Clock
from genie_connect.config import Config
from genie_connect.contract import WebhookRequest
from genie_connect.delivery.connection import Connection
from genie_connect.delivery.dispatch import SEND_TIMEOUT_S
from genie_connect.delivery.in_memory import CHUNK
from genie_connect.delivery.intake import WebhookResult
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.planner import Order, api_first
from genie_connect.delivery.policy import SendPolicy
from genie_connect.delivery.suppression import SuppressionGate, SuppressionStore
from genie_connect.errors import GenieConnectError
from genie_connect.host import TEST_TIMEOUT_S, Host
from genie_connect.model.address import AddressLike
from genie_connect.model.batch import Recipient
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Step
from genie_connect.model.event import Event
from genie_connect.model.fate import Fate
from genie_connect.model.message import Message, Purpose
from genie_connect.model.outcome import Outcome
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Attempt, Receipt
from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope
from genie_connect.registry import Changes, ConnectorHandle, Failure, Registry

if TYPE_CHECKING:
    from genie_connect.broadcast.handle import Broadcast, Progress
    from genie_connect.broadcast.recipients import Source
    from genie_connect.durable.worker import WorkerHealth
    from genie_connect.store.unknown import UnknownCopy

T = TypeVar("T")


class SyncHost:
    """``Host`` with methods that block. May be used from several threads at a time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.suppressions = SyncSuppressions(self)

    @classmethod
    def open(
        cls,
        config: str | os.PathLike[str] | Mapping[str, Any] | Config,
        *,
        registry: Registry | None = None,
        suppressions: SuppressionStore | None = None,
        clock: Clock | None = None,
        policy: SendPolicy | None = None,
        order: Order = api_first,
        work: bool | None = None,
    ) -> SyncHost:
        """As ``Host.open``; to be entered with ``with``."""
        return cls(
            Host.open(
                config,
                registry=registry,
                suppressions=suppressions,
                clock=clock,
                policy=policy,
                order=order,
                work=work,
            )
        )

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=[self._loop], name="genie-connect", daemon=True)
        self._thread.start()
        try:
            self.run(self._host.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self._host.__aexit__(kind, error, trace))
        finally:
            self._stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the host's loop and wait for it. An interruption cancels it.

        Raises ``GenieConnectError`` where nobody would ever run it: outside ``with``, or from an observer.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._running_loop())
        except GenieConnectError:
            work.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def observers(self) -> Observers:
        """As ``Host.observers``. They are told on the host's own thread, and must not wait for the host there."""
        return self._host.observers

    def connections(self) -> tuple[Connection, ...]:
        """As ``Host.connections``."""
        return self._host.connections()

    def connection(self, name: str) -> Connection:
        """As ``Host.connection``."""
        return self._host.connection(name)

    def connectors(self) -> tuple[ConnectorHandle, ...]:
        """As ``Host.connectors``."""
        return self._host.connectors()

    def refresh(self) -> Changes:
        """As ``Host.refresh``."""
        return self.run(self._host.refresh())

    def failures(self) -> tuple[Failure, ...]:
        """As ``Host.failures``."""
        return self._host.failures()

    def capabilities(self, name: str) -> CapabilityTable:
        """As ``Host.capabilities``."""
        return self._host.capabilities(name)

    def plan(
        self, message: Message, *, broadcast: bool = False, merge: bool = False, connection: str | None = None
    ) -> Plan:
        """As ``Host.plan``."""
        return self._host.plan(message, broadcast=broadcast, merge=merge, connection=connection)

    def send(
        self,
        message: Message,
        *,
        connection: str | None = None,
        idempotency_key: str | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
        policy: SendPolicy | None = None,
        durable: bool = False,
        not_before: datetime | None = None,
        expires: datetime | None = None,
        priority: int = 0,
    ) -> Receipt:
        """As ``Host.send``."""
        return self.run(
            self._host.send(
                message,
                connection=connection,
                idempotency_key=idempotency_key,
                timeout_s=timeout_s,
                policy=policy,
                durable=durable,
                not_before=not_before,
                expires=expires,
                priority=priority,
            )
        )

    def receipt(self, id: int) -> Receipt | None:  # noqa: A002  # what a receipt calls it
        """As ``Host.receipt``."""
        return self.run(self._host.receipt(id))

    def settled(self, id: int, *, timeout_s: float = SEND_TIMEOUT_S) -> Receipt:  # noqa: A002
        """As ``Host.settled``."""
        return self.run(self._host.settled(id, timeout_s=timeout_s))

    def broadcast(
        self,
        message: Message,
        recipients: Source,
        *,
        name: str = "",
        connection: str | None = None,
        strict: bool = False,
        rejects: str | os.PathLike[str] | None = None,
        not_before: datetime | None = None,
        expires: datetime | None = None,
        finish_by: datetime | None = None,
        priority: int = 0,
        at_least_once: bool | None = None,
        start: bool = True,
    ) -> SyncBroadcast:
        """As ``Host.broadcast``."""
        made = self.run(
            self._host.broadcast(
                message,
                recipients,
                name=name,
                connection=connection,
                strict=strict,
                rejects=rejects,
                not_before=not_before,
                expires=expires,
                finish_by=finish_by,
                priority=priority,
                at_least_once=at_least_once,
                start=start,
            )
        )
        return SyncBroadcast(self, made)

    def broadcasts(self, *, limit: int = 100) -> tuple[SyncBroadcast, ...]:
        """As ``Host.broadcasts``."""
        return tuple(SyncBroadcast(self, each) for each in self.run(self._host.broadcasts(limit=limit)))

    @property
    def health(self) -> WorkerHealth | None:
        """As ``Host.health``."""
        return self._host.health

    def find_broadcast(self, id: int) -> SyncBroadcast:  # noqa: A002
        """As ``Host.find_broadcast``."""
        return SyncBroadcast(self, self.run(self._host.find_broadcast(id)))

    def unknown(
        self, *, broadcast: int | None = None, after: tuple[int, int] = (0, -1), limit: int = 100
    ) -> tuple[UnknownCopy, ...]:
        """As ``Host.unknown``."""
        return self.run(self._host.unknown(broadcast=broadcast, after=after, limit=limit))

    def resolve(self, unit: int, position: int, resolution: str, *, note: str | None = None) -> None:
        """As ``Host.resolve``."""
        self.run(self._host.resolve(unit, position, resolution, note=note))

    def reconcile(self) -> int:
        """As ``Host.reconcile``."""
        return self.run(self._host.reconcile())

    def send_each(
        self,
        message: Message,
        recipients: Iterable[Recipient | AddressLike],
        *,
        connection: str | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
        policy: SendPolicy | None = None,
        chunk: int = CHUNK,
    ) -> Iterator[Outcome]:
        """As ``Host.send_each``."""
        return self._drained(
            self._host.send_each(
                message, recipients, connection=connection, timeout_s=timeout_s, policy=policy, chunk=chunk
            )
        )

    def test(
        self, name: str, *, send_to: AddressLike | None = None, timeout_s: float = TEST_TIMEOUT_S
    ) -> Iterator[Step]:
        """As ``Host.test``."""
        return self._drained(self._host.test(name, send_to=send_to, timeout_s=timeout_s))

    def webhook(self, connection: str, request: WebhookRequest) -> WebhookResult:
        """As ``Host.webhook``."""
        return self.run(self._host.webhook(connection, request))

    def take_events(self, connection: str, events: Sequence[Event]) -> WebhookResult:
        """As ``Host.take_events``."""
        return self.run(self._host.take_events(connection, events))

    def take_mail(self, connection: str, raw: bytes, *, envelope_to: str | None = None) -> WebhookResult:
        """As ``Host.take_mail``."""
        return self.run(self._host.take_mail(connection, raw, envelope_to=envelope_to))

    def fate(self, message_id: str, recipient: str | None = None) -> Fate:
        """As ``Host.fate``."""
        return self.run(self._host.fate(message_id, recipient))

    def lookup(self, attempt: Attempt) -> tuple[Outcome, ...]:
        """As ``Host.lookup``."""
        return self.run(self._host.lookup(attempt))

    def _drained(self, items: AsyncIterator[T]) -> Iterator[T]:
        try:
            while True:
                try:
                    yield self.run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            close = getattr(items, "aclose", None)
            # After the host's end there is nothing left to close: its loop has seen to that.
            if close is not None and self._loop is not None:
                self.run(close())

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise GenieConnectError("the host is not open", hint="use it inside: with SyncHost.open(...) as host")
        if threading.current_thread() is self._thread:
            hint = "observers run on the host's own loop and must not wait for it: do this in another thread"
            raise GenieConnectError("the host would wait for itself", hint=hint)
        return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        # Cancelled by an interruption, or not awaited by anybody any more: it ends before the loop does.
        loop.run_until_complete(_ended(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    def _stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()


class SyncSuppressions:
    """``host.suppressions`` with methods that block."""

    def __init__(self, host: SyncHost) -> None:
        self._host = host

    def check(self, address: AddressLike, purpose: Purpose = Purpose.TRANSACTIONAL) -> Suppression | None:
        """As ``SuppressionGate.check``."""
        return self._host.run(self._gate.check(address, purpose))

    def add(
        self,
        address: AddressLike,
        *,
        reason: SuppressionReason | str = SuppressionReason.MANUAL,
        scope: SuppressionScope | str | None = None,
        source: str = "",
        expires_s: float | None = None,
    ) -> Suppression:
        """As ``SuppressionGate.add``."""
        return self._host.run(self._gate.add(address, reason=reason, scope=scope, source=source, expires_s=expires_s))

    def remove(self, address: AddressLike, *, scope: SuppressionScope | str | None = None) -> int:
        """As ``SuppressionGate.remove``."""
        return self._host.run(self._gate.remove(address, scope=scope))

    def all(self) -> list[Suppression]:
        """As ``SuppressionGate.all``, as a list."""
        return self._host.run(_listed(self._gate.all()))

    @property
    def _gate(self) -> SuppressionGate:
        return self._host._host.suppressions  # noqa: SLF001  # the other half of the same portal


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _listed(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


class SyncBroadcast:
    """A ``Broadcast`` with methods that block."""

    def __init__(self, host: SyncHost, made: Broadcast) -> None:
        self._host = host
        self._made = made
        self.id = made.id
        self.name = made.name
        self.total = made.total
        self.duplicates = made.duplicates
        self.refused_rows = made.refused_rows
        self.created = made.created
        self.forecast = made.forecast
        self.rejects = made.rejects

    def start(self) -> None:
        """As ``Broadcast.start``."""
        self._host.run(self._made.start())

    def pause(self, *, reason: str | None = None) -> None:
        """As ``Broadcast.pause``."""
        self._host.run(self._made.pause(reason=reason))

    def resume(self) -> None:
        """As ``Broadcast.resume``."""
        self._host.run(self._made.resume())

    def stop(self, *, reason: str | None = None) -> None:
        """As ``Broadcast.stop``."""
        self._host.run(self._made.stop(reason=reason))

    def progress(self) -> Progress:
        """As ``Broadcast.progress``."""
        return self._host.run(self._made.progress())

    def wait(self, timeout_s: float | None = None) -> Progress:
        """As ``Broadcast.wait``."""
        return self._host.run(self._made.wait(timeout_s))
