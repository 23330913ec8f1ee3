"""One connector, called through its hooks and nothing else, every result checked.

A connector is a stranger's code. Whatever it does wrong here ends as an error that names it, or, once a message may
have left, as outcomes that say so: never as a crash of the host, never as a message lost or sent twice.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import attrs
import pluggy

from genie_connect.contract import ConnectorInfo, Runtime, SendContext, TestContext, WebhookRequest
from genie_connect.errors import ContractViolation, WebhookRejected
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.event import Event
from genie_connect.model.features import missing, required_by_batch
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.schema import json_schema
from genie_connect.model.settings import structure_settings

logger = logging.getLogger("genie_connect.registry")
GRACE_S = 5.0
"""How long after its deadline a connector may still answer before it is cut off."""


class ConnectorHandle:
    """A loaded connector. Made by the registry."""

    def __init__(
        self,
        manager: pluggy.PluginManager,
        plugin: object,
        info: ConnectorInfo,
        *,
        distribution: str,
        version: str,
        generation: Callable[[], int],
        strict: bool = False,
    ) -> None:
        self._manager = manager
        self._plugin = plugin
        self._callers: dict[str, Callable[..., Any]] = {}
        self._generation = generation
        self._made_for = -1
        self._strict = strict
        self.info = info
        self.distribution = distribution
        self.version = version

    @property
    def id(self) -> str:
        """The connector's id."""
        return self.info.id

    def has(self, hook: str) -> bool:
        """Whether the connector implements an optional hook."""
        return any(caller.name == hook for caller in self._manager.get_hookcallers(self._plugin) or ())

    def settings(self, data: Mapping[str, Any]) -> Any:
        """Checked settings from plain data. Raises ``SettingsError``."""
        return structure_settings(self.info.settings_class, data, connector=self.id)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the settings."""
        return json_schema(self.info.settings_class, title=self.info.title)

    def capabilities(self, settings: Any = None) -> CapabilityTable:
        """The declared table, at the most or with these settings."""
        try:
            table = self._call("connector_capabilities", settings=settings)
        except Exception as error:
            raise self._broken("connector_capabilities", f"raised {type(error).__name__}") from error
        if not isinstance(table, CapabilityTable) or table.connector != self.id:
            raise self._broken("connector_capabilities", f"returned no CapabilityTable of {self.id!r}")
        return table

    async def open(self, settings: Any, runtime: Runtime) -> Any:
        """The connector's state for one connection."""
        return await self._awaited("connector_open", settings=settings, runtime=runtime)

    async def send(self, state: Any, batch: Batch, context: SendContext, table: CapabilityTable) -> tuple[Outcome, ...]:
        """Hand over, one outcome for each recipient in their order, whatever the connector does.

        A batch that needs what the table does not offer is refused here, before any I/O.
        """
        lacking = missing(required_by_batch(batch), table)
        if lacking:
            return _refused(batch, f"{self.info.title} does not support {', '.join(lacking)}")
        try:
            async with asyncio.timeout(context.remaining_s() + GRACE_S):
                result = await self._awaited("connector_send", state=state, batch=batch, context=context)
        except TimeoutError:
            return self._in_doubt(batch, "did not answer by its deadline")
        except (Exception, SystemExit) as error:
            if self._strict:
                raise
            logger.exception("connector %s failed while sending", self.id)
            return self._in_doubt(batch, f"raised {type(error).__name__}")
        return self._checked(result, batch)

    async def test(self, settings: Any, context: TestContext) -> AsyncIterator[Step]:
        """The steps of a connector test, ended by a failed step where the connector itself fails."""
        try:
            steps = self._call("connector_test", settings=settings, context=context)
            if not isinstance(steps, AsyncIterator):
                raise self._broken("connector_test", "returned no async generator")
            async for step in steps:
                if not isinstance(step, Step):
                    raise self._broken("connector_test", f"gave a {type(step).__name__} for a Step")
                yield step
        except (Exception, SystemExit) as error:
            if self._strict:
                raise
            logger.exception("connector %s failed in its test", self.id)
            yield _failed_step(self.info, error)

    def parse_webhook(self, settings: Any, request: WebhookRequest) -> tuple[Event, ...]:
        """Events of a webhook. Raises ``WebhookRejected``; whatever else the connector raises becomes that."""
        if not self.has("connector_parse_webhook"):
            raise WebhookRejected(f"{self.info.title} takes no webhooks", status=404)
        try:
            events = self._call("connector_parse_webhook", settings=settings, request=request)
        except WebhookRejected:
            raise
        except (Exception, SystemExit) as error:
            logger.exception("connector %s failed to parse a webhook", self.id)
            raise WebhookRejected("the connector could not read it", status=400) from error
        if not isinstance(events, Sequence) or not all(isinstance(event, Event) for event in events):
            raise WebhookRejected("the connector gave no events", status=400)
        return tuple(events)

    async def close(self, state: Any) -> None:
        """Let the connector release its state; a failure is logged, since there is nobody left to tell."""
        try:
            async with asyncio.timeout(GRACE_S):
                await self._awaited("connector_close", state=state)
        except (Exception, SystemExit):
            if self._strict:
                raise
            logger.exception("connector %s failed to close", self.id)

    def _call(self, hook: str, **arguments: Any) -> Any:
        # A subset caller also calls plug-ins registered after it was made, so it lives as long as the set of plug-ins.
        generation = self._generation()
        if generation != self._made_for:
            self._callers.clear()
            self._made_for = generation
        caller = self._callers.get(hook)
        if caller is None:
            others = [plugin for plugin in self._manager.get_plugins() if plugin is not self._plugin]
            caller = self._callers[hook] = self._manager.subset_hook_caller(hook, others)
        return caller(**arguments)

    async def _awaited(self, hook: str, **arguments: Any) -> Any:
        result = self._call(hook, **arguments)
        if not inspect.isawaitable(result):
            raise self._broken(hook, "is not a coroutine function")
        return await result

    def _broken(self, hook: str, cause: str) -> ContractViolation:
        return ContractViolation(self.id, hook, cause)

    def _checked(self, result: Any, batch: Batch) -> tuple[Outcome, ...]:
        expected = batch.recipients
        good = isinstance(result, Sequence) and len(result) == len(expected)
        if good and all(
            isinstance(outcome, Outcome) and outcome.recipient == address.email
            for outcome, address in zip(result, expected, strict=True)
        ):
            return tuple(result)
        if self._strict:
            raise self._broken("connector_send", "gave no outcome for each recipient in their order")
        logger.error("connector %s gave no outcome for each recipient in their order", self.id)
        return self._salvaged(result, batch)

    def _salvaged(self, result: Any, batch: Batch) -> tuple[Outcome, ...]:
        """What can be believed of a faulty result: an outcome that names its recipient; the others are in doubt."""
        given = result if isinstance(result, Sequence) else ()
        by_email = {outcome.recipient: outcome for outcome in given if isinstance(outcome, Outcome)}
        doubt = self._in_doubt(batch, "gave no outcome for this recipient")
        return tuple(by_email.get(outcome.recipient, outcome) for outcome in doubt)

    def _in_doubt(self, batch: Batch, what: str) -> tuple[Outcome, ...]:
        unknown = Outcome(
            recipient="",
            state=State.UNKNOWN,
            reason="contract_violation",
            hint=f"The connector {what}; it may have handed the message over. Tell its author.",
            scope=Scope.MESSAGE,
        )
        return tuple(attrs.evolve(unknown, recipient=address.email) for address in batch.recipients)


def _refused(batch: Batch, why: str) -> tuple[Outcome, ...]:
    refusal = Outcome(
        recipient="",
        state=State.REJECTED,
        stage="plan",
        reason="unsupported",
        hint=f"{why}.",
        scope=Scope.MESSAGE,
        retry=Retry.OTHER,
    )
    return tuple(attrs.evolve(refusal, recipient=address.email) for address in batch.recipients)


def _failed_step(info: ConnectorInfo, error: BaseException) -> Step:
    diagnosis = Diagnosis(
        code="connector_failed",
        title=f"{info.title} failed",
        cause="The connector itself has a fault; this says nothing about your settings.",
        evidence=type(error).__name__,
        fixes=("Update the package, and tell its author.",),
    )
    return Step(id="connector", title="Connector", status=Status.FAIL, summary=diagnosis.title, diagnosis=diagnosis)
