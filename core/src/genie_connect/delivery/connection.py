"""One configured instance of a connector, with its breaker and limiter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import attrs

from genie_connect.clock import Clock
from genie_connect.contract import Kind, Runtime, WebhookRequest
from genie_connect.delivery.breaker import Breaker
from genie_connect.delivery.limiter import Limiter, Rooms
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.event import Event
from genie_connect.model.message import Message, Purpose
from genie_connect.registry import ConnectorHandle
from genie_connect.registry.behind import Reader

LONGEST_PROOF_S = 10.0
"""How long others wait for the first attempt on a new connection."""


@attrs.frozen(kw_only=True)
class ConnectionConfig:
    """What the host's owner decided about a connection.

    Lower ``priority`` goes first among connectors of one kind. No ``purposes`` means all. ``allowed_from`` holds the
    addresses (``shop@example.com``) and domains (``example.com``) this connection may send from; empty means any.
    ``rate_per_s`` counts recipients a second, ``max_concurrent`` attempts at a time.
    """

    name: str
    connector: str
    settings: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    priority: int = 10
    active: bool = True
    default_from: Address | None = None
    purposes: frozenset[Purpose] = frozenset()
    allowed_from: tuple[str, ...] = ()
    rate_per_s: float | None = None
    max_concurrent: int | None = None


class Connection:
    """A connection that can be planned with and sent through. Its connector opens at the first attempt."""

    def __init__(
        self,
        config: ConnectionConfig,
        handle: ConnectorHandle,
        settings: Any,
        clock: Clock,
        *,
        limiter: Rooms | None = None,
        reader: Reader | None = None,
    ) -> None:
        """``limiter`` is one that other processes share; without it the limits are this process's own.

        ``reader`` reads the webhooks where the connector itself does not.
        """
        self.config = config
        self.handle = handle
        self.settings = settings
        self.breaker = Breaker(clock)
        self.limiter: Rooms = limiter or Limiter(clock, rate_per_s=config.rate_per_s, concurrency=config.max_concurrent)
        self.reader = reader
        self._shown: tuple[CapabilityTable, CapabilityTable] | None = None
        self._clock = clock
        self._declared = handle.capabilities(settings)
        self._allowed_from = frozenset(sender_rule(entry) for entry in config.allowed_from)
        self._proven = False
        self._proving = asyncio.Lock()
        self._announced: CapabilityTable | None = None
        self._state: Any = None
        self._opened = False
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """The connection's name in the configuration."""
        return self.config.name

    @property
    def kind(self) -> Kind:
        """How its connector reaches the provider."""
        return self.handle.info.kind

    @property
    def capabilities(self) -> CapabilityTable:
        """What it supports: effective once its server has been asked, by a send or a test; declared until then."""
        current = self.handle.effective(self._state) if self._opened else None
        if current is None or not current.effective:
            current = self._announced or current or self._declared
        if self.reader is None:
            return current
        # Asked for with every batch; the tables behind it seldom change.
        if self._shown is None or self._shown[0] is not current:
            self._shown = (current, self.reader.shown(current))
        return self._shown[1]

    def read_webhook(self, request: WebhookRequest) -> tuple[Event, ...]:
        """The events of a webhook. Raises ``WebhookRejected``."""
        if self.reader is not None:
            return self.reader.read(request)
        return self.handle.parse_webhook(self.settings, request)

    @property
    def asks_permission(self) -> bool:
        """Whether the provider of its webhooks asks by OPTIONS before it posts any."""
        return (self.handle if self.reader is None else self.reader.handle).info.asks_permission

    def now(self) -> datetime:
        """The time, by the clock of the host."""
        return self._clock.now()

    def learn(self, table: CapabilityTable) -> None:
        """Keep what a connector test found out, until a send has asked the server again."""
        if table.connector == self.handle.id:
            self._announced = table

    def sender(self, message: Message) -> Address | None:
        """The From this connection would give the message; never another one than the message names."""
        return message.from_ or self.config.default_from

    def may_send_from(self, sender: Address) -> bool:
        """Whether this connection may use that From."""
        return not self._allowed_from or sender.key in self._allowed_from or sender.domain in self._allowed_from

    @asynccontextmanager
    async def first_of_all(self) -> AsyncIterator[None]:
        """One attempt at a time until the other side has answered one.

        Otherwise a hundred messages that wait for a connection with a wrong password sign in a hundred times, before
        the breaker can know. Nobody waits for long: a first attempt that is slow is no reason to hold up the others.
        """
        if self._proven:
            yield
            return
        alone = False
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_PROOF_S):
                alone = await self._proving.acquire()
        try:
            yield
        finally:
            if alone:
                self._proving.release()

    def proven(self) -> None:
        """An attempt was answered, so the way to the other side works."""
        self._proven = True

    async def state(self, timeout_s: float) -> Any:
        """The connector's state, opened if it is not yet. Raises ``TimeoutError``, or what the connector raises."""
        if not self._opened:
            async with asyncio.timeout(timeout_s), self._opening:
                if not self._opened:
                    runtime = Runtime(connection=self.name, default_from=self.config.default_from, clock=self._clock)
                    self._state = await self.handle.open(self.settings, runtime)
                    self._opened = True
        return self._state

    async def close(self) -> None:
        """Release the connector's state. A later attempt opens it again."""
        async with self._opening:
            if self._opened:
                self._opened = False
                state, self._state = self._state, None
                await self.handle.close(state)


def sender_rule(entry: str) -> str:
    """An address or a domain in the spelling that senders are compared in. Raises ``ValidationError``."""
    if "@" in entry:
        return Address.parse(entry).key
    return Address(local="any", domain=entry).domain
