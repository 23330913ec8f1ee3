"""One message to those it names: sent while the caller waits, or taken in to be sent by whoever works."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from genie_connect.delivery.dispatch import SEND_TIMEOUT_S, Dispatcher, Way, single_delivery
from genie_connect.delivery.journal import StepBack
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.policy import SendPolicy, checked_durable
from genie_connect.durable.options import SendOptions
from genie_connect.errors import IdempotencyConflict, StoreError
from genie_connect.model.asked import checked_priority, checked_window
from genie_connect.model.batch import new_message_id
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Outcomes
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Receipt
from genie_connect.registry.isolation import log_failure

if TYPE_CHECKING:
    from genie_connect.durable.plain import PlainJournal
    from genie_connect.durable.service import Durable

logger = logging.getLogger("genie_connect.host")


@attrs.frozen(kw_only=True)
class SingleSend:
    """A message that is to be sent. ``key`` is the host's idempotency key."""

    dispatcher: Dispatcher
    observers: Observers
    message: Message
    connection: str | None
    key: str | None

    async def wait(self, durable: Durable | None, *, timeout_s: float, policy: SendPolicy | None) -> Receipt:
        """Send it now, and say what came of it. Where there is a store, the same key gives the first one's receipt."""
        message, key = self.message, self.key
        if durable is not None and key is not None:
            earlier = await durable.repeated(message, key)
            if earlier is not None:
                return earlier
        route = self.dispatcher.route(message, only=self.connection)
        message_id = new_message_id(self.dispatcher.sender(message, route))
        clearance = await self.dispatcher.clear(message.recipients, message.purpose)
        delivery = single_delivery(message, message_id, clearance.cleared)
        journal = None if durable is None else self._journal(durable, message_id, route.plan)
        way = Way(timeout_s=timeout_s, policy=policy, journal=journal)
        try:
            outcomes, attempts = await self.dispatcher.deliver(
                message, [delivery], route, way, key=key or message_id, broadcast=False
            )
        except BaseException as error:
            if journal is not None:
                await journal.abandon()
                if isinstance(error, StepBack) and journal.key_taken and durable is not None:
                    return await self._first_of(durable)
            raise
        if journal is not None:
            await _write_end(journal, outcomes)
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

    async def accept(
        self,
        durable: Durable,
        *,
        timeout_s: float,
        policy: SendPolicy | None,
        not_before: datetime | None,
        expires: datetime | None,
        priority: int,
    ) -> Receipt:
        """Have it on disk, to be sent by whoever works. Suppressions are asked now, and again when it leaves."""
        checked_durable(policy, timeout_s, SEND_TIMEOUT_S)
        first, last = checked_window(not_before, expires)
        checked_priority(priority)
        route = self.dispatcher.route(self.message, only=self.connection)
        options = SendOptions(
            connection=self.connection,
            key=self.key,
            not_before=first,
            expires=last,
            priority=priority,
            at_least_once=(policy or self.dispatcher.policy).at_least_once,
        )
        message_id = new_message_id(self.dispatcher.sender(self.message, route))
        clearance = await self.dispatcher.clear(self.message.recipients, self.message.purpose)
        stopped = {outcome.recipient: outcome for outcome in clearance.suppressed}
        suppressed = {
            position: stopped[address.email]
            for position, address in enumerate(self.message.recipients if stopped else ())
            if address.email in stopped
        }
        return await durable.accept(self.message, message_id, route.plan, options, suppressed)

    async def _first_of(self, durable: Durable) -> Receipt:
        """The receipt of the send that was quicker with the same key."""
        key = self.key or ""
        earlier = await durable.repeated(self.message, key)
        if earlier is None:
            raise IdempotencyConflict(key)
        return earlier

    def _journal(self, durable: Durable, message_id: str, plan: Plan) -> PlainJournal:
        options = SendOptions(connection=self.connection, key=self.key)
        return durable.plain(self.message, message_id, plan, options, self.message.recipients)


async def _write_end(journal: PlainJournal, outcomes: Mapping[str, Outcome]) -> None:
    try:
        await journal.end(outcomes)
    except StoreError as error:
        # The message has left, or not: its caller must hear of that, whatever the store does.
        log_failure(logger, error, "the end of a send could not be written down; the ledger will call it unknown")
