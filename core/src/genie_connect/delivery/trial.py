"""Testing a connection, with a message where one is asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from genie_connect.clock import Clock
from genie_connect.contract import TestContext
from genie_connect.delivery.connection import Connection
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.model.address import Address
from genie_connect.model.diagnosis import Status, Step


async def trial(
    connection: Connection, gate: SuppressionGate, clock: Clock, *, send_to: Address | None, timeout_s: float
) -> AsyncGenerator[Step]:
    """The steps as they happen. Nothing goes to a suppressed address; what is learned counts for planning."""
    stopped = None if send_to is None else await gate.check(send_to)
    context = TestContext(
        connection=connection.name,
        deadline=clock.monotonic() + timeout_s,
        default_from=connection.config.default_from,
        send_to=None if stopped else send_to,
        clock=clock,
    )
    failed = False
    async with aclosing(connection.handle.test(connection.settings, context)) as steps:
        async for step in steps:
            failed = failed or step.status is Status.FAIL
            if step.capabilities is not None:
                connection.learn(step.capabilities)
            yield step
    if stopped is not None and not failed:
        summary = f"not sent: {stopped.address.email} is suppressed ({stopped.reason.value})"
        yield Step(id="message", title="Test message", status=Status.SKIP, summary=summary)
