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
from types import TracebackType
from typing import Any, Self

import attrs

from genie_connect.clock import Clock, SystemClock
from genie_connect.config import Config, load_config, make_config, typed
from genie_connect.contract import TestContext
from genie_connect.delivery.attempts import SendPolicy
from genie_connect.delivery.connection import Connection, ConnectionConfig
from genie_connect.delivery.dispatch import SEND_TIMEOUT_S, Dispatcher, Way, checked_single, single_delivery
from genie_connect.delivery.merging import MergeCheck
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.planner import Order, api_first
from genie_connect.delivery.seen import Seen
from genie_connect.delivery.suppression import FileSuppressions, MemorySuppressions, SuppressionGate, SuppressionStore
from genie_connect.errors import (
    ConfigurationError,
    ConnectorUnavailable,
    ContractViolation,
    GenieConnectError,
    Problem,
    SettingsError,
    ValidationError,
)
from genie_connect.model.address import Address, AddressLike
from genie_connect.model.batch import Recipient, new_message_id
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Outcomes
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Attempt, Receipt
from genie_connect.registry import ConnectorHandle, Failure, Registry

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
    ) -> None:
        self._config = config
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
    ) -> Host:
        """A host from a configuration file, or from the same as plain data; to be entered with ``async with``.

        Without a ``registry`` the installed connectors are discovered. Raises ``ConfigurationError``, on entering too,
        where settings are wrong, or no connection can be used. A connection whose connector is missing or broken is
        passed over, and every plan says why, as long as there is another one.
        """
        if isinstance(config, str | os.PathLike):
            config = load_config(config)
        elif not isinstance(config, Config):
            config = make_config(config)
        return cls(config, registry=registry, suppressions=suppressions, clock=clock, policy=policy, order=order)

    async def __aenter__(self) -> Self:
        if self._registry is None:
            # Imports of packages we have never seen: off the loop, which they would otherwise hold up.
            self._registry = await asyncio.to_thread(
                Registry.discover, allow=self._config.allow, safe_mode=self._config.safe_mode
            )
        connections, unavailable = self._dispatcher.connections, self._dispatcher.unavailable
        problems: list[Problem] = []
        for config in self._config.connections:
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
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
    ) -> Receipt:
        """Send one message to all its recipients and say what is known of each.

        ``connection`` keeps to one connection. ``idempotency_key`` goes to providers that honour one.
        Raises ``NoConnection`` where no connection could ever carry the message; what a server said is an outcome.
        """
        checked_single(message)
        route = self._dispatcher.route(message, only=connection)
        message_id = new_message_id(self._dispatcher.sender(message, route))
        clearance = await self._dispatcher.clear(message.recipients, message.purpose)
        delivery = single_delivery(message, message_id, clearance.cleared)
        way = Way(timeout_s=timeout_s, policy=policy)
        outcomes, attempts = await self._dispatcher.deliver(
            message, [delivery], route, way, key=idempotency_key or message_id, broadcast=False
        )
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
        )
        self.observers.notify("send_finished", receipt=receipt)
        return receipt

    async def broadcast(
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
                work = self._broadcast_chunk(message, check, group, connection, timeout_s, policy)
                async with aclosing(work) as known:
                    async for outcomes in known:
                        for outcome in outcomes:
                            yield outcome

    async def _broadcast_chunk(
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
        return Connection(config, handle, settings, self._clock)


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
