"""Calling a connector: whatever it does, each recipient has an outcome and the host goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from genie_connect import (
    Batch,
    CapabilityTable,
    ContractViolation,
    Event,
    EventKind,
    Outcome,
    Registry,
    Retry,
    Runtime,
    SendContext,
    SettingsError,
    State,
    Status,
    Step,
    TestContext,
    WebhookRejected,
    WebhookRequest,
    hookimpl,
    setting,
    settings,
)
from genie_connect.model.capability import no, yes
from genie_connect.registry import ConnectorHandle, handle, isolation
from tests.support.clock import FakeClock
from tests.support.connector import ScriptedConnector, accepted, batch_of, deferred, letter

ADA, BOB, CY = "ada@example.com", "bob@example.com", "cy@example.com"


class PanicException(BaseException):
    """What PyO3 raises where native code failed."""


class Hostile(Exception):
    """An error of a connector; its text may hold a secret."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets time beyond the deadline here."""
    monkeypatch.setattr(handle, "GRACE_S", 0.0)
    monkeypatch.setattr(handle, "OPEN_TIMEOUT_S", 0.01)
    monkeypatch.setattr(isolation, "CLEAN_UP_S", 0.01)


def registered(connector: Any, *, strict: bool = False) -> ConnectorHandle:
    """Its handle."""
    return Registry(strict=strict).register(connector.id, connector)


def context(*, remaining_s: float = 30.0) -> SendContext:
    """An attempt with so much time."""
    clock = FakeClock()
    return SendContext(attempt_id="1", deadline=clock.monotonic() + remaining_s, clock=clock)


async def sent(
    send: Callable[[Batch, SendContext], Awaitable[Any]], *, strict: bool = False, remaining_s: float = 30.0
) -> tuple[Outcome, ...]:
    """The outcomes of Ada, Bob and Cy where the connector sends so."""
    connector = ScriptedConnector()
    connector.sends_with(send)
    made = registered(connector, strict=strict)
    batch = await batch_of(letter(ADA, BOB, CY))
    state = await made.open(None, Runtime(connection="c"))
    outcomes = await made.send(state, batch, context(remaining_s=remaining_s), made.capabilities())
    assert [outcome.recipient for outcome in outcomes] == [ADA, BOB, CY]
    return outcomes


def answering(result: Callable[[Batch], Any]) -> Callable[[Batch, SendContext], Awaitable[Any]]:
    """A sender that returns this."""

    async def send(batch: Batch, context: SendContext) -> Any:
        return result(batch)

    return send


def raising(error: BaseException) -> Callable[[Batch, SendContext], Awaitable[Any]]:
    """A sender that raises this."""

    async def send(batch: Batch, context: SendContext) -> Any:
        raise error

    return send


def for_all(batch: Batch, outcome: Outcome) -> list[Outcome]:
    """The same outcome for everybody."""
    return [attrs.evolve(outcome, recipient=address.email) for address in batch.recipients]


class Words(Sequence[Any]):
    """A sequence that fails when it is read."""

    def __len__(self) -> int:
        raise PanicException("len")

    def __getitem__(self, index: Any) -> Any:
        raise PanicException("item")


class Unusable:
    """Looks like a list and is none."""

    def __getattr__(self, name: str) -> Any:
        raise Hostile(name)


class Lookalike:
    """Has all that an outcome has, and is none."""

    recipient = ADA
    state = State.ACCEPTED
    retry = Retry.NEVER


WRONG_RESULTS: dict[str, Callable[[Batch], Any]] = {
    "nothing": lambda batch: None,
    "a word": lambda batch: "ok",
    "a number": lambda batch: 250,
    "true": lambda batch: True,
    "empty": lambda batch: [],
    "a dict": lambda batch: {address.email: accepted() for address in batch.recipients},
    "words": lambda batch: ["accepted"] * 3,
    "lookalikes": lambda batch: [Lookalike()] * 3,
    "a sequence that fails": lambda batch: Words(),
    "no list": lambda batch: Unusable(),
    "other recipients": lambda batch: [attrs.evolve(accepted(), recipient=f"x{n}@example.com") for n in range(3)],
    "a single outcome": lambda batch: accepted(),
    "suppressed, which only the gate may say": lambda batch: for_all(
        batch, Outcome(recipient="", state=State.SUPPRESSED)
    ),
}


