"""A connector that answers as a test has written, and remembers what it was given.

::

    smtp = ScriptedConnector("smtp", kind="smtp")
    smtp.script("ada@example.com", deferred(reason="greylisted", retry=Retry.SAME), accepted())
    async with scripted_host(smtp, clock=FakeClock()) as host:
        receipt = await host.send(message)
    assert smtp.handed_over == {"ada@example.com": 2}
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from genie_connect import (
    Batch,
    Capability,
    CapabilityTable,
    ConnectorInfo,
    Host,
    Kind,
    Message,
    Outcome,
    Registry,
    Retry,
    Runtime,
    Scope,
    Secret,
    SendContext,
    SendPolicy,
    State,
    Status,
    Step,
    TestContext,
    hookimpl,
    setting,
    settings,
)
from genie_connect.clock import Clock
from genie_connect.delivery.suppression import SuppressionGate, SuppressionStore
from genie_connect.model.batch import Delivery, new_message_id
from genie_connect.model.capability import TITLES, yes

EVERYTHING = tuple(yes(name) for name in TITLES if name not in ("send.idempotency", "send.schedule", "send.templates"))
"""All that a message can ask for. No idempotency key, which changes what may be repeated."""

Sender = Callable[[Batch, SendContext], Awaitable[Any]]


@settings
class ScriptedSettings:
    """Settings of the scripted connector, one of each type."""

    token: Secret | None = setting(title="Token", default=None, secret=True)
    region: str = setting(title="Region", default="eu")
    limit: int = setting(title="Limit", default=10, minimum=1)
    quick: bool = setting(title="Quick", default=False)
    names: tuple[str, ...] = setting(title="Names", default=())


@attrs.frozen(kw_only=True)
class HandOver:
    """One call of ``connector_send``."""

    batch: Batch
    context: SendContext

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses it was for."""
        return tuple(address.email for address in self.batch.recipients)


class _State:
    """What ``connector_open`` gives; ``capabilities`` is set once a test says that the server has been asked."""

    capabilities: CapabilityTable | None = None


class ScriptedConnector:
    """A connector that follows a script.

    ``calls`` holds every hand-over in order. A recipient without a script is accepted.
    """

    def __init__(
        self,
        connector: str = "scripted",
        *,
        kind: Kind | str = Kind.API,
        capabilities: Iterable[Capability] = EVERYTHING,
        idempotent: bool = False,
    ) -> None:
        entries = [*capabilities, *([yes("send.idempotency")] if idempotent else [])]
        self.id = connector
        self.info = ConnectorInfo(
            id=connector, title=connector.title(), kind=Kind(kind), settings_class=ScriptedSettings
        )
        self.table = CapabilityTable(connector=connector, entries=tuple(entries))
        self.effective: CapabilityTable | None = None
        self.calls: list[HandOver] = []
        self.opened: list[Runtime] = []
        self.closed = 0
        self._scripts: dict[str, deque[Outcome]] = {}
        self._otherwise = accepted()
        self._sender: Sender | None = None

    def script(self, recipient: str, *outcomes: Outcome) -> None:
        """What is answered for this recipient, one outcome for each attempt; afterwards as ``otherwise`` says."""
        self._scripts.setdefault(recipient, deque()).extend(outcomes)

    def otherwise(self, outcome: Outcome) -> None:
        """What is answered for recipients whose script has ended."""
        self._otherwise = outcome

    def sends_with(self, sender: Sender) -> None:
        """Run this coroutine function in place of the script."""
        self._sender = sender

    @property
    def handed_over(self) -> Mapping[str, int]:
        """How often each recipient was handed over."""
        return Counter(recipient for call in self.calls for recipient in call.recipients)

    def answers(self, batch: Batch) -> list[Outcome]:
        """The next outcomes of the script for the recipients of a batch."""
        return [self._next(address.email) for address in batch.recipients]

    def _next(self, recipient: str) -> Outcome:
        script = self._scripts.get(recipient)
        return attrs.evolve(script.popleft() if script else self._otherwise, recipient=recipient)

    @hookimpl
    def connector_info(self) -> ConnectorInfo:
        """What it is."""
        return self.info

    @hookimpl
    def connector_capabilities(self) -> CapabilityTable:
        """What the test said that it supports."""
        return self.table

    @hookimpl
    async def connector_open(self, runtime: Runtime) -> _State:
        """A state without anything in it."""
        self.opened.append(runtime)
        state = _State()
        state.capabilities = self.effective
        return state

    @hookimpl
    async def connector_send(self, state: _State, batch: Batch, context: SendContext) -> Sequence[Outcome]:
        """Note the call and answer by the script."""
        self.calls.append(HandOver(batch=batch, context=context))
        state.capabilities = self.effective
        return await self._sender(batch, context) if self._sender else self.answers(batch)

    @hookimpl
    async def connector_test(self, context: TestContext) -> Any:
        """Two steps that work."""
        yield Step(id="connect", title="Connect", status=Status.OK)
        yield Step(id="sender", title="Sender", status=Status.OK, summary=context.connection)

    @hookimpl
    async def connector_close(self) -> None:
        """Count."""
        self.closed += 1


