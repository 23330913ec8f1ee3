"""What a message needs from the connection that carries it, derived from what it contains."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from genie_connect.model.address import Address
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.message import Message

FEATURES: dict[str, Callable[[Message], bool]] = {
    "send.html": lambda message: message.html is not None,
    "send.attachments": lambda message: bool(message.files),
    "send.inline_images": lambda message: bool(message.inline_images),
    "send.cc_bcc": lambda message: bool(message.cc or message.bcc),
    "send.reply_to": lambda message: bool(message.reply_to),
    "send.headers": lambda message: bool(message.headers),
    "send.envelope_sender": lambda message: message.envelope_from is not None,
    "send.tags": lambda message: bool(message.tags),
    "send.metadata": lambda message: bool(message.metadata),
}
"""The capability that each feature of a message needs."""


def required(message: Message, *, broadcast: bool = False) -> tuple[str, ...]:
    """The names of the capabilities that ``message`` needs."""
    kind = "send.broadcast" if broadcast else "send.transactional"
    named = (name for name, needs in FEATURES.items() if needs(message))
    international = any(address.needs_smtputf8 for address in all_addresses(message))
    return (kind, *named, *(["send.international_addresses"] if international else []))


def required_by_batch(batch: Batch) -> tuple[str, ...]:
    """The names of the capabilities that ``batch`` needs as it is handed over."""
    names = dict.fromkeys(required(batch.message, broadcast=len(batch.deliveries) > 1))
    if any(delivery.merge for delivery in batch.deliveries):
        names["send.merge"] = None
    if any(delivery.headers for delivery in batch.deliveries):
        names["send.headers"] = None
    if any(delivery.metadata for delivery in batch.deliveries):
        names["send.metadata"] = None
    if batch.envelope_from.needs_smtputf8 or any(address.needs_smtputf8 for address in batch.recipients):
        names["send.international_addresses"] = None
    return tuple(names)


def missing(needed: Iterable[str], table: CapabilityTable) -> tuple[str, ...]:
    """Those of the needed capabilities that the table does not offer."""
    return tuple(name for name in needed if not table[name].available)


def estimated_size_bytes(message: Message) -> int:
    """About how many bytes the message has on the wire; never less than what a base64 part takes (RFC 2045)."""
    bodies = sum(len(body.encode()) for body in (message.text, message.html) if body is not None)
    files = sum(attachment.size_bytes * 78 // 57 + 300 for attachment in message.attachments)
    return bodies + files + 1000


def all_addresses(message: Message) -> Iterable[Address]:
    """Every address in the message."""
    yield from message.recipients
    yield from message.reply_to
    yield from (address for address in (message.from_, message.envelope_from) if address is not None)
