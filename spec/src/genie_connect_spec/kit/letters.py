"""The messages that the kit sends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Delivery, new_message_id
from genie_connect.model.message import Message

SENDER = "Shop <shop@example.com>"
TO = "Ada Lovelace <ada@example.com>"
SUBJECT = "Order nine hundred and one"
TEXT = "It is on its way with the morning train."


@attrs.frozen(kw_only=True)
class Copy:
    """One copy of a broadcast."""

    to: str
    merge: Mapping[str, str] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    metadata: Mapping[str, str] = attrs.field(factory=dict)


def letter(*to: str, **fields: Any) -> Message:
    """A small message of plain text."""
    usual = {"from_": SENDER, "subject": SUBJECT, "text": TEXT}
    return Message(to=to or (TO,), **usual | fields)


async def batch_of(message: Message, copies: Iterable[Copy] = ()) -> Batch:
    """The batch that a host would hand over: one copy for all recipients, or these copies."""
    assert message.from_ is not None
    gate = SuppressionGate()
    deliveries = []
    for copy in copies:
        to = Address.parse(copy.to)
        clearance = await gate.clear((to,), message.purpose)
        deliveries.append(
            Delivery(
                message_id=new_message_id(message.from_),
                recipients=clearance.cleared,
                to=(to,),
                merge=None if copy.merge is None else _frozen(copy.merge),
                headers=_frozen(copy.headers),
                metadata=_frozen(copy.metadata),
            )
        )
    if not deliveries:
        clearance = await gate.clear(message.recipients, message.purpose)
        message_id = new_message_id(message.from_)
        deliveries = [Delivery(message_id=message_id, recipients=clearance.cleared, to=message.to, cc=message.cc)]
    # As the host does it: whom to reach stands in the deliveries alone.
    plain = attrs.evolve(message, to=(), cc=(), bcc=())
    return Batch(message=plain, sender=message.from_, deliveries=tuple(deliveries))


def _frozen(given: Mapping[str, str]) -> Any:
    from genie_connect.model.frozen import FrozenMap

    return FrozenMap(given)
