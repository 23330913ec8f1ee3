"""The door for hosts.

::

    async with Host.open("genie-connect.toml") as host:
        receipt = await host.send(Message(from_="Shop <shop@example.com>", to=["ada@example.com"],
                                          subject="Your order", text="It is on its way."))
        print(receipt.outcomes["ada@example.com"].state, receipt.plan.explain())
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from genie_connect.clock import Clock, SystemClock
from genie_connect.config import Config, StoreSection, load_config, make_config
from genie_connect.connecting import Connecting, both
from genie_connect.contract import WebhookRequest
from genie_connect.delivery.asked_together import AskedTogether
from genie_connect.delivery.connection import Connection, ConnectionConfig
from genie_connect.delivery.dispatch import SEND_TIMEOUT_S, Dispatcher, Way, checked_single
from genie_connect.delivery.in_memory import CHUNK, InMemory
from genie_connect.delivery.intake import Intake, WebhookResult
from genie_connect.delivery.kept_events import MemoryEvents
from genie_connect.delivery.limiter import Rooms
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.planner import Order, api_first
from genie_connect.delivery.policy import SendPolicy
from genie_connect.delivery.suppression import (
    FileSuppressions,
    JoinedSuppressions,
    MemorySuppressions,
    SuppressionGate,
    SuppressionStore,
)
from genie_connect.delivery.trial import trial
from genie_connect.errors import (
    ConfigurationError,
    GenieConnectError,
    ValidationError,
)
from genie_connect.failpoints import point
from genie_connect.model.address import Address, AddressLike
from genie_connect.model.asked import checked_key, checked_priority, checked_window, seconds
from genie_connect.model.batch import Recipient
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Step
from genie_connect.model.event import Event
from genie_connect.model.fate import Fate
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Attempt, Receipt
from genie_connect.registry import Changes, ConnectorHandle, Failure, Registry
from genie_connect.sending import SingleSend
from genie_connect.webhooks.documents import Documents

if TYPE_CHECKING:
    from genie_connect.broadcast.handle import Broadcast
    from genie_connect.broadcast.recipients import Source
    from genie_connect.durable.service import Durable
    from genie_connect.durable.worker import Worker, WorkerHealth
    from genie_connect.store.unknown import UnknownCopy

logger = logging.getLogger("genie_connect.host")
TEST_TIMEOUT_S = 60.0


class Host:
    """Connections, suppressions and observers of one application, open between ``async with`` and its end."""

    def __init__(
        self,
        config: Config,
        *,
        registry: Registry | None = None,
        suppressions: SuppressionStore | None = None,
        clock: Clock | None = None,
        policy: SendPolicy | None = None,
        order: Order = api_first,
        work: bool | None = None,
    ) -> None:
        self._config = config
        self._work = config.engine.work if work is None else work
        self._durable: Durable | None = None
        self._known: tuple[ConnectionConfig, ...] = ()
        self._retired: list[Connection] = []
        self._own_suppressions = suppressions
        self._registry = registry
        self._clock = clock or SystemClock()
        self.observers = Observers()
        self.suppressions = SuppressionGate(suppressions or _store(config), clock=self._clock)
        self._dispatcher = Dispatcher(self.suppressions, self.observers, self._clock, policy or SendPolicy(), order)
        self.documents = Documents(clock=self._clock)
        events = MemoryEvents()
        self._intake = Intake(
            self._dispatcher.connections, events, self.suppressions, self.observers, self.documents, self._clock
        )
        events.look_again = self._intake.look_again_on_the_way
        if config.store is None:
            self._dispatcher.journal = events

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
    ) -> Host:
        """A host from a configuration file, or from the same as plain data; to be entered with ``async with``.

        With a ``[store]`` in the configuration, every send is written down, and durable sends and broadcasts are worked
        on while the host is open, unless ``work`` (or ``[engine] work``) is false.

        Without a ``registry`` the installed connectors are discovered. Raises ``ConfigurationError``, on entering too,
        where settings are wrong, or no connection can be used. A connection whose connector is missing or broken is
        passed over, and every plan says why, as long as there is another one.
        """
        if isinstance(config, str | os.PathLike):
            config = load_config(config)
        elif not isinstance(config, Config):
            config = make_config(config)
        return cls(
            config, registry=registry, suppressions=suppressions, clock=clock, policy=policy, order=order, work=work
        )

    async def __aenter__(self) -> Self:
        if self._registry is None:
            # Imports of packages we have never seen: off the loop, which they would otherwise hold up.
            self._registry = await asyncio.to_thread(
                Registry.discover, allow=self._config.allow, safe_mode=self._config.safe_mode
            )
        stored: tuple[ConnectionConfig, ...] = ()
        if self._config.store is not None:
            stored = await self._open_store(self._config.store)
        try:
            self._known = tuple(both(self._config.connections, stored))
            self._connecting(self._registry).make_all(self._known, self._dispatcher, self.observers)
            if self._durable is not None:
                await self._durable.begin()
        except BaseException:
            await self._close_store()
            raise
        return self

    async def _open_store(self, store: StoreSection) -> tuple[ConnectionConfig, ...]:
        """Open it; the connections that it holds."""
        # SQL is an extra: a host without a store never imports it.
        try:
            from genie_connect.durable.service import Durable
            from genie_connect.store.connections import load_connections
            from genie_connect.store.secrets import Keys
            from genie_connect.store.suppressions import SqlSuppressions
        except ImportError as error:
            raise ConfigurationError(
                f"the store needs a package that is not installed ({error.name})",
                hint="pip install 'genie-connect[store]'",
            ) from error
        engine = attrs.evolve(self._config.engine, work=self._work)  # type: ignore[misc]  # settings are attrs classes
        keys = None if store.key is None else Keys(store.key)
        durable = Durable(store, engine, self._dispatcher, self._clock, self._intake.look_again)
        self._durable = await durable.__aenter__()
        database = self._durable.ledger.database
        self._intake.keeper = self._durable.ledger.events
        try:
            if self._own_suppressions is None:
                in_store: SuppressionStore = AskedTogether(SqlSuppressions(database))
                file = self._config.suppressions_file
                # Whoever is in a file that was used before there was a store stays suppressed.
                joined = file is not None and file.exists()
                self.suppressions.ask(JoinedSuppressions(in_store, _store(self._config)) if joined else in_store)
            return await load_connections(database, keys)
        except BaseException:
            await self._close_store()
            raise

    async def _close_store(self) -> None:
        durable, self._durable = self._durable, None
        if durable is not None:
            await durable.__aexit__(None, None, None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._close_store()
        finally:
            await self._close_connections()

    async def _close_connections(self) -> None:
        closed = await asyncio.gather(
            *(connection.close() for connection in (*self._dispatcher.connections.values(), *self._retired)),
            return_exceptions=True,
        )
        for failure in closed:
            if isinstance(failure, BaseException):
                raise failure

    @property
    def registry(self) -> Registry:
        """The connectors this host can use."""
        if self._registry is None:
            raise GenieConnectError("the host is not open", hint="use it inside: async with Host.open(...) as host")
        return self._registry

    def connectors(self) -> tuple[ConnectorHandle, ...]:
        """Every usable connector: id, title, kind, distribution, version, quality, ``capabilities()``, ``schema()``."""
        return tuple(self.registry)

    async def refresh(self) -> Changes:
        """Take in which connector packages were installed or removed since; sends in progress go on undisturbed.

        A connection whose connector has come is used from now on, one whose connector is gone is planned with no more
        and closed with the host. A connector of which another version was installed stays what it is, until the
        process is started again.
        """
        changes = self.registry.renew(await asyncio.to_thread(self.registry.look_again))
        self._retired += self._connecting(self.registry).renew(
            self._known, changes.removed, self._dispatcher, self.observers
        )
        return changes

    def _connecting(self, registry: Registry) -> Connecting:
        return Connecting(registry=registry, clock=self._clock, limiter=self._shared_limiter)

    def failures(self) -> tuple[Failure, ...]:
        """Connectors that are installed and cannot be used, with the reasons."""
        return self.registry.failures

    def connections(self) -> tuple[Connection, ...]:
        """Every connection, in the order in which the planner would ask them."""
        return self._dispatcher.in_order()

    def connection(self, name: str) -> Connection:
        """A connection by name. Raises ``ConfigurationError`` where there is none."""
        return self._dispatcher.connection(name)

    def capabilities(self, name: str) -> CapabilityTable:
        """The table of a connection, effective once its server has been asked; or what a connector declares at most."""
        if name in self._dispatcher.connections:
            return self._dispatcher.connections[name].capabilities
        return self.registry[name].capabilities()

    def plan(
        self, message: Message, *, broadcast: bool = False, merge: bool = False, connection: str | None = None
    ) -> Plan:
        """How the message would be sent, and why not otherwise. Nothing is sent.

        A broadcast whose message has merge fields needs a connection that fills them in, whatever ``merge`` says.
        """
        merge = merge or (broadcast and template_of(message).active)
        return self._dispatcher.route(message, broadcast=broadcast, merge=merge, only=connection).plan

    async def send(
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
        """Send one message to all its recipients and say what is known of each.

        ``connection`` keeps to one connection. ``idempotency_key`` goes to providers that honour one; on a host with a
        store, the same key with the same content gives the first send's receipt for 24 hours.

        With ``durable`` (which needs a store) the call returns once the send is safe on disk, and the receipt is
        ``pending``: it is sent then, or from ``not_before`` on, the higher ``priority`` first, tried again for days
        until ``expires``, and outlives this process. Each of ``not_before``, ``expires`` and ``priority`` makes a send
        durable. See ``receipt`` and ``settled``.

        ``timeout_s`` is for all that is tried within the call, ``policy`` says how hard. Of a durable send only
        ``policy.at_least_once`` holds: whoever is in doubt after a crash or a lost answer is tried again later. To ask
        for something else of them is refused.

        Raises ``NoConnection`` where no connection could ever carry the message, ``IdempotencyConflict`` for a key that
        came with another content, ``ValidationError``; what a server said is an outcome.
        """
        checked_single(message)
        checked_key(idempotency_key)
        one = SingleSend(
            dispatcher=self._dispatcher,
            observers=self.observers,
            message=message,
            connection=connection,
            key=idempotency_key,
        )
        if durable or not_before is not None or expires is not None or priority:
            with_store = self._with_store("a durable send")
            return await one.accept(
                with_store,
                timeout_s=timeout_s,
                policy=policy,
                not_before=not_before,
                expires=expires,
                priority=priority,
            )
        return await one.wait(self._durable, timeout_s=timeout_s, policy=policy)

    def _with_store(self, what: str) -> Durable:
        if self._durable is None:
            hint = 'add [store] with url = "sqlite:///genie-connect.db" to the configuration'
            raise ConfigurationError(f"{what} needs a store, and this host has none", hint=hint)
        return self._durable

    async def receipt(self, id: int) -> Receipt | None:  # noqa: A002  # what a receipt calls it
        """What is known of a send now, by the receipt's ``id``; ``None`` where there is none. Needs a store."""
        return await self._with_store("reading a receipt").receipt(id)

    async def settled(self, id: int, *, timeout_s: float = SEND_TIMEOUT_S) -> Receipt:  # noqa: A002
        """The receipt of a send once nothing more is to come. Raises ``TimeoutError``. Needs a store."""
        return await self._with_store("waiting for a send").settled(id, timeout_s)

    async def broadcast(
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
    ) -> Broadcast:
        """Load a broadcast into the store, and start it: it survives this process, and is never sent twice.

        ``recipients`` are an iterable or async iterable of recipients, addresses or mappings, or the path of a CSV,
        JSON Lines or Parquet file of any size. All are read and checked, each mailbox once, before anybody is sent to.
        Broken rows go to ``rejects``, a new file (for a list in a file, one beside it), and the others are sent to;
        with ``strict``, or where there is no place for them, nothing is sent and ``ValidationError`` lists them. It is
        raised for a list with nobody in it, too.

        ``at_least_once`` (without it, as the host's policy says) tries those again later who are in doubt after a crash
        or a lost answer, and so sends to some of them twice.

        ``finish_by`` makes the ``forecast`` of the result say whether that can be. Without ``start`` it waits for
        ``Broadcast.start``. Raises ``NoConnection``, ``UnusableList``, ``ConfigurationError`` and ``StoreError``.
        """
        durable = self._with_store("a broadcast")
        from genie_connect.broadcast.launch import Launch  # brings SQL, which is an extra

        if message.recipients:
            raise ValidationError.single("to", "a broadcast is sent to its recipients list", "leave out to, cc and bcc")
        first, last = checked_window(not_before, expires)
        seconds("finish_by", finish_by)
        checked_priority(priority)
        route = self._dispatcher.route(message, broadcast=True, merge=template_of(message).active, only=connection)
        launch = Launch(
            name=name or message.subject or "",
            connection=connection,
            strict=strict,
            rejects=None if rejects is None else Path(rejects),
            not_before=first,
            expires=last,
            finish_by=finish_by,
            priority=priority,
            at_least_once=self._dispatcher.policy.at_least_once if at_least_once is None else at_least_once,
        )
        sender = self._dispatcher.sender(message, route)
        made = await launch.load(durable, message, recipients, sender.domain, route.connections)
        if start:
            await made.start()
        return made

    async def broadcasts(self, *, limit: int = 100) -> tuple[Broadcast, ...]:
        """The broadcasts in the store, latest first. Needs a store."""
        durable = self._with_store("listing broadcasts")
        from genie_connect.broadcast.launch import handle

        return tuple([handle(durable, record) for record in await durable.ledger.broadcasts.listed(limit=limit)])

    async def find_broadcast(self, id: int) -> Broadcast:  # noqa: A002
        """A broadcast by its number. Raises ``NoSuchBroadcast``. Needs a store."""
        durable = self._with_store("finding a broadcast")
        from genie_connect.broadcast.launch import handle

        return handle(durable, await durable.ledger.broadcasts.get(id))

    async def unknown(
        self, *, broadcast: int | None = None, after: tuple[int, int] = (0, -1), limit: int = 100
    ) -> tuple[UnknownCopy, ...]:
        """Copies of which nobody knows whether they arrived, of all or of one broadcast. Needs a store."""
        ledger = self._with_store("listing what is unknown").ledger
        return tuple(await ledger.unknown.listed(broadcast=broadcast, after=after, limit=limit))

    async def resolve(self, unit: int, position: int, resolution: str, *, note: str | None = None) -> None:
        """Say what became of an unknown copy: ``accepted``, ``rejected``, or ``resend``. Needs a store.

        Raises ``NothingUnknown`` where it is not unknown.
        """
        durable = self._with_store("resolving what is unknown")
        from genie_connect.store.unknown import Resolution, ResolvedBy

        try:
            chosen = Resolution(resolution)
        except ValueError:
            choices = ", ".join(Resolution)
            raise ValidationError.single("resolution", f"{resolution!r} is none", f"use {choices}") from None
        await durable.ledger.unknown.resolve(unit, position, chosen, ResolvedBy.PERSON, note=note)
        point("resolve.after")
        if durable.worker is not None:
            durable.worker.nudge()

    async def reconcile(self) -> int:
        """Ask providers that have a look-up what became of unknown copies; how many it resolved. Needs a store."""
        durable = self._with_store("reconciling")
        from genie_connect.durable.reconcile import reconcile

        # What has been reported already nobody needs to be asked for.
        resolved = await durable.early_events.look()
        return resolved + await reconcile(durable.ledger, self)

    @property
    def health(self) -> WorkerHealth | None:
        """How the worker of this host is: the one that works by itself, or that ``worker`` made; ``None`` for none."""
        worker = None if self._durable is None else self._durable.worker
        return None if worker is None else worker.health

    def worker(self) -> Worker:
        """A worker for this host's store, to be run with ``async with worker.working()``. Needs a store.

        For a host that was opened with ``work=False``: others work by themselves.
        """
        return self._with_store("a worker").make_worker()

    async def send_each(
        self,
        message: Message,
        recipients: Iterable[Recipient | AddressLike] | AsyncIterable[Recipient | AddressLike],
        *,
        connection: str | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
        policy: SendPolicy | None = None,
        chunk: int = CHUNK,
    ) -> AsyncIterator[Outcome]:
        """Send each recipient a copy of their own, and yield the outcomes as they become known.

        All in memory: what the process had not sent when it ended is not sent. ``broadcast`` survives that.

        The message itself has no recipients. Recipients are read in chunks; a mailbox that comes twice gets one copy,
        for which a few bytes of each are kept (``Seen``). Each chunk is planned anew, and has ``timeout_s`` seconds.
        Merge fields are filled in; a recipient without the data that they need is ``rejected`` (``merge_data``) before
        anything is handed over. Raises ``NoConnection`` where no connection could ever carry the message, and
        ``ValidationError`` for braces in it that are no field.
        """
        if message.recipients:
            raise ValidationError.single("to", "a broadcast is sent to its recipients list", "leave out to, cc and bcc")
        way = Way(timeout_s=timeout_s, policy=policy)
        sending = InMemory(dispatcher=self._dispatcher, message=message, connection=connection, way=way, chunk=chunk)
        async with aclosing(sending.send(recipients)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def webhook(self, connection: str, request: WebhookRequest) -> WebhookResult:
        """Take in a webhook that a provider posted for a connection: verify it, keep its events once, act on them.

        Hard bounces of an address and complaints suppress it, unsubscribes suppress marketing, and what proves that a
        copy in doubt was taken settles it. An event about nothing that we sent is kept and suppresses nobody. Answer
        with the result's ``status``; nothing is raised for what stands in the request.
        """
        return await self._intake.webhook(connection, request)

    async def take_events(self, connection: str, events: Sequence[Event]) -> WebhookResult:
        """Take in events that came by another way than a webhook, such as a bounce mailbox. As ``webhook`` goes on.

        Raises ``StoreUnavailable``, and ``OSError`` where the suppressions cannot be written: then give them again.
        """
        return await self._intake.take(connection, events)

    async def take_mail(self, connection: str, raw: bytes, *, envelope_to: str | None = None) -> WebhookResult:
        """Take in a message of a connection's bounce mailbox, as it came over the wire.

        Delivery reports, complaints, automatic answers and bounces in other forms become events; anything else is an
        inbound message. ``envelope_to`` is the address that it was delivered to. Raises as ``take_events`` does.
        """
        return await self._intake.take_mail(connection, raw, envelope_to)

    async def fate(self, message_id: str, recipient: str | None = None) -> Fate:
        """What the events tell of a copy: of a message to several, of the one to ``recipient``.

        Without a store, only of what this process sent lately.
        """
        return await self._intake.fate(message_id, recipient)

    async def lookup(self, attempt: Attempt) -> tuple[Outcome, ...]:
        """Ask the provider what became of an attempt whose outcome is ``unknown``.

        Gives the outcomes of the recipients it knows of, and nothing where the connector has no look-up (capability
        ``lookup``) or the provider knows nothing, which proves nothing. Raises ``ConfigurationError`` where the
        attempt's connection is gone, and what the connector raises when it cannot be opened.
        """
        connection = self.connection(attempt.connection)
        state = await connection.state(TEST_TIMEOUT_S)
        found = await connection.handle.lookup(state, attempt)
        return tuple(attrs.evolve(outcome, connection=connection.name) for outcome in found)

    async def test(
        self, name: str, *, send_to: AddressLike | None = None, timeout_s: float = TEST_TIMEOUT_S
    ) -> AsyncIterator[Step]:
        """Test a connection step by step. With ``send_to`` one real message goes there; else nothing is delivered.

        Nothing goes to a suppressed address either: the step says so. What the test learns of the server, such as its
        size limit, counts for planning from then on.
        """
        recipient = None if send_to is None else Address.parse(send_to)
        steps = trial(self.connection(name), self.suppressions, self._clock, send_to=recipient, timeout_s=timeout_s)
        async with aclosing(steps) as known:
            async for step in known:
                yield step

    def _shared_limiter(self, config: ConnectionConfig) -> Rooms | None:
        if self._durable is None or config.rate_per_s is None:
            return None
        from genie_connect.store.tokens import SharedLimiter  # brings SQL, which is an extra

        return SharedLimiter(
            self._durable.ledger.database,
            config.name,
            self._clock,
            rate_per_s=config.rate_per_s,
            concurrency=config.max_concurrent,
        )


def _store(config: Config) -> SuppressionStore:
    return FileSuppressions(config.suppressions_file) if config.suppressions_file else MemorySuppressions()