def accepted(**facts: Any) -> Outcome:
    """The other side said yes."""
    return _outcome(state=State.ACCEPTED, stage="final", code=250, **facts)


def deferred(**facts: Any) -> Outcome:
    """The other side said not now; by default anybody may try again."""
    return _outcome(state=State.DEFERRED, **{"stage": "rcpt", "reason": "temporary", "retry": Retry.ANY} | facts)


def rejected(**facts: Any) -> Outcome:
    """The other side said no, for good unless ``retry`` says otherwise."""
    return _outcome(state=State.REJECTED, **{"stage": "rcpt", "reason": "recipient_rejected"} | facts)


def unknown(**facts: Any) -> Outcome:
    """No answer came after the last byte."""
    return _outcome(state=State.UNKNOWN, **{"stage": "final", "reason": "no_answer", "scope": Scope.MESSAGE} | facts)


def unreachable(**facts: Any) -> Outcome:
    """Nobody was reached: DNS, TCP, greeting or EHLO failed, and nothing was handed over."""
    usual = {"stage": "connect", "reason": "connect", "retry": Retry.ANY, "scope": Scope.CONNECTION}
    return _outcome(state=State.DEFERRED, **usual | facts)


def sign_in_refused(**facts: Any) -> Outcome:
    """AUTH was refused, and nothing was handed over."""
    usual = {"stage": "auth", "reason": "auth", "text": "535 5.7.8 refused", "hint": "Check the password."}
    return _outcome(state=State.DEFERRED, retry=Retry.OTHER, scope=Scope.CONNECTION, **usual | facts)


def _outcome(**facts: Any) -> Outcome:
    return Outcome(**{"recipient": ""} | facts)


def scripted_host(
    *connectors: ScriptedConnector,
    clock: Clock | None = None,
    suppressions: SuppressionStore | None = None,
    policy: SendPolicy | None = None,
    connections: Mapping[str, Mapping[str, Any]] | None = None,
    strict: bool = False,
) -> Host:
    """A host with one connection for each connector, of its name, preferred in the order given.

    ``connections`` adds to, or replaces, what the configuration says of a connection.
    """
    registry = Registry(strict=strict)
    sections: dict[str, dict[str, Any]] = {}
    for priority, connector in enumerate(connectors, 1):
        registry.register(connector.id, connector)
        sections[connector.id] = {"connector": connector.id, "priority": priority}
    for name, more in (connections or {}).items():
        sections.setdefault(name, {}).update(more)
    return Host.open(
        {"connections": sections}, registry=registry, clock=clock, suppressions=suppressions, policy=policy
    )


async def batch_of(message: Message) -> Batch:
    """A batch with one copy for all recipients, as the attempt loop would hand it over."""
    assert message.from_ is not None
    clearance = await SuppressionGate().clear(message.recipients, message.purpose)
    delivery = Delivery(
        message_id=new_message_id(message.from_), recipients=clearance.cleared, to=message.to, cc=message.cc
    )
    return Batch(message=message, sender=message.from_, deliveries=(delivery,))


def letter(*to: str, **fields: Any) -> Message:
    """A small message."""
    usual = {"from_": "Shop <shop@example.com>", "subject": "Your order", "text": "It is on its way."}
    return Message(to=to or ("ada@example.com",), **usual | fields)
