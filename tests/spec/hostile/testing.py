"""Hostile connectors: what they do wrong when they are tested."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import attrs

from genie_connect import (
    Diagnosis,
    Scope,
    Status,
    Step,
    hookimpl,
)
from genie_connect.http import TransportError
from genie_connect.model.frozen import FrozenMap
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails


class Tests(Honest):
    """Spoils its steps."""

    def spoilt(self, step: Step) -> Step:
        """A step, spoilt."""
        return step

    async def asked(self, state: Any, context: Any) -> Any:
        """The honest steps, spoilt."""
        async for step in super().asked(state, context):
            yield self.spoilt(step)


@fails("GC-TEST-002", "GC-TEST-003")
class AlwaysSendsATest(Honest):
    """Sends a message to see whether it can."""

    async def asked(self, state: Any, context: Any) -> Any:
        """One to somebody."""
        with suppress(TransportError):
            await state.client.request("POST", "/send", content=b"{}", timeout_s=context.remaining_s())
        async for step in super().asked(state, context):
            yield step


@fails("GC-TEST-004")
class CallsItSomethingElse(Tests):
    """Has another word for credentials that are refused."""

    def spoilt(self, step: Step) -> Step:
        """An error."""
        return (
            step if step.diagnosis is None else attrs.evolve(step, diagnosis=attrs.evolve(step.diagnosis, code="oops"))
        )


@fails("GC-TEST-005", "GC-TEST-021")
class LeadsToNoSetting(Tests):
    """Names a setting that there is not."""

    def spoilt(self, step: Step) -> Step:
        """Some field."""
        return step if step.diagnosis is None else attrs.evolve(step, diagnosis=attrs.evolve(step.diagnosis, field="x"))


@fails("GC-TEST-011")
class NothingToDo(Tests):
    """Has no advice."""

    def spoilt(self, step: Step) -> Step:
        """No fixes."""
        return step if step.diagnosis is None else attrs.evolve(step, diagnosis=attrs.evolve(step.diagnosis, fixes=()))


@fails("GC-TEST-013")
class NewNames(Tests):
    """Has other ids each time."""

    def spoilt(self, step: Step) -> Step:
        """A new id."""
        return attrs.evolve(step, id=f"{step.id}-{time.monotonic_ns()}")


@fails("GC-TEST-014")
class NoSummary(Tests):
    """Says OK and nothing else."""

    def spoilt(self, step: Step) -> Step:
        """Nothing."""
        return attrs.evolve(step, summary="")


@fails("GC-TEST-015")
class ShowsObjects(Tests):
    """Has facts that are no data."""

    def spoilt(self, step: Step) -> Step:
        """An object."""
        return attrs.evolve(step, facts=FrozenMap({"thing": Scope.MESSAGE.__class__}))


@fails("GC-TEST-009")
class AllAtOnce(Honest):
    """Tells its steps at the end."""

    @hookimpl
    async def connector_test(self, settings: Any, context: Any) -> Any:
        """When all are there."""
        steps = [step async for step in Honest.connector_test(self, settings, context)]
        for step in steps:
            yield step


@fails("GC-TEST-007")
class GoesOn(Honest):
    """Goes on after a failure."""

    @hookimpl
    async def connector_test(self, settings: Any, context: Any) -> Any:
        """And says that all is well."""
        async for step in Honest.connector_test(self, settings, context):
            yield step
        yield Step(id="end", title="End", status=Status.OK, summary="done")


@fails("GC-TEST-016")
class NeedsASender(Honest):
    """Fails without a default From."""

    async def asked(self, state: Any, context: Any) -> Any:
        """It wants one."""
        if context.default_from is None:
            diagnosis = Diagnosis(code="no_from", title="No From", cause="none", fixes=("Give one.",))
            yield Step(id="from", title="From", status=Status.FAIL, summary="none", diagnosis=diagnosis)
            return
        async for step in super().asked(state, context):
            yield step


@fails("GC-TEST-001")
class AlwaysFails(Tests):
    """Finds something wrong where nothing is."""

    def spoilt(self, step: Step) -> Step:
        """A failure."""
        diagnosis = Diagnosis(code="odd", title="Odd", cause="a feeling", fixes=("Wait.",), field="api_key")
        return attrs.evolve(step, status=Status.FAIL, diagnosis=diagnosis)


@fails("GC-TEST-006", "GC-TEST-007", "GC-TEST-011")
class NotFoundOut(Honest):
    """Does not say that nobody is there."""

    @hookimpl
    async def connector_test(self, settings: Any, context: Any) -> Any:
        """All is well, until it connects."""
        async for step in Honest.connector_test(self, settings, context):
            if step.id == "connect" and step.status is Status.FAIL:
                return
            yield step


@fails("GC-TEST-008")
class WaitsForEver(Honest):
    """Has no deadline for its test."""

    async def asked(self, state: Any, context: Any) -> Any:
        """Sixty seconds."""
        later = attrs.evolve(context, deadline=context.clock.monotonic() + 60.0)
        async for step in super().asked(state, later):
            yield step


@fails("GC-TEST-010")
class ReadsNoAnswer(Tests):
    """Takes any answer for the right one."""

    def spoilt(self, step: Step) -> Step:
        """Nonsense is as good."""
        if step.diagnosis is None or step.diagnosis.code != "http_protocol":
            return step
        return attrs.evolve(step, status=Status.OK, diagnosis=None)


@fails("GC-TEST-012")
class ExplainsSuccess(Tests):
    """Has a diagnosis for what passed."""

    def spoilt(self, step: Step) -> Step:
        """All is well, because."""
        diagnosis = Diagnosis(code="fine", title="Fine", cause="all is well", fixes=("Nothing.",))
        return step if step.diagnosis else attrs.evolve(step, diagnosis=diagnosis)


@fails("GC-TEST-017", "GC-TEST-018")
class KeepsTalking(Honest):
    """Keeps the connection of its test."""

    kept: list[Any] = []

    @hookimpl
    async def connector_test(self, settings: Any, context: Any) -> Any:
        """With another one beside, for ever."""
        place = urlsplit(settings.base_url)
        with suppress(OSError):
            self.kept.append(socket.create_connection((place.hostname, place.port)))
        async for step in Honest.connector_test(self, settings, context):
            yield step


@fails("GC-TEST-020")
class SwallowsInTest(Honest):
    """Takes a cancellation for a failed step."""

    @hookimpl
    async def connector_test(self, settings: Any, context: Any) -> Any:
        """As if it were one."""
        diagnosis = Diagnosis(code="cut", title="Cut off", cause="it was cancelled", fixes=("Try again.",))
        try:
            async for step in Honest.connector_test(self, settings, context):
                yield step
        except asyncio.CancelledError:
            yield Step(id="end", title="End", status=Status.FAIL, summary="cut off", diagnosis=diagnosis)
