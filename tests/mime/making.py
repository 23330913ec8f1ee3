"""Batches for the tests, past the suppression gate, which has tests of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from genie_connect.mime import Composed, compose
from genie_connect.model.address import Address
from genie_connect.model.batch import GATE, Batch, Cleared, Delivery
from genie_connect.model.message import Message

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SENDER = Address(local="ada", domain="example.com")


def batch_of(message: Message, **delivery: Any) -> Batch:
    """The batch of one that a transactional send makes of a message."""
    cleared = tuple(Cleared(address, GATE) for address in message.recipients)
    given = {"message_id": "<1.abc@example.com>", "recipients": cleared, "to": message.to, "cc": message.cc} | delivery
    return Batch(message=message, sender=message.from_ or SENDER, deliveries=(Delivery(**given),))


def composed(message: Message, *, eight_bit: bool = False, **delivery: Any) -> Composed:
    """The message as it goes over the wire."""
    batch = batch_of(message, **delivery)
    return compose(batch, batch.deliveries[0], date=NOON, eight_bit=eight_bit)


def wire_of(message: Message, *, eight_bit: bool = False, **delivery: Any) -> bytes:
    """The same as bytes."""
    return composed(message, eight_bit=eight_bit, **delivery).as_bytes()
