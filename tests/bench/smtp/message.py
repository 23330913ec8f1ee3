"""The messages that are sent, the same bytes for every peer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache

from genie_connect import Address, Attachment, Message
from genie_connect.clock import SystemClock
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.mime import compose
from genie_connect.model.batch import Batch, Delivery

SENDER = Address.parse("Shop <bench@example.com>")
SIZES_BYTES = {"2KB": 1927, "30KB": 30066}
DATE = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
SUBJECT = "Your order 4711 is on its way"
_TEXT = "Your order left our warehouse this morning; you can follow it — as always — in your account.\n"
_HTML = '<p style="margin:0 0 1em">Your order left our <b>warehouse</b> this morning: follow it in your account.</p>\n'
# Header fields, boundaries and part headers of a message with two bodies, roughly: less than all of it.
_FRAME_BYTES = 800


class FixedDate(SystemClock):
    """Time goes on and the date does not, so that each day's messages have the same bytes."""

    def now(self) -> datetime:
        return DATE


@cache
def message(size: str) -> Message:
    """Text and HTML that, put together, have exactly the size, with 8-bit bodies."""
    target = SIZES_BYTES[size]
    lines = max(1, (target - _FRAME_BYTES) // (len(_TEXT.encode()) + len(_HTML) + 2))
    bare = _message(lines, 0)
    return _message(lines, target - len(composed_bytes(bare)))


def _message(lines: int, padding: int) -> Message:
    if padding < 0:
        raise ValueError(f"the frame alone is {-padding} bytes too large")
    text = f"Hello Ada,\n\n{_TEXT * lines}Thank you.{'.' * padding}\n"
    html = f"<html><body>\n{_HTML * lines}</body></html>\n"
    return Message(from_=SENDER, subject=SUBJECT, text=text, html=html)


def with_files(size: str) -> Message:
    """The message of that size with a 100 KB attachment and a 10 KB inline image."""
    plain = message(size)
    html = (plain.html or "").replace("<body>", '<body><img src="cid:logo">')
    files = [
        Attachment(filename="invoice.pdf", content=bytes(range(256)) * 400, content_type="application/pdf"),
        Attachment(filename="logo.png", content=bytes(range(256)) * 40, content_type="image/png", content_id="logo"),
    ]
    return Message(from_=SENDER, subject=SUBJECT, text=plain.text, html=html, attachments=files)


def recipient(number: int) -> str:
    """The address of one recipient; all have the same length."""
    return f"user{number:06}@example.com"


def recipients(count: int) -> list[str]:
    """That many addresses, none twice."""
    return [recipient(number) for number in range(count)]


async def deliveries(addresses: Iterable[str]) -> tuple[Delivery, ...]:
    """One copy for each address, let through by the gate."""
    parsed = [Address.parse(address) for address in addresses]
    clearance = await SuppressionGate().clear(parsed, Message(text="-").purpose)
    return tuple(
        Delivery(message_id=f"<{number:06}.benchmark@example.com>", recipients=(cleared,), to=(cleared.address,))
        for number, cleared in enumerate(clearance.cleared)
    )


async def batch(content: Message, addresses: Iterable[str]) -> Batch:
    """A batch that is ready to be handed over."""
    return Batch(message=content, sender=SENDER, deliveries=await deliveries(addresses))


def composed_bytes(content: Message) -> bytes:
    """What the peers send: our bytes for the first recipient."""
    return compose(*_one(content), date=DATE, eight_bit=True).as_bytes()


def _one(content: Message) -> tuple[Batch, Delivery]:
    ready = asyncio.run(batch(content, recipients(1)))
    return ready, ready.deliveries[0]
