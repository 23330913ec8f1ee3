"""The contract of a connector, as pluggy hooks.

A connector is a module (or object) with functions of these names, each marked ``@hookimpl``, published as an entry
point of the group ``genie_connect.connectors.v1``. Each hook is called on exactly one connector, never on all. An
implementation may leave out arguments it does not need. ``connector_info``, ``connector_capabilities``,
``connector_open``, ``connector_send``, ``connector_test`` and ``connector_close`` must be there; the others are
optional.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import pluggy

from genie_connect.contract import ConnectorInfo, Runtime, SendContext, TestContext, WebhookRequest
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Step
from genie_connect.model.event import Event
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt, Receipt

PROJECT = "genie_connect"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

REQUIRED_HOOKS = (
    "connector_info",
    "connector_capabilities",
    "connector_open",
    "connector_send",
    "connector_test",
    "connector_close",
)


class ConnectorSpec:
    """Hooks of a connector."""

    @hookspec(firstresult=True)
    def connector_info(self) -> ConnectorInfo | None:
        """What the connector is. Pure, and quick: heavy libraries are imported in ``connector_open``."""

    @hookspec(firstresult=True)
    def connector_capabilities(self, settings: Any) -> CapabilityTable | None:
        """What it supports with these settings, or at the most where ``settings`` is ``None``. Pure."""

    @hookspec(firstresult=True)
    def connector_open(self, settings: Any, runtime: Runtime) -> Awaitable[Any] | None:
        """Coroutine: whatever the connector needs to send (a pool, a client). Opens no connection that may fail.

        Several connections of one connector live side by side. The state may have an attribute ``capabilities``, a
        ``CapabilityTable`` that is effective once the server has been asked.
        """

    @hookspec(firstresult=True)
    def connector_send(self, state: Any, batch: Batch, context: SendContext) -> Awaitable[Sequence[Outcome]] | None:
        """Coroutine: hand the batch over, one outcome for each recipient of each delivery, in their order.

        Never raises for what a server said. Makes one attempt and no second one of its own. Ends by
        ``context.deadline``. Whoever may have been handed over without an answer is ``unknown``.

        Waiting for one's turn is no second attempt: what the provider refused as too much for now (4xx, 429) may be
        handed over again before the deadline, where nothing of it was taken for anybody. Whose turn does not come is
        ``deferred`` at stage ``plan``, with ``retry_after_s``. Nor is it one to ask once more with a new access token,
        where the provider says of the old one that it has ended (401).
        """

    @hookspec(firstresult=True)
    def connector_test(self, settings: Any, context: TestContext) -> AsyncIterator[Step] | None:
        """Async generator: steps as they happen, up to the first failure. Delivers nothing unless asked to."""

    @hookspec(firstresult=True)
    def connector_parse_webhook(self, settings: Any, request: WebhookRequest) -> Sequence[Event] | None:
        """Events of a webhook, verified over the raw bytes first. Pure. Raises ``WebhookRejected``."""

    @hookspec(firstresult=True)
    def connector_lookup(self, state: Any, attempt: Attempt) -> Awaitable[Sequence[Outcome]] | None:
        """Coroutine: what the provider knows of an attempt whose outcome is ``unknown``.

        ``attempt.in_doubt`` says whose. Whom the provider knows nothing of is left out: that proves nothing.
        """

    @hookspec(firstresult=True)
    def connector_close(self, state: Any) -> Awaitable[None] | None:
        """Coroutine: let go of everything. May be called twice."""


class ObserverSpec:
    """Hooks of observers: told what happened, one by one, their exceptions logged. They must not block."""

    @hookspec
    def message_accepted(self, connection: str, outcome: Outcome) -> None:
        """A recipient was accepted."""

    @hookspec
    def message_rejected(self, connection: str, outcome: Outcome) -> None:
        """A recipient was refused for good."""

    @hookspec
    def message_deferred(self, connection: str, outcome: Outcome) -> None:
        """A recipient was put off; nothing more is tried in this call."""

    @hookspec
    def message_unknown(self, connection: str, outcome: Outcome) -> None:
        """The hand-over of a recipient had no answer."""

    @hookspec
    def recipient_suppressed(self, outcome: Outcome) -> None:
        """A recipient was not tried."""

    @hookspec
    def connection_degraded(self, connection: str, reason: str, hint: str) -> None:
        """A connection stopped being used, with the reason and what to do about it."""

    @hookspec
    def connection_recovered(self, connection: str) -> None:
        """A connection works again."""

    @hookspec
    def send_finished(self, receipt: Receipt) -> None:
        """A send returned."""

    @hookspec
    def event_received(self, connection: str, event: Event) -> None:
        """A provider reported an event."""
