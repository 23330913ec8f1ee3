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
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from genie_connect.clock import Clock, SystemClock
from genie_connect.config import Config, StoreSection, load_config, make_config, typed
from genie_connect.contract import TestContext
from genie_connect.delivery.attempts import SendPolicy
from genie_connect.delivery.connection import Connection, ConnectionConfig
from genie_connect.delivery.dispatch import SEND_TIMEOUT_S, Dispatcher, Way, checked_single, single_delivery
from genie_connect.delivery.journal import StepBack
from genie_connect.delivery.limiter import Rooms
from genie_connect.delivery.merging import MergeCheck
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.planner import Order, api_first
from genie_connect.delivery.seen import Seen
from genie_connect.delivery.suppression import (
    FileSuppressions,
    JoinedSuppressions,
    MemorySuppressions,
    SuppressionGate,
    SuppressionStore,
)
from genie_connect.errors import (
    ConfigurationError,
    ConnectorUnavailable,
    ContractViolation,
    GenieConnectError,
    IdempotencyConflict,
    Problem,
    SettingsError,
    StoreError,
    ValidationError,
)
from genie_connect.failpoints import point
from genie_connect.model.address import Address, AddressLike
from genie_connect.model.asked import checked_key, checked_priority, checked_window, seconds
from genie_connect.model.batch import Recipient, new_message_id
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Outcomes
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Attempt, Receipt
from genie_connect.registry import ConnectorHandle, Failure, Registry
from genie_connect.registry.isolation import log_failure

if TYPE_CHECKING:
    from genie_connect.broadcast.handle import Broadcast
    from genie_connect.broadcast.recipients import Source
    from genie_connect.durable.plain import PlainJournal
    from genie_connect.durable.service import Durable
    from genie_connect.durable.worker import Worker
    from genie_connect.store.unknown import UnknownCopy

