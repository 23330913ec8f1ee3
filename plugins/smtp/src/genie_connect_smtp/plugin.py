"""The hooks of the SMTP connector. Listing it imports nothing heavy; opening and testing do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from genie_connect.contract import ConnectorInfo, Kind, Runtime, SendContext, TestContext
from genie_connect.hookspecs import hookimpl
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Step
from genie_connect.model.outcome import Outcome
from genie_connect_smtp.capabilities import declared
from genie_connect_smtp.settings import SmtpSettings

if TYPE_CHECKING:
    from genie_connect_smtp.state import SmtpState


@hookimpl
def connector_info() -> ConnectorInfo:
    """What this connector is."""
    return ConnectorInfo(
        id="smtp",
        title="SMTP",
        kind=Kind.SMTP,
        settings_class=SmtpSettings,
        summary="Any SMTP server: works everywhere, and is the fallback when no API connector can take a message.",
        quality="platinum",
    )


@hookimpl
def connector_capabilities(settings: SmtpSettings | None) -> CapabilityTable:
    """What SMTP can do before the server has been asked."""
    return declared(settings)


@hookimpl
async def connector_open(settings: SmtpSettings, runtime: Runtime) -> SmtpState:
    """A pool with nothing in it yet."""
    # ssl and aiosmtplib take tens of milliseconds to import, which hosts that only list connectors need not spend.
    from genie_connect_smtp.state import open_state

    return await open_state(settings, runtime)


@hookimpl
async def connector_send(state: SmtpState, batch: Batch, context: SendContext) -> Sequence[Outcome]:
    """Hand the batch over, at the pace that the server allows.

    A copy that was too much for now, which a 4xx says that the server has not taken, waits for another turn before the
    deadline, unless it was accepted for one of its recipients.
    """
    from genie_connect_smtp.send import send  # imported by connector_open's modules already, or by nobody

    return await send(state, batch, context)


@hookimpl
async def connector_test(settings: SmtpSettings, context: TestContext) -> AsyncGenerator[Step, None]:
    """Connect the way sending does, and tell each step."""
    from genie_connect_smtp.diagnose import diagnose  # heavy, see connector_open

    # Whoever stops listening early closes the connection at once, not when the garbage is collected.
    async with aclosing(diagnose(settings, context)) as steps:
        async for step in steps:
            yield step


@hookimpl
async def connector_close(state: SmtpState) -> None:
    """Let go of all connections."""
    await state.pool.close()
