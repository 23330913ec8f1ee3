"""What a check works with: the connector, its settings and its provider, and the calls that a host would make.

The hooks are called as the host calls them, but nothing of what they do wrong is put right on the way.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import attrs

from genie_connect.clock import SystemClock
from genie_connect.contract import ConnectorInfo, Kind, Quality, Runtime, SendContext, TestContext
from genie_connect.errors import SecretUnavailable, SettingsError
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable, Level
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.secret import Secret
from genie_connect.model.settings import structure_settings
from genie_connect.registry.finding import EntryPoint, installed
from genie_connect.registry.handle import ConnectorHandle
from genie_connect.registry.loader import Failure, Loaded, examine, load_all
from genie_connect_spec.kit import letters, traffic
from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.check import NotApplicable, needs
from genie_connect_spec.kit.guard import Guard
from genie_connect_spec.kit.provider import HandedOver, Provider
from genie_connect_spec.kit.running import within

if TYPE_CHECKING:
    from genie_connect_spec.kit.connector_contract import ConnectorContract

DEADLINE_S: Final = 10.0
"""The deadline of a send that is to succeed."""
SHORT_S: Final = 0.4
"""The deadline of a send that is to meet silence."""
GRACE_S: Final = 5.0
"""How much later than its deadline a connector is still waited for, on a busy machine."""
CONNECTION: Final = "kit"


class Rig:
    """One connector under one check."""

    def __init__(self, contract: ConnectorContract, settings: Mapping[str, Any], provider: Provider | None) -> None:
        self.contract = contract
        self.data = dict(settings)
        self._provider = provider
        self.clock = SystemClock()
        allowed = [(provider.host, provider.port)] if provider else []
        self.guard = Guard(allowed, spares=lambda thread: provider is not None and provider.knows(thread))
        self.attempts = 0

    # What it is

    @cached_property
    def entry_points(self) -> tuple[EntryPoint, ...]:
        """The entry points of that id; none for a plug-in that was given as an object."""
        if self.contract.plugin is not None:
            return ()
        known = self.contract.probes
        if "entry points" not in known:
            known["entry points"] = tuple(each for each in installed() if each.name == self.contract.connector)
        found: tuple[EntryPoint, ...] = known["entry points"]
        return found

    @cached_property
    def examined(self) -> Loaded | Failure:
        """The connector, or why it cannot be loaded."""
        known = self.contract.probes
        if "examined" not in known:
            known["examined"] = self._examined()
        examined: Loaded | Failure = known["examined"]
        return examined

    def _examined(self) -> Loaded | Failure:
        if self.contract.plugin is not None:
            return examine(self.contract.connector, self.contract.plugin)
        loaded, failures = load_all(self.entry_points, safe_mode=False)
        if loaded:
            return loaded[0]
        if failures:
            return failures[0]
        return Failure(
            connector=self.contract.connector,
            distribution="",
            version="",
            stage="name",
            reason="no installed package offers a connector of this id",
            hint="install the package, with pip install -e while you work on it",
        )

    @cached_property
    def loaded(self) -> Loaded:
        """The connector. Where it cannot be loaded, no check but those of discovery says anything."""
        examined = self.examined
        if isinstance(examined, Loaded):
            return examined
        raise NotApplicable(f"the connector cannot be loaded ({examined.stage}: {examined.reason})")

    @property
    def info(self) -> ConnectorInfo:
        """What the connector says that it is."""
        return self.loaded.info

    @property
    def stated(self) -> str:
        """The quality that its package states."""
        examined = self.examined
        return examined.info.quality.value if isinstance(examined, Loaded) else Quality.NONE.value

    @property
    def hooks(self) -> Any:
        """Its hooks."""
        return self.loaded.manager.hook

    def has(self, hook: str) -> bool:
        """Whether it has an optional hook."""
        return bool(getattr(self.hooks, hook).get_hookimpls())

    def function(self, hook: str) -> Any:
        """The function behind a hook."""
        (implementation,) = getattr(self.hooks, hook).get_hookimpls()
        return implementation.function

    def handle(self) -> ConnectorHandle:
        """The connector as a host has it."""
        loaded = self.loaded
        return ConnectorHandle(loaded.manager, loaded.info, distribution="kit", version="0", strict=True)

    # How it is set up

    @cached_property
    def settings(self) -> Any:
        """Its settings, checked."""
        return self.structured(self.data)

    def structured(self, data: Mapping[str, Any]) -> Any:
        """Settings of other data."""
        return structure_settings(self.info.settings_class, data, connector=self.info.id)

    @cached_property
    def canaries(self) -> tuple[str, ...]:
        """The secrets of the settings, which may come to light nowhere."""
        found = []
        for field in attrs.fields(type(self.settings)):
            value = getattr(self.settings, field.name)
            for secret in value if isinstance(value, tuple) else (value,):
                if isinstance(secret, Secret):
                    try:
                        found.append(secret.reveal())
                    except SecretUnavailable:
                        continue
        return tuple(secret for secret in found if len(secret) >= 6)

    @cached_property
    def table(self) -> CapabilityTable:
        """What it declares with these settings."""
        table = self.hooks.connector_capabilities(settings=self.settings)
        assert isinstance(table, CapabilityTable), "connector_capabilities returned no CapabilityTable"
        return table

    def declares(self, name: str) -> bool:
        """Whether it says that it carries that itself."""
        return self.table[name].level in (Level.YES, Level.CONDITIONAL)

    @property
    def provider(self) -> Provider:
        """The kit's provider."""
        needs(self._provider, "the contract names no provider_kind, so there is nothing to send to")
        assert self._provider is not None
        return self._provider

    @property
    def faults(self) -> Sequence[str]:
        """Where the author's own part of the provider failed."""
        return getattr(self._provider, "faults", ())

    @property
    def kind(self) -> Kind:
        """How it reaches its provider."""
        return self.info.kind

    def misbehave(self, behaviour: Behaviour, *, everywhere: bool = False) -> None:
        """Have the provider misbehave, where its protocol can do so."""
        needs(self.provider.can(behaviour), f"{behaviour.value} is nothing that this protocol knows")
        self.provider.behave(behaviour, everywhere=everywhere)

    def reset(self) -> None:
        """As it was before anything was tried."""
        self.guard.forget()
        self.attempts = 0
        if self._provider is not None:
            self._provider.behave()
            self._provider.forget()

    # What a host does with it

    @asynccontextmanager
    async def opened(self, settings: Any = None) -> AsyncIterator[Any]:
        """The state of an open connection, closed at the end."""
        state = await self.open(settings)
        try:
            yield state
        finally:
            await self.close(state)

    async def open(self, settings: Any = None) -> Any:
        """Call connector_open."""
        runtime = Runtime(connection=CONNECTION, default_from=Address.parse(letters.SENDER), clock=self.clock)
        work = self.hooks.connector_open(settings=self.settings if settings is None else settings, runtime=runtime)
        return await within(DEADLINE_S, awaited(work, "connector_open"), "connector_open")

    async def close(self, state: Any) -> None:
        """Call connector_close."""
        work = self.hooks.connector_close(state=state)
        await within(DEADLINE_S, awaited(work, "connector_close"), "connector_close")

    def context(self, deadline_s: float = DEADLINE_S, *, key: str | None = None) -> SendContext:
        """A new attempt."""
        self.attempts += 1
        deadline = self.clock.monotonic() + deadline_s
        return SendContext(attempt_id=f"kit-{self.attempts}", deadline=deadline, idempotency_key=key, clock=self.clock)

    async def raw_send(self, state: Any, batch: Batch, context: SendContext | None = None) -> Any:
        """Call connector_send; what it returns, as it is."""
        context = context or self.context()
        work = self.hooks.connector_send(state=state, batch=batch, context=context)
        limit = context.remaining_s() + GRACE_S
        return await within(limit, awaited(work, "connector_send"), "connector_send")

    async def send(self, state: Any, batch: Batch, context: SendContext | None = None) -> tuple[Outcome, ...]:
        """The same, and what it returns is one outcome for each recipient."""
        result = await self.raw_send(state, batch, context)
        assert isinstance(result, Sequence), f"connector_send returned {type(result).__name__}, not a sequence"
        outcomes = tuple(result)
        assert all(type(each) is Outcome for each in outcomes), "connector_send returned what is no Outcome"
        found = [outcome.recipient for outcome in outcomes]
        expected = [address.email for address in batch.recipients]
        assert found == expected, f"outcomes are for {found}, recipients are {expected}, in this order"
        return outcomes

    async def deliver(self, message: Message, copies: Iterable[letters.Copy] = (), **context: Any) -> HandedOver:
        """Send a message that has to be accepted; what left for it."""
        async with self.opened() as state:
            return await self.deliver_with(state, message, copies, **context)

    async def refusal(self, message: Message) -> Outcome | None:
        """Send a message that a provider may have no place for; how it was refused, or nothing where it was taken.

        Refused is what the outcome calls ``unsupported`` before anything left. Raises ``AssertionError`` for
        anything between the two.
        """
        async with self.opened() as state:
            outcomes = await self.send(state, await letters.batch_of(message))
        if all(outcome.state is State.ACCEPTED for outcome in outcomes):
            return None
        first = outcomes[0]
        honest = all(each.state is State.REJECTED and each.reason == "unsupported" for each in outcomes)
        assert honest, f"it is neither accepted nor refused as unsupported: {first}"
        assert not self.provider.handed_over, "it is refused as unsupported, and was handed over"
        assert not any(each.suppress for each in outcomes), "it is refused as unsupported, and somebody is suppressed"
        assert first.text or first.hint, "it is refused as unsupported, and nothing says what is"
        return first

    async def deliver_with(
        self, state: Any, message: Message, copies: Iterable[letters.Copy] = (), **context: Any
    ) -> HandedOver:
        """The same over an open connection. Several hand-overs of one batch are taken together."""
        before = len(self.provider.handed_over)
        batch = await letters.batch_of(message, copies)
        outcomes = await self.send(state, batch, self.context(**context))
        refused = [outcome for outcome in outcomes if outcome.state is not State.ACCEPTED]
        assert not refused, f"the provider took it, and the outcome is {refused[0]}"
        left = self.provider.handed_over[before:]
        assert left, "the outcome is accepted, and nothing was handed over"
        return HandedOver(
            content=b"\r\n".join(each.content for each in left) if len(left) > 1 else left[0].content,
            envelope_from=left[0].envelope_from,
            recipients=tuple(recipient for each in left for recipient in each.recipients),
        )

    def times_handed_to(self, recipient: str) -> int:
        """How many hand-overs name them, in the envelope or in what left."""
        left = self.provider.handed_over
        return sum(recipient in each.recipients or traffic.holds(each.content, recipient) for each in left)

    async def outcome(self, behaviour: Behaviour, *, deadline_s: float = DEADLINE_S) -> Outcome:
        """The outcome of a small message at a provider that behaves like this."""
        self.misbehave(behaviour)
        async with self.opened() as state:
            batch = await letters.batch_of(letters.letter())
            (outcome,) = await self.send(state, batch, self.context(deadline_s))
        return outcome

    async def steps(
        self,
        settings: Any = None,
        *,
        deadline_s: float = DEADLINE_S,
        send_to: str | None = None,
        default_from: str | None = letters.SENDER,
    ) -> list[Step]:
        """All steps of connector_test."""
        steps: list[Step] = []

        async def collect() -> None:
            generator = self.generator(settings, deadline_s=deadline_s, send_to=send_to, default_from=default_from)
            try:
                # One by one: those that came are there also where the next one hangs.
                async for step in generator:
                    steps.append(step)  # noqa: PERF401
            finally:
                await generator.aclose()

        await within(deadline_s + GRACE_S, collect(), "connector_test")
        assert all(isinstance(step, Step) for step in steps), "connector_test gave what is no Step"
        return steps

    def generator(
        self,
        settings: Any = None,
        *,
        deadline_s: float = DEADLINE_S,
        send_to: str | None = None,
        default_from: str | None = letters.SENDER,
    ) -> Any:
        """The async generator that connector_test gives."""
        context = TestContext(
            connection=CONNECTION,
            deadline=self.clock.monotonic() + deadline_s,
            default_from=None if default_from is None else Address.parse(default_from),
            send_to=None if send_to is None else Address.parse(send_to),
            clock=self.clock,
        )
        given = self.hooks.connector_test(settings=self.settings if settings is None else settings, context=context)
        assert inspect.isasyncgen(given), "connector_test returned no async generator: write it with yield"
        return given


def awaited(work: Any, hook: str) -> Any:
    """What a hook has to give to be awaited."""
    assert inspect.isawaitable(work), f"{hook} is not a coroutine function: write it with async def"
    return work


def failed(steps: Iterable[Step]) -> Step:
    """The step that failed."""
    found = next((step for step in steps if step.status is Status.FAIL), None)
    assert found is not None, "no step failed"
    return found


async def turn() -> None:
    """Let everything that is ready on this loop run."""
    for _ in range(5):
        await asyncio.sleep(0)


__all__ = ["DEADLINE_S", "GRACE_S", "SHORT_S", "Rig", "SettingsError", "awaited", "failed", "turn"]