logger = logging.getLogger("genie_connect.host")
TEST_TIMEOUT_S = 60.0
CHUNK = 500


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
        self._own_suppressions = suppressions
        self._registry = registry
        self._clock = clock or SystemClock()
        self.observers = Observers()
        self.suppressions = SuppressionGate(suppressions or _store(config), clock=self._clock)
        self._dispatcher = Dispatcher(self.suppressions, self.observers, self._clock, policy or SendPolicy(), order)

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
            self._make_connections([*self._config.connections, *self._not_in_file(stored)])
            if self._durable is not None:
                await self._durable.begin()
        except BaseException:
            await self._close_store()
            raise
        return self

    def _not_in_file(self, stored: Iterable[ConnectionConfig]) -> Iterable[ConnectionConfig]:
        named = {config.name for config in self._config.connections}
        for config in stored:
            if config.name in named:
                logger.warning("the connection %s is in the store too; that of the file is used", config.name)
            else:
                yield config

    def _make_connections(self, configs: Iterable[ConnectionConfig]) -> None:
        connections, unavailable = self._dispatcher.connections, self._dispatcher.unavailable
        problems: list[Problem] = []
        for config in configs:
            try:
                connections[config.name] = self._connection(config)
            except SettingsError as error:
                problems.extend(error.under(f"connections.{config.name}.settings"))
            except (ConnectorUnavailable, ContractViolation) as error:
                unavailable[config.name] = error
        if problems or not connections:
            problems += [
                Problem(f"connections.{name}.connector", fault.message, fault.hint)
                for name, fault in unavailable.items()
            ]
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise ConfigurationError(f"{len(problems)} problem(s) in the connections:\n{listed}", problems=problems)
        for name, fault in unavailable.items():
            # The others still work. Every plan says why this one does not.
            logger.error("the connection %s cannot be used: %s", name, fault.message)
            self.observers.notify("connection_degraded", connection=name, reason=fault.message, hint=fault.hint)

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
        self._durable = await Durable(store, engine, self._dispatcher, self._clock).__aenter__()
        database = self._durable.ledger.database
        try:
            if self._own_suppressions is None:
                in_store: SuppressionStore = SqlSuppressions(database)
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
            *(connection.close() for connection in self._dispatcher.connections.values()), return_exceptions=True
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
        """Every usable connector: id, title, kind, distribution, version, ``capabilities()``, ``schema()``."""
        return tuple(self.registry)

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
        until ``expires``, and outlives this process. See ``receipt`` and ``settled``.

        Raises ``NoConnection`` where no connection could ever carry the message, ``IdempotencyConflict`` for a key that
        came with another content; what a server said is an outcome.
        """
        checked_single(message)
        checked_key(idempotency_key)
        if durable or not_before is not None or expires is not None or priority:
            return await self._accept(message, connection, idempotency_key, policy, not_before, expires, priority)
        if self._durable is not None and idempotency_key is not None:
            earlier = await self._durable.repeated(message, idempotency_key)
            if earlier is not None:
                return earlier
        route = self._dispatcher.route(message, only=connection)
        message_id = new_message_id(self._dispatcher.sender(message, route))
        clearance = await self._dispatcher.clear(message.recipients, message.purpose)
        delivery = single_delivery(message, message_id, clearance.cleared)
        journal = self._plain_journal(message, message_id, route.plan, connection, idempotency_key)
        way = Way(timeout_s=timeout_s, policy=policy, journal=journal)
        try:
            outcomes, attempts = await self._dispatcher.deliver(
                message, [delivery], route, way, key=idempotency_key or message_id, broadcast=False
            )
        except BaseException as error:
            if journal is not None:
                await journal.abandon()
                if isinstance(error, StepBack) and journal.key_taken:
                    return await self._first_of(message, idempotency_key or "")
            raise
        if journal is not None:
            await self._write_end(journal, outcomes)
        suppressed = {outcome.recipient: outcome for outcome in clearance.suppressed}
        in_order = {
            address.email: suppressed.get(address.email) or outcomes[address.key] for address in message.recipients
        }
        receipt = Receipt(
            message_id=message_id,
            outcomes=Outcomes(in_order),
            attempts=tuple(attempts),
            plan=route.plan,
            tags=message.tags,
            metadata=message.metadata,
            id=None if journal is None else journal.unit,
        )
        self.observers.notify("send_finished", receipt=receipt)
        return receipt

    async def _first_of(self, message: Message, key: str) -> Receipt:
        """The receipt of the send that was quicker with the same key."""
        earlier = await self._with_store("an idempotency key").repeated(message, key)
        if earlier is None:
            raise IdempotencyConflict(key)
        return earlier

    async def _write_end(self, journal: PlainJournal, outcomes: Mapping[str, Outcome]) -> None:
        try:
            await journal.end(outcomes)
        except StoreError as error:
            # The message has left, or not: its caller must hear of that, whatever the store does.
            log_failure(logger, error, "the end of a send could not be written down; the ledger will call it unknown")

    def _plain_journal(
        self, message: Message, message_id: str, plan: Plan, connection: str | None, key: str | None
    ) -> PlainJournal | None:
        if self._durable is None:
            return None
        from genie_connect.durable.service import SendOptions  # imported by _open_store already

        options = SendOptions(connection=connection, key=key)
        return self._durable.plain(message, message_id, plan, options, message.recipients)

    async def _accept(
        self,
        message: Message,
        connection: str | None,
        key: str | None,
        policy: SendPolicy | None,
        not_before: datetime | None,
        expires: datetime | None,
        priority: int,
    ) -> Receipt:
        durable = self._with_store("a durable send")
        from genie_connect.durable.service import SendOptions  # imported by _open_store already

        first, last = checked_window(not_before, expires)
        checked_priority(priority)
        route = self._dispatcher.route(message, only=connection)
        options = SendOptions(
            connection=connection,
            key=key,
            not_before=first,
            expires=last,
            priority=priority,
            at_least_once=policy is not None and policy.at_least_once,
        )
        message_id = new_message_id(self._dispatcher.sender(message, route))
        return await durable.accept(message, message_id, route.plan, options)

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
        at_least_once: bool = False,
        start: bool = True,
    ) -> Broadcast:
        """Load a broadcast into the store, and start it: it survives this process, and is never sent twice.

        ``recipients`` are an iterable or async iterable of recipients, addresses or mappings, or the path of a CSV,
        JSON Lines or Parquet file of any size. All are read and checked, each mailbox once, before anybody is sent to.
        Broken rows go to ``rejects``, a new file (for a list in a file, one beside it), and the others are sent to;
        with ``strict``, or where there is no place for them, nothing is sent and ``ValidationError`` lists them. It is
        raised for a list with nobody in it, too.

        ``finish_by`` makes the ``forecast`` of the result say whether that can be. Without ``start`` it waits for
        ``Broadcast.start``. Raises ``NoConnection``, ``ConfigurationError`` and ``StoreError``.
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
            at_least_once=at_least_once,
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

        return await reconcile(durable.ledger, self)

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
        check = MergeCheck(template_of(message))
        async with aclosing(_chunks(recipients, chunk)) as groups:
            async for group in groups:
                # Closed here, not when it is collected: whoever stops listening must find nothing still running.
                work = self._send_chunk(message, check, group, connection, timeout_s, policy)
                async with aclosing(work) as known:
                    async for outcomes in known:
                        for outcome in outcomes:
                            yield outcome

    async def _send_chunk(
        self,
        message: Message,
        check: MergeCheck,
        group: list[Recipient],
        connection: str | None,
        timeout_s: float,
        policy: SendPolicy | None,
    ) -> AsyncGenerator[Sequence[Outcome]]:
        dispatcher = self._dispatcher
        route = dispatcher.route(message, broadcast=True, merge=check.template.active, only=connection)
        sender = dispatcher.sender(message, route)
        clearance = await dispatcher.clear([each.address for each in group], message.purpose)
        yield clearance.suppressed
        recipients = {recipient.address.key: (recipient, new_message_id(sender)) for recipient in group}
        deliveries, refused = dispatcher.copies(check, clearance.cleared, recipients)
        yield refused
        if not deliveries:
            return
        way = Way(timeout_s=timeout_s, policy=policy)
        outcomes, _ = await dispatcher.deliver(
            message, deliveries, route, way, key=deliveries[0].message_id, broadcast=True
        )
        yield tuple(outcomes.values())

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
        connection = self.connection(name)
        recipient = None if send_to is None else Address.parse(send_to)
        stopped = None if recipient is None else await self.suppressions.check(recipient)
        context = TestContext(
            connection=name,
            deadline=self._clock.monotonic() + timeout_s,
            default_from=connection.config.default_from,
            send_to=None if stopped else recipient,
            clock=self._clock,
        )
        failed = False
        async with aclosing(connection.handle.test(connection.settings, context)) as steps:
            async for step in steps:
                failed = failed or step.status is Status.FAIL
                if step.capabilities is not None:
                    connection.learn(step.capabilities)
                yield step
        if stopped is not None and not failed:
            summary = f"not sent: {stopped.address.email} is suppressed ({stopped.reason.value})"
            yield Step(id="message", title="Test message", status=Status.SKIP, summary=summary)

    def _connection(self, config: ConnectionConfig) -> Connection:
        handle = self.registry[config.connector]
        settings = handle.settings(typed(handle.info.settings_class, config.settings))
        return Connection(config, handle, settings, self._clock, limiter=self._shared_limiter(config))

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


async def _chunks(
    recipients: Iterable[Recipient | AddressLike] | AsyncIterable[Recipient | AddressLike], size: int
) -> AsyncGenerator[list[Recipient]]:
    chunks = _Chunks(size)
    if isinstance(recipients, AsyncIterable):
        async for given in recipients:
            if chunks.add(given):
                yield chunks.take()
    else:
        for given in recipients:
            if chunks.add(given):
                yield chunks.take()
    if rest := chunks.take():
        yield rest


class _Chunks:
    """Collects recipients, each mailbox once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._group: list[Recipient] = []
        self._seen = Seen()

    def add(self, given: Recipient | AddressLike) -> bool:
        """One more recipient; whether the chunk is full."""
        recipient = given if isinstance(given, Recipient) else Recipient(address=given)
        if self._seen.add(recipient.address.key):
            self._group.append(recipient)
        return len(self._group) == self._size

    def take(self) -> list[Recipient]:
        """What has been collected since the last time."""
        group, self._group = self._group, []
        return group


def _store(config: Config) -> SuppressionStore:
    return FileSuppressions(config.suppressions_file) if config.suppressions_file else MemorySuppressions()
