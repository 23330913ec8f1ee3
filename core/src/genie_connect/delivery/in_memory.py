"""Sending a copy to each of many recipients, chunk by chunk, with nothing written down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

import attrs

from genie_connect.delivery.dispatch import Dispatcher, Way
from genie_connect.delivery.merging import MergeCheck
from genie_connect.delivery.seen import Seen
from genie_connect.model.address import AddressLike
from genie_connect.model.batch import Recipient, new_message_id
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome

CHUNK: Final = 500
Recipients: TypeAlias = Iterable[Recipient | AddressLike] | AsyncIterable[Recipient | AddressLike]


@attrs.frozen(kw_only=True)
class InMemory:
    """A message that goes to many. ``chunk`` recipients are planned together, and sent the way of ``way``."""

    dispatcher: Dispatcher
    message: Message
    connection: str | None
    way: Way
    chunk: int = CHUNK

    async def send(self, recipients: Recipients) -> AsyncGenerator[Outcome]:
        """Send, and yield the outcomes as they become known."""
        check = MergeCheck(template_of(self.message))
        async with aclosing(_chunks(recipients, self.chunk)) as groups:
            async for group in groups:
                # Closed here, not when it is collected: whoever stops listening must find nothing still running.
                async with aclosing(self._send_chunk(check, group)) as known:
                    async for outcomes in known:
                        for outcome in outcomes:
                            yield outcome

    async def _send_chunk(self, check: MergeCheck, group: list[Recipient]) -> AsyncGenerator[Sequence[Outcome]]:
        dispatcher, message = self.dispatcher, self.message
        route = dispatcher.route(message, broadcast=True, merge=check.template.active, only=self.connection)
        sender = dispatcher.sender(message, route)
        clearance = await dispatcher.clear([each.address for each in group], message.purpose)
        yield clearance.suppressed
        recipients = {recipient.address.key: (recipient, new_message_id(sender)) for recipient in group}
        deliveries, refused = dispatcher.copies(check, clearance.cleared, recipients)
        yield refused
        if not deliveries:
            return
        key = deliveries[0].message_id
        outcomes, _ = await dispatcher.deliver(message, deliveries, route, self.way, key=key, broadcast=True)
        yield tuple(outcomes.values())


async def _chunks(recipients: Recipients, size: int) -> AsyncGenerator[list[Recipient]]:
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
