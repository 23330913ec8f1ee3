"""What the tests of the SMTP connector share: batches, settings, one send."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from genie_connect.contract import Runtime, SendContext, TestContext
from genie_connect.model.address import Address
from genie_connect.model.batch import GATE, Batch, Cleared, Delivery
from genie_connect.model.diagnosis import Step
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome
from genie_connect.model.secret import Secret
from genie_connect_smtp import plugin
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.state import SmtpState

SENDER = Address.parse("Shop <shop@example.com>")
PASSWORD = "canary-Pa55word-7f3"


def cleared(*emails: str) -> tuple[Cleared, ...]:
    """Recipients as the suppression gate would let them through."""
    return tuple(Cleared(Address.parse(email), GATE) for email in emails)


def delivery(*emails: str, number: int = 0) -> Delivery:
    """One copy to these addresses."""
    return Delivery(
        message_id=f"<{number}.test@example.com>",
        recipients=cleared(*emails),
        to=tuple(Address.parse(email) for email in emails),
    )


def batch(*deliveries: Delivery, **fields: Any) -> Batch:
    """A batch of these copies; without any, one to ada@example.com."""
    copies = deliveries or (delivery("ada@example.com"),)
    given: dict[str, Any] = {"subject": "Your order", "text": "It is on its way.\n", **fields}
    message = Message(from_=SENDER, to=["ada@example.com"], **given)
    return Batch(message=message, sender=SENDER, deliveries=copies)


def settings_for(server: Any, **fields: Any) -> SmtpSettings:
    """Settings that reach a local server of either kind."""
    given: dict[str, Any] = {"host": server.host, "port": server.port, "security": server.security, **fields}
    return SmtpSettings(**given)


def signing_in(**fields: Any) -> dict[str, Any]:
    """Settings with credentials."""
    return {"username": "ada", "password": Secret(PASSWORD), **fields}


def context(seconds: float = 5.0) -> SendContext:
    """An attempt that must end in so many seconds."""
    return SendContext(attempt_id="attempt-1", deadline=time.monotonic() + seconds)


@contextlib.asynccontextmanager
async def opened(settings: SmtpSettings) -> AsyncIterator[SmtpState]:
    """The connector's state, closed at the end."""
    state = await plugin.connector_open(settings, Runtime(connection="primary", default_from=SENDER))
    try:
        yield state
    finally:
        await plugin.connector_close(state)


async def send_once(settings: SmtpSettings, what: Batch | None = None, *, seconds: float = 5.0) -> Sequence[Outcome]:
    """Open, send, close."""
    async with opened(settings) as state:
        return await plugin.connector_send(state, what or batch(), context(seconds))


async def diagnosed(settings: SmtpSettings, *, seconds: float = 5.0, send_to: str | None = None) -> list[Step]:
    """All steps of a connector test."""
    asked = TestContext(
        connection="primary",
        deadline=time.monotonic() + seconds,
        default_from=SENDER,
        send_to=Address.parse(send_to) if send_to else None,
    )
    return [step async for step in plugin.connector_test(settings, asked)]
