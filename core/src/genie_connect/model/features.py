"""What a message needs from the connection that carries it, derived from what it contains."""

from __future__ import annotations

from collections.abc import Iterable

from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.capability import CapabilityTable, Level
from genie_connect.model.message import Message

EMULATED = frozenset({"send.batch", "send.metadata", "send.tags"})
"""What the core does for a connector whose table says ``host``: one call for each copy, keeping what is for our own
records. Anything else at that level nobody would do."""


def required(message: Message, *, broadcast: bool = False) -> tuple[str, ...]:
    """The names of the capabilities that ``message`` needs."""
    return ("send.broadcast" if broadcast else "send.transactional", *message.needs)


def required_by_delivery(delivery: Delivery) -> list[str]:
    """The names of the capabilities that one copy needs beyond what the message does."""
    names = []
    if delivery.merge is not None:
        names.append("send.merge")
    if delivery.headers:
        names.append("send.headers")
    if delivery.metadata:
        names.append("send.metadata")
    # As a rule the header shows whom the envelope names, and nobody else.
    alike = delivery.to == delivery.addresses
    if delivery.cc or (not alike and delivery.bcc):
        names.append("send.cc_bcc")
    shown = delivery.to if alike else (*delivery.addresses, *delivery.to)
    if not "".join([address.local for address in (*shown, *delivery.cc)]).isascii():
        names.append("send.international_addresses")
    return names


def required_by_batch(batch: Batch) -> tuple[str, ...]:
    """The names of the capabilities that ``batch`` needs as it is handed over.

    A single copy needs no kind of send: whether it is a transactional one or the last of a broadcast cannot be seen.
    """
    names = dict.fromkeys(batch.message.needs)
    if len(batch.deliveries) > 1:
        names["send.broadcast"] = None
    for delivery in batch.deliveries:
        for name in required_by_delivery(delivery):
            names[name] = None
    if batch.envelope_from.needs_smtputf8 or batch.sender.needs_smtputf8:
        names["send.international_addresses"] = None
    return tuple(names)


def missing(needed: Iterable[str], table: CapabilityTable) -> tuple[str, ...]:
    """Those of the needed capabilities that neither the table nor the core in its place offers."""
    return tuple(name for name in needed if not offered(name, table))


def offered(name: str, table: CapabilityTable) -> bool:
    """Whether a message that needs this capability can be sent, by the connector or by the core on its behalf."""
    level = table[name].level
    return level in (Level.YES, Level.CONDITIONAL) or (level is Level.HOST and name in EMULATED)


def estimated_size_bytes(message: Message) -> int:
    """About how many bytes the message has on the wire; never less than what a base64 part takes (RFC 2045)."""
    bodies = sum(len(body.encode()) for body in (message.text, message.html) if body is not None)
    files = sum(attachment.size_bytes * 78 // 57 + 300 for attachment in message.attachments)
    return bodies + files + 1000
