"""One connector, called through its hooks and nothing else, every result checked.

A connector is a stranger's code. Whatever it does wrong here ends as an error that names it, or, once a message may
have left, as outcomes that say so: never as a crash of the host, never as a message lost or sent twice.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import attrs
import pluggy

from genie_connect.contract import ConnectorInfo, Quality, Runtime, SendContext, TestContext, WebhookRequest
from genie_connect.errors import ContractViolation, SettingsError, WebhookRejected
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.event import Event
from genie_connect.model.features import missing, options_problem, required_by_batch
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.receipt import Attempt
from genie_connect.model.schema import json_schema
from genie_connect.model.settings import structure_settings
from genie_connect.registry.behind import PROVIDER
from genie_connect.registry.isolation import Crashed, OverDeadline, bounded, called, log_failure

logger = logging.getLogger("genie_connect.registry")
GRACE_S = 5.0
"""How long after its deadline a connector may still answer before it is cut off."""
LOOKUP_TIMEOUT_S = 60.0
"""How long a connector may take to ask its provider about an attempt."""
OPEN_TIMEOUT_S = 30.0
"""How long a connector may take to open, which is no time to reach its provider."""


class ConnectorHandle:
    """A loaded connector. Made by the registry.

    ``manager`` holds this connector alone: in a shared one, a plug-in object with an odd ``__eq__`` or ``__hash__``
    would get in the way of all others.
    """

    def __init__(
        self,
        manager: pluggy.PluginManager,
        info: ConnectorInfo,
        *,
        distribution: str,
        version: str,
        strict: bool = False,
    ) -> None:
        self._hooks = manager.hook
        self._callees: dict[str, Callable[..., Any] | None] = {}
        self._strict = strict
        self.info = info
        self.distribution = distribution
        self.version = version

    @property
    def id(self) -> str:
        """The connector's id."""
        return self.info.id

    @property
    def quality(self) -> Quality:
        """What its package states of itself on the quality scale."""
        return self.info.quality

    def has(self, hook: str) -> bool:
        """Whether the connector implements an optional hook."""
        return self._callee(hook) is not None

    def settings(self, data: Mapping[str, Any], cls: type[Any] | None = None) -> Any:
        """Checked settings from plain data, of the connector's class or one derived of it. Raises ``SettingsError``."""
        try:
            return called(structure_settings, cls or self.info.settings_class, data, connector=self.id)
        except SettingsError:
            raise
        except Exception as error:
            # The text of a foreign exception may hold a secret; its type does not.
            raise self._broken("settings", f"raised {_name(error)}") from error

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the settings."""
        return json_schema(self.info.settings_class, title=self.info.title)

    def capabilities(self, settings: Any = None) -> CapabilityTable:
        """The declared table, at the most or with these settings. Raises ``ContractViolation``."""
        try:
            table = self._call("connector_capabilities", settings=settings)
        except Exception as error:
            raise self._broken("connector_capabilities", f"raised {_name(error)}") from error
        if type(table) is not CapabilityTable or table.connector != self.id:
            raise self._broken("connector_capabilities", f"returned no CapabilityTable of {self.id!r}")
        return table

    def effective(self, state: Any) -> CapabilityTable | None:
        """The table that the state of a connection carries, once the server has been asked."""
        try:
            table = called(getattr, state, "capabilities", None)
        except Exception as error:  # noqa: BLE001  # a stranger's code
            log_failure(logger, error, "connector %s failed to say what it supports", self.id)
            return None
        return table if type(table) is CapabilityTable and table.connector == self.id else None

    async def open(self, settings: Any, runtime: Runtime) -> Any:
        """The connector's state for one connection. Raises whatever the connector does, as an ``Exception``."""
        try:
            return await bounded(self._awaitable("connector_open", settings=settings, runtime=runtime), OPEN_TIMEOUT_S)
        except OverDeadline:
            raise self._broken("connector_open", f"did not end within {OPEN_TIMEOUT_S:g} s") from None

    async def send(self, state: Any, batch: Batch, context: SendContext, table: CapabilityTable) -> tuple[Outcome, ...]:
        """Hand over, one outcome for each recipient in their order, whatever the connector does.

        A batch that needs what the table does not offer is refused here, before any I/O.
        """
        recipients = tuple(address.email for address in batch.recipients)
        lacking = missing(required_by_batch(batch), table)
        if lacking:
            return refused(recipients, f"{self.info.title} does not support {', '.join(lacking)}")
        if options := options_problem(batch.message, table):
            return refused(recipients, f"{self.info.title} cannot be used: {options}")
        try:
            work = self._awaitable("connector_send", state=state, batch=batch, context=context)
            result = await bounded(work, context.remaining_s() + GRACE_S)
            return called(self._checked, result, recipients)
        except OverDeadline:
            if self._strict:
                raise self._broken("connector_send", "did not answer by its deadline") from None
            logger.warning("connector %s did not answer by its deadline", self.id)
            return _in_doubt(recipients, "did not answer by its deadline")
        except Exception as error:
            if self._strict:
                raise
            log_failure(logger, error, "connector %s failed while sending", self.id)
            return _in_doubt(recipients, f"raised {_name(error)}")

    async def test(self, settings: Any, context: TestContext) -> AsyncGenerator[Step]:
        """The steps of a connector test, ended by a failed step where the connector itself fails."""
        steps: asyncio.Queue[Step | None] = asyncio.Queue()
        # In one task from beginning to end, since the connector may hold a time-out across its steps.
        work = asyncio.ensure_future(bounded(self._run_test(settings, context, steps), context.remaining_s() + GRACE_S))
        work.add_done_callback(lambda _: steps.put_nowait(None))
        try:
            while (step := await steps.get()) is not None:
                yield step
            await work
        except Exception as error:
            if self._strict:
                raise
            log_failure(logger, error, "connector %s failed in its test", self.id)
            yield _failed_step(self.info, error)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _run_test(self, settings: Any, context: TestContext, steps: asyncio.Queue[Step | None]) -> None:
        given = self._call("connector_test", settings=settings, context=context)
        if not isinstance(given, AsyncGenerator):
            raise self._broken("connector_test", "returned no async generator")
        async with aclosing(given):
            async for step in given:
                if not isinstance(step, Step):
                    raise self._broken("connector_test", f"gave a {type(step).__name__} for a Step")
                steps.put_nowait(step)

    def parse_webhook(self, settings: Any, request: WebhookRequest) -> tuple[Event, ...]:
        """Events of a webhook. Raises ``WebhookRejected``; whatever else the connector raises becomes that."""
        parse = self._callee("connector_parse_webhook")
        if parse is None:
            hint = f"set {PROVIDER} to the connector of the provider behind the server"
            able = PROVIDER in attrs.fields_dict(self.info.settings_class)
            raise WebhookRejected(f"{self.info.title} takes no webhooks", status=404, hint=hint if able else "")
        try:
            given = called(parse, settings=settings, request=request)
            events = given if type(given) is tuple else called(tuple, given)
        except WebhookRejected:
            raise
        except Exception as error:  # a stranger's code
            log_failure(logger, error, "connector %s failed to parse a webhook", self.id)
            raise WebhookRejected("the connector could not read it", status=400) from error
        if [event for event in events if not isinstance(event, Event)]:
            raise WebhookRejected("the connector gave no events", status=400)
        return events

    async def lookup(self, state: Any, attempt: Attempt) -> tuple[Outcome, ...]:
        """What the provider knows of an attempt; nothing where it cannot be asked, or the connector fails."""
        if not self.has("connector_lookup"):
            return ()
        try:
            found = await bounded(self._awaitable("connector_lookup", state=state, attempt=attempt), LOOKUP_TIMEOUT_S)
            return tuple(outcome for outcome in called(tuple, found) if _credible(outcome))
        except (Exception, OverDeadline) as error:
            if self._strict:
                raise
            log_failure(logger, error, "connector %s failed to look an attempt up", self.id)
            return ()

    async def close(self, state: Any) -> None:
        """Let the connector release its state; a failure is logged, since there is nobody left to tell."""
        try:
            await bounded(self._awaitable("connector_close", state=state), GRACE_S)
        except Exception as error:
            if self._strict:
                raise
            log_failure(logger, error, "connector %s failed to close", self.id)

    def _call(self, hook: str, **arguments: Any) -> Any:
        return called(self._callee(hook) or getattr(self._hooks, hook), **arguments)

    def _callee(self, hook: str) -> Callable[..., Any] | None:
        """What is called for a hook; ``None`` where the connector does not implement it."""
        if hook not in self._callees:
            self._callees[hook] = _direct(getattr(self._hooks, hook))
        return self._callees[hook]

    def _awaitable(self, hook: str, **arguments: Any) -> Awaitable[Any]:
        result = self._call(hook, **arguments)
        if not inspect.isawaitable(result):
            raise self._broken(hook, "is not a coroutine function")
        return result

    def _broken(self, hook: str, cause: str) -> ContractViolation:
        return ContractViolation(self.id, hook, cause)

    def _checked(self, result: Any, recipients: tuple[str, ...]) -> tuple[Outcome, ...]:
        given = tuple(result) if isinstance(result, Sequence) else ()
        if all(_credible(outcome) for outcome in given) and tuple(each.recipient for each in given) == recipients:
            return given
        if self._strict:
            raise self._broken("connector_send", "gave no outcome for each recipient in their order")
        logger.error("connector %s gave no outcome for each recipient in their order", self.id)
        return _salvaged(given, recipients)


