"""From a message and its recipients to outcomes: plan, gate, copies, attempts. What sends and chunks have in common."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from genie_connect.clock import Clock
from genie_connect.delivery.attempts import AttemptLoop
from genie_connect.delivery.connection import Connection
from genie_connect.delivery.journal import Journal
from genie_connect.delivery.merging import MergeCheck
from genie_connect.delivery.never_left import untried
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.planner import Order, Route, make_route
from genie_connect.delivery.policy import SendPolicy
from genie_connect.delivery.suppression import Clearance, SuppressionGate
from genie_connect.errors import (
    ConfigurationError,
    ConnectorUnavailable,
    ContractViolation,
    NoConnection,
    ValidationError,
)
from genie_connect.model.address import Address
from genie_connect.model.batch import Cleared, Delivery, Recipient
from genie_connect.model.headers import one_click_problem
from genie_connect.model.message import Message, Purpose
from genie_connect.model.outcome import Outcome
from genie_connect.model.plan import PassedOver
from genie_connect.model.receipt import Attempt

SEND_TIMEOUT_S: Final = 900.0
"""Long enough for a server to take the ten minutes over its final answer that RFC 5321 section 4.5.3.2.6 gives it."""


@attrs.frozen(kw_only=True)
class Way:
    """How one call is to be sent: for how long, how hard, written down where, and what came of it before.

    ``repeats`` names the connection to which all of it went before, as one batch, without an answer.
    """

    timeout_s: float = SEND_TIMEOUT_S
    policy: SendPolicy | None = None
    journal: Journal | None = None
    earlier: Mapping[str, Outcome] = MappingProxyType({})
    repeats: str | None = None


class Dispatcher:
    """The connections of a host, and how messages get to them."""

    def __init__(
        self, gate: SuppressionGate, observers: Observers, clock: Clock, policy: SendPolicy, order: Order
    ) -> None:
        self.connections: dict[str, Connection] = {}
        self.unavailable: dict[str, ConnectorUnavailable | ContractViolation] = {}
        self._gate = gate
        self._observers = observers
        self._clock = clock
        self.policy = policy
        self.journal: Journal | None = None
        """Told of each hand-over that has no journal of its own: the memory of a host without a store."""
        self._order = order

    def in_order(self) -> tuple[Connection, ...]:
        """Every connection, in the order in which the planner would ask them."""
        return tuple(sorted(self.connections.values(), key=self._order))

    def connection(self, name: str) -> Connection:
        """A connection by name. Raises ``ConfigurationError`` where there is none."""
        found = self.connections.get(name)
        if name in self.unavailable:
            error = self.unavailable[name]
            raise ConfigurationError(f"the connection {name!r} cannot be used: {error.message}", hint=error.hint)
        if found is None:
            known = ", ".join(sorted(self.connections)) or "none"
            raise ConfigurationError(f"there is no connection {name!r}", hint=f"the connections are: {known}")
        return found

    def route(
        self, message: Message, *, broadcast: bool = False, merge: bool = False, only: str | None = None
    ) -> Route:
        """Which connections may carry the message now. Raises ``ConfigurationError`` where ``only`` is none of them."""
        if only is not None:
            self.connection(only)
        route = make_route(
            message, self.connections.values(), broadcast=broadcast, merge=merge, only=only, order=self._order
        )
        broken = [PassedOver(connection=name, reasons=(error.message,)) for name, error in self.unavailable.items()]
        if not broken:
            return route
        return attrs.evolve(route, plan=attrs.evolve(route.plan, passed_over=(*route.plan.passed_over, *broken)))

    def sender(self, message: Message, route: Route) -> Address:
        """The From that the message will have. Raises ``NoConnection`` where no connection could ever carry it."""
        usable = (*route.connections, *route.paused)
        if not usable:
            raise NoConnection(route.plan)
        sender = usable[0].sender(message)
        if sender is None:
            raise AssertionError("the planner passes over a connection without a From")
        return sender

    async def clear(self, addresses: Iterable[Address], purpose: Purpose, *, told: Container[str] = ()) -> Clearance:
        """Ask the gate, and tell the observers of those it stops, unless they were ``told`` (bare addresses)."""
        clearance = await self._gate.clear(addresses, purpose)
        for outcome in clearance.suppressed:
            if outcome.recipient in told:
                continue
            self._observers.notify("recipient_suppressed", outcome=outcome)
        return clearance

    def copies(
        self, check: MergeCheck, cleared: Iterable[Cleared], recipients: Mapping[str, tuple[Recipient, str]]
    ) -> tuple[list[Delivery], list[Outcome]]:
        """A copy for each of the cleared, and the outcomes of those whose copy cannot be made.

        ``recipients`` holds, by address key, who it is and the Message-ID of the copy.
        """
        deliveries: list[Delivery] = []
        refused: list[Outcome] = []
        for each in cleared:
            recipient, message_id = recipients[each.address.key]
            refusal = check.refusal(recipient)
            if refusal is None:
                deliveries.append(_copy(message_id, each, recipient, check))
                continue
            self._observers.notify("message_rejected", connection="", outcome=refusal)
            refused.append(refusal)
        return deliveries, refused

    async def deliver(
        self, message: Message, deliveries: Sequence[Delivery], route: Route, way: Way, *, key: str, broadcast: bool
    ) -> tuple[dict[str, Outcome], list[Attempt]]:
        """Hand the copies over: outcomes by address key, and attempts. Raises ``StepBack`` as the journal does."""
        if not route.connections:
            everybody = [cleared for delivery in deliveries for cleared in delivery.recipients]
            return {each.address.key: untried(route.paused, each.address.email) for each in everybody}, []
        loop = AttemptLoop(
            message,
            deliveries,
            route,
            gate=self._gate,
            observers=self._observers,
            clock=self._clock,
            deadline=self._clock.monotonic() + way.timeout_s,
            policy=way.policy or self.policy,
            idempotency_key=key,
            broadcast=broadcast,
            journal=way.journal or self.journal,
            earlier=way.earlier,
            repeats=way.repeats,
        )
        await loop.run()
        return loop.outcomes, loop.attempts


def checked_single(message: Message) -> None:
    """Raise ``ValidationError`` for what cannot be sent as a message of its own."""
    if not message.recipients:
        raise ValidationError.single("to", "there is nobody to send to", "give to, cc or bcc")
    if problem := one_click_problem(message.headers):
        raise ValidationError([problem.under("headers")], what="message")


def single_delivery(
    message: Message, message_id: str, cleared: tuple[Cleared, ...], *, shown: Container[str] | None = None
) -> Delivery:
    """The one copy of a message that names its recipients.

    Its headers show only those who may be written to: the cleared, or those with the address keys ``shown``.
    """
    keys = {each.address.key for each in cleared} if shown is None else shown
    return Delivery(
        message_id=message_id,
        recipients=cleared,
        to=tuple(address for address in message.to if address.key in keys),
        cc=tuple(address for address in message.cc if address.key in keys),
    )


def _copy(message_id: str, cleared: Cleared, recipient: Recipient, check: MergeCheck) -> Delivery:
    return Delivery(
        message_id=message_id,
        recipients=(cleared,),
        to=(recipient.address,),
        merge=check.merge_of(recipient),
        headers=recipient.headers,
        metadata=recipient.metadata,
    )