class TestSend:
    """``connector_send``: once it has been called, something may have left."""

    async def test_the_outcomes_come_back_as_they_are(self) -> None:
        """In the order of the recipients."""
        outcomes = await sent(
            answering(lambda batch: [*for_all(batch, accepted())[:2], *for_all(batch, deferred())[2:]])
        )
        assert [outcome.state for outcome in outcomes] == [State.ACCEPTED, State.ACCEPTED, State.DEFERRED]

    @pytest.mark.parametrize(
        "error",
        [
            Hostile("key sk_live_1"),
            SystemExit(3),
            PanicException("native"),
            GeneratorExit(),
            asyncio.CancelledError(),
            TimeoutError(),
            StopAsyncIteration(),
            RecursionError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_whatever_it_raises_everybody_is_in_doubt(self, error: BaseException) -> None:
        """The message may have left before. The text of the error, which may hold a secret, is not repeated."""
        for outcome in await sent(raising(error)):
            assert outcome.state is State.UNKNOWN
            assert outcome.reason == "contract_violation"
            assert outcome.retry is Retry.NEVER
            assert "sk_live_1" not in str(outcome)

    async def test_an_interruption_is_passed_on(self) -> None:
        """``called`` is what every hook goes through; a task hands an interruption to its loop by itself."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            isolation.called(interrupt)

    @pytest.mark.parametrize("kind", WRONG_RESULTS)
    async def test_a_wrong_result_leaves_everybody_in_doubt(self, kind: str) -> None:
        """Nobody is lost, and nobody counts as accepted or may be tried again."""
        for outcome in await sent(answering(WRONG_RESULTS[kind])):
            assert outcome.state is State.UNKNOWN
            assert outcome.retry is Retry.NEVER

    async def test_who_is_named_is_believed_and_the_others_are_in_doubt(self) -> None:
        """Too few outcomes, too many, or in another order: each names its recipient."""

        def result(batch: Batch) -> list[Outcome]:
            ada, bob, _ = for_all(batch, accepted())
            return [attrs.evolve(bob, state=State.REJECTED), ada, attrs.evolve(ada, recipient="eve@example.com")]

        outcomes = await sent(answering(result))
        assert [outcome.state for outcome in outcomes] == [State.ACCEPTED, State.REJECTED, State.UNKNOWN]

    async def test_two_outcomes_that_disagree_are_a_doubt(self) -> None:
        """Accepted and deferred at once: a second try could be a second copy."""

        def result(batch: Batch) -> list[Outcome]:
            return [*for_all(batch, accepted()), *for_all(batch, deferred())[:1]]

        outcomes = await sent(answering(result))
        assert [outcome.state for outcome in outcomes] == [State.UNKNOWN, State.ACCEPTED, State.ACCEPTED]

    async def test_a_connector_that_hangs_is_cut_off(self) -> None:
        """And leaves no task behind."""
        ended = asyncio.Event()

        async def send(batch: Batch, context: SendContext) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        outcomes = await sent(send, remaining_s=0.01)
        assert {outcome.state for outcome in outcomes} == {State.UNKNOWN}
        assert "deadline" in (outcomes[0].hint or "")
        assert ended.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_an_answer_given_while_being_cut_off_counts(self) -> None:
        """Better than a doubt: the connector noted what it knew when its time was up."""

        async def send(batch: Batch, context: SendContext) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return for_all(batch, accepted())

        assert {outcome.state for outcome in await sent(send, remaining_s=0.01)} == {State.ACCEPTED}

    async def test_a_connector_that_swallows_cancellation_holds_nobody_up(self) -> None:
        """It is left behind, and logged."""
        let_go = asyncio.Event()
        tasks: list[asyncio.Task[Any] | None] = []

        async def send(batch: Batch, context: SendContext) -> Any:
            tasks.append(asyncio.current_task())
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            raise Hostile("much later")

        assert {outcome.state for outcome in await sent(send, remaining_s=0.01)} == {State.UNKNOWN}
        let_go.set()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)

    async def test_the_hosts_own_cancellation_reaches_the_connector(self) -> None:
        """It may clean up, and the host's task is cancelled as it asked for."""
        started, cleaned_up = asyncio.Event(), asyncio.Event()

        async def send(batch: Batch, context: SendContext) -> Any:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned_up.set()

        task = asyncio.create_task(sent(send))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned_up.is_set()

    async def test_a_plain_function_is_a_violation(self) -> None:
        """It has done its work before it could be awaited, so everybody is in doubt."""

        class Plain(ScriptedConnector):
            @hookimpl
            def connector_send(self, batch: Batch) -> Any:  # type: ignore[override]  # not async
                return for_all(batch, accepted())

        made = registered(Plain())
        outcomes = await made.send(None, await batch_of(letter()), context(), made.capabilities())
        assert [outcome.state for outcome in outcomes] == [State.UNKNOWN]

    async def test_a_plain_function_that_exits_ends_nothing(self) -> None:
        """Hooks are called in the host's own task."""

        class Exits(ScriptedConnector):
            @hookimpl
            def connector_send(self) -> Any:  # type: ignore[override]  # not async
                sys.exit(1)

        made = registered(Exits())
        outcomes = await made.send(None, await batch_of(letter()), context(), made.capabilities())
        assert [outcome.state for outcome in outcomes] == [State.UNKNOWN]

    async def test_a_batch_cannot_be_changed(self) -> None:
        """Not by assignment; and emptying it by force does not lose its recipients."""

        async def send(batch: Batch, context: SendContext) -> Any:
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                batch.deliveries = ()  # type: ignore[misc]  # what is tried
            object.__setattr__(batch, "deliveries", ())
            return []

        assert {outcome.state for outcome in await sent(send)} == {State.UNKNOWN}

    @pytest.mark.parametrize(
        "send",
        [
            raising(Hostile("x")),
            raising(PanicException("x")),
            answering(lambda batch: []),
            answering(lambda batch: for_all(batch, Outcome(recipient="", state=State.SUPPRESSED))),
        ],
    )
    async def test_strict_raises(self, send: Any) -> None:
        """For development and CI."""
        with pytest.raises((Hostile, isolation.Crashed, ContractViolation)):
            await sent(send, strict=True)

    async def test_strict_raises_for_a_hang(self) -> None:
        """A deadline that is not kept is a violation as well."""

        async def send(batch: Batch, context: SendContext) -> Any:
            await asyncio.Event().wait()

        with pytest.raises(ContractViolation, match="deadline"):
            await sent(send, strict=True, remaining_s=0.01)

    async def test_what_the_table_does_not_offer_never_reaches_the_connector(self) -> None:
        """Refused before any I/O; another connection may be able to."""
        connector = ScriptedConnector(capabilities=[yes("send.transactional"), no("send.html")])
        made = registered(connector)
        batch = await batch_of(letter(ADA, BOB, html="<p>Hi</p>"))
        outcomes = await made.send(None, batch, context(), made.capabilities())
        assert {(outcome.state, outcome.retry) for outcome in outcomes} == {(State.REJECTED, Retry.OTHER)}
        assert "send.html" in (outcomes[0].hint or "")
        assert connector.calls == []


class TestOpenAndClose:
    """The life of a connection's state."""

    async def test_an_open_that_hangs_ends(self) -> None:
        """It is said to have broken the contract: opening is no time to reach the provider."""

        class Hangs(ScriptedConnector):
            @hookimpl
            async def connector_open(self) -> Any:  # type: ignore[override]  # without arguments
                await asyncio.Event().wait()

        with pytest.raises(ContractViolation, match="connector_open"):
            await registered(Hangs()).open(None, Runtime(connection="c"))

    @pytest.mark.parametrize("error", [Hostile("x"), SystemExit(1), PanicException("x"), asyncio.CancelledError()])
    async def test_an_open_that_fails_raises_an_exception(self, error: BaseException) -> None:
        """Nothing else: the attempt loop turns it into outcomes."""

        class Fails(ScriptedConnector):
            @hookimpl
            async def connector_open(self) -> Any:  # type: ignore[override]  # without arguments
                raise error

        with pytest.raises((Hostile, isolation.Crashed)):
            await registered(Fails()).open(None, Runtime(connection="c"))

    @pytest.mark.parametrize("error", [Hostile("x"), SystemExit(1), PanicException("x"), asyncio.CancelledError()])
    async def test_a_close_that_fails_is_logged(self, error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
        """There is nobody left to tell."""

        class Fails(ScriptedConnector):
            @hookimpl
            async def connector_close(self) -> None:
                raise error

        await registered(Fails()).close(None)
        assert "failed to close" in caplog.text

    async def test_a_close_that_hangs_ends(self, caplog: pytest.LogCaptureFixture) -> None:
        """A host can always end."""

        class Hangs(ScriptedConnector):
            @hookimpl
            async def connector_close(self) -> None:
                await asyncio.Event().wait()

        await registered(Hangs()).close(None)
        assert "failed to close" in caplog.text


class TestDeclarations:
    """Pure hooks."""

    @pytest.mark.parametrize(
        "result",
        [None, {}, CapabilityTable(connector="other"), Hostile("x"), SystemExit(1), PanicException("x")],
        ids=repr,
    )
    def test_a_table_that_is_none_is_a_violation(self, result: Any) -> None:
        """Raised or returned, of another connector or of another type."""

        class Wrong(ScriptedConnector):
            @hookimpl
            def connector_capabilities(self) -> Any:
                if isinstance(result, BaseException):
                    raise result
                return result

        with pytest.raises(ContractViolation, match="connector_capabilities"):
            registered(Wrong()).capabilities()

    def test_a_state_that_does_not_say_what_it_supports(self) -> None:
        """An effective table that cannot be had is as good as none."""

        class State:
            @property
            def capabilities(self) -> Any:
                raise PanicException("asked")

        class OfAnother:
            capabilities = CapabilityTable(connector="other")

        made = registered(ScriptedConnector())
        assert made.effective(State()) is None
        assert made.effective(OfAnother()) is None
        assert made.effective(None) is None

    @pytest.mark.parametrize("error", [Hostile("pw"), SystemExit(1), PanicException("x")])
    def test_settings_whose_own_check_fails_are_a_violation(self, error: BaseException) -> None:
        """The check is a stranger's code too; its text is not repeated, it may hold what was checked."""

        def check(value: str) -> str | None:
            raise error

        @settings
        class Checked:
            region: str = setting(title="Region", default="eu", check=check)

        class Wrong(ScriptedConnector):
            @hookimpl
            def connector_info(self) -> Any:
                return attrs.evolve(self.info, settings_class=Checked)

        made = registered(Wrong())
        with pytest.raises(ContractViolation) as raised:
            made.settings({"region": "us"})
        assert "pw" not in str(raised.value)

    def test_wrong_settings_name_every_field(self) -> None:
        """All at once."""
        with pytest.raises(SettingsError) as raised:
            registered(ScriptedConnector()).settings({"limit": "ten", "quick": "no", "colour": "red"})
        assert {problem.path for problem in raised.value.problems} == {"limit", "quick", "colour"}

    def test_optional_hooks_are_known(self) -> None:
        """Present or not."""
        made = registered(ScriptedConnector())
        assert made.has("connector_send")
        assert not made.has("connector_lookup")


def tried(steps: Callable[[TestContext], Any]) -> ConnectorHandle:
    """A connector that is tested so."""

    class Tested(ScriptedConnector):
        @hookimpl
        def connector_test(self, context: TestContext) -> Any:
            return steps(context)

    return registered(Tested())


async def steps_of(made: ConnectorHandle, *, remaining_s: float = 30.0) -> list[Step]:
    """All steps of a test."""
    clock = FakeClock()
    asked = TestContext(connection="c", deadline=clock.monotonic() + remaining_s, clock=clock)
    return [step async for step in made.test(None, asked)]


GOOD_STEP = Step(id="connect", title="Connect", status=Status.OK)


class TestTest:
    """``connector_test``."""

    @pytest.mark.parametrize("error", [Hostile("pw"), SystemExit(1), PanicException("x"), asyncio.CancelledError()])
    async def test_a_test_that_raises_midway_ends_with_a_failed_step(self, error: BaseException) -> None:
        """After the steps that it had already given."""

        async def steps(context: TestContext) -> Any:
            yield GOOD_STEP
            raise error

        first, last = await steps_of(tried(steps))
        assert first == GOOD_STEP
        assert (last.status, last.id) == (Status.FAIL, "connector")
        assert last.diagnosis is not None
        assert "pw" not in str(last)

    @pytest.mark.parametrize("result", [None, [GOOD_STEP], 5])
    async def test_what_is_no_generator_is_a_failed_step(self, result: Any) -> None:
        """With the connector to blame, not the settings."""
        (step,) = await steps_of(tried(lambda context: result))
        assert step.status is Status.FAIL
        assert "connector itself" in step.diagnosis.cause  # type: ignore[union-attr]  # a failed step has one

    async def test_what_is_no_step_ends_the_test(self) -> None:
        """And the generator is closed."""
        closed = asyncio.Event()

        async def steps(context: TestContext) -> Any:
            try:
                yield GOOD_STEP
                yield "connected"
                yield GOOD_STEP
            finally:
                closed.set()

        found = await steps_of(tried(steps))
        assert [step.status for step in found] == [Status.OK, Status.FAIL]
        assert closed.is_set()

    async def test_a_test_that_hangs_ends(self) -> None:
        """At its deadline."""

        async def steps(context: TestContext) -> Any:
            yield GOOD_STEP
            await asyncio.Event().wait()

        found = await steps_of(tried(steps), remaining_s=0.01)
        assert [step.status for step in found] == [Status.OK, Status.FAIL]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_whoever_stops_listening_ends_the_test(self) -> None:
        """What it holds is released, and no task stays."""
        closed = asyncio.Event()

        async def steps(context: TestContext) -> Any:
            try:
                yield GOOD_STEP
                await asyncio.Event().wait()
            finally:
                closed.set()

        clock = FakeClock()
        running = tried(steps).test(None, TestContext(connection="c", deadline=clock.monotonic() + 30, clock=clock))
        assert await anext(running) == GOOD_STEP
        await running.aclose()  # type: ignore[attr-defined]  # an async generator
        assert closed.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_time_out_may_span_the_steps(self) -> None:
        """Steps run in one task from first to last, as ``asyncio.timeout`` needs."""

        async def steps(context: TestContext) -> Any:
            async with asyncio.timeout(30):
                yield GOOD_STEP
                yield GOOD_STEP

        assert await steps_of(tried(steps)) == [GOOD_STEP, GOOD_STEP]


REQUEST = WebhookRequest(method="POST", path="/", body=b"{}", received_at=datetime(2026, 11, 23, tzinfo=UTC))
EVENT = Event(id="1", kind=EventKind.DELIVERED, time=datetime(2026, 11, 23, tzinfo=UTC))


def parsing(parse: Callable[[], Any]) -> ConnectorHandle:
    """A connector that reads webhooks so."""

    class Parses(ScriptedConnector):
        @hookimpl
        def connector_parse_webhook(self) -> Any:
            return parse()

    return registered(Parses())


class TestWebhook:
    """``connector_parse_webhook``: fed by anybody on the internet."""

    @pytest.mark.parametrize(
        "error", [Hostile("x"), KeyError("x"), SystemExit(1), PanicException("x"), RecursionError(), UnicodeError()]
    )
    def test_whatever_it_raises_is_a_refusal(self, error: BaseException) -> None:
        """With a status for the answer; the cause is logged."""

        def parse() -> Any:
            raise error

        with pytest.raises(WebhookRejected) as raised:
            parsing(parse).parse_webhook(None, REQUEST)
        assert raised.value.status == 400

    def test_its_own_refusal_is_kept(self) -> None:
        """With its status."""

        def parse() -> Any:
            raise WebhookRejected("stale", status=403)

        with pytest.raises(WebhookRejected, match="stale") as raised:
            parsing(parse).parse_webhook(None, REQUEST)
        assert raised.value.status == 403

    @pytest.mark.parametrize("result", [None, 5, "event", [EVENT, "event"], {"id": EVENT}, [None]], ids=repr)
    def test_what_are_no_events_is_a_refusal(self, result: Any) -> None:
        """Nothing of it is passed on."""
        with pytest.raises(WebhookRejected):
            parsing(lambda: result).parse_webhook(None, REQUEST)

    def test_events_that_fail_while_being_read(self) -> None:
        """A generator raises only then."""

        def parse() -> Iterator[Event]:
            yield EVENT
            raise Hostile("x")

        with pytest.raises(WebhookRejected):
            parsing(parse).parse_webhook(None, REQUEST)

    def test_events_come_back(self) -> None:
        """As a tuple."""
        assert parsing(lambda: [EVENT]).parse_webhook(None, REQUEST) == (EVENT,)

    def test_a_connector_without_webhooks(self) -> None:
        """Not found."""
        with pytest.raises(WebhookRejected) as raised:
            registered(ScriptedConnector()).parse_webhook(None, REQUEST)
        assert raised.value.status == 404