def _direct(caller: pluggy.HookCaller) -> Callable[..., Any] | None:
    """What calls the implementation of a hook; pluggy takes as long for the only one as a short webhook takes."""
    implementations = caller.get_hookimpls()
    if not implementations:
        return None
    only = implementations[0]
    if len(implementations) > 1 or only.wrapper or only.hookwrapper:
        return caller
    function, names = only.function, only.argnames
    return lambda **arguments: function(*[arguments[name] for name in names])


def _credible(outcome: object) -> bool:
    """Whether it is an outcome that a connector can give: suppressed is what the gate alone says."""
    return type(outcome) is Outcome and outcome.state is not State.SUPPRESSED


def _salvaged(given: Iterable[Any], recipients: tuple[str, ...]) -> tuple[Outcome, ...]:
    """What can be believed of a faulty result: the one outcome that names a recipient; the others are in doubt."""
    named: dict[str, set[Outcome]] = {}
    for outcome in given:
        if _credible(outcome):
            named.setdefault(outcome.recipient, set()).add(outcome)
    believed = {recipient: outcomes.pop() for recipient, outcomes in named.items() if len(outcomes) == 1}
    doubt = _in_doubt(recipients, "gave no outcome for this recipient")
    return tuple(believed.get(outcome.recipient, outcome) for outcome in doubt)


def _in_doubt(recipients: Iterable[str], what: str) -> tuple[Outcome, ...]:
    unknown = Outcome(
        recipient="",
        state=State.UNKNOWN,
        reason="contract_violation",
        hint=f"The connector {what}; it may have handed the message over. Tell its author.",
        scope=Scope.MESSAGE,
    )
    return tuple(attrs.evolve(unknown, recipient=recipient) for recipient in recipients)


def refused(recipients: Iterable[str], why: str) -> tuple[Outcome, ...]:
    """The outcomes of a batch that asks for what the connector cannot do: nothing was handed over."""
    refusal = Outcome(
        recipient="",
        state=State.REJECTED,
        stage="plan",
        reason="unsupported",
        hint=f"{why}.",
        scope=Scope.MESSAGE,
        retry=Retry.OTHER,
    )
    return tuple(attrs.evolve(refusal, recipient=recipient) for recipient in recipients)


def _name(error: Exception) -> str:
    return str(error) if isinstance(error, Crashed) else type(error).__name__


def _failed_step(info: ConnectorInfo, error: Exception) -> Step:
    diagnosis = Diagnosis(
        code="connector_failed",
        title=f"{info.title} failed",
        cause="The connector itself has a fault; this says nothing about your settings.",
        evidence=_name(error),
        fixes=("Update the package, and tell its author.",),
    )
    return Step(id="connector", title="Connector", status=Status.FAIL, summary=diagnosis.title, diagnosis=diagnosis)
