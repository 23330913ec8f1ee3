"""The blocking door: threads, interruptions, generators left half-way, and nothing that stays behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from genie_connect import (
    ConfigurationError,
    GenieConnectError,
    Message,
    NoConnection,
    Outcome,
    Registry,
    State,
    SyncHost,
    hookimpl,
)
from genie_connect.registry import handle
from tests.support.connector import ScriptedConnector, letter

ADA = "ada@example.com"
NEWS = Message(from_="shop@example.com", subject="News", text="All of it.")


def opened(connector: ScriptedConnector, **more: Any) -> SyncHost:
    """A host with one connection, to be entered."""
    registry = Registry()
    registry.register(connector.id, connector)
    return SyncHost.open({"connections": {"only": {"connector": connector.id}}, **more}, registry=registry)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """No thread of a host outlives it."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "genie-connect"]


def test_it_sends_and_closes() -> None:
    """The whole way."""
    only = ScriptedConnector("only")
    with opened(only) as host:
        assert host.send(letter()).accepted
        assert [step.id for step in host.test("only")] == ["connect", "sender"]
        assert host.plan(letter()).order == ("only",)
        host.suppressions.add(ADA)
        assert host.suppressions.check(ADA)
        assert [each.address.email for each in host.suppressions.all()] == [ADA]
        assert host.send(letter()).outcomes[ADA].state is State.SUPPRESSED
        assert host.suppressions.remove(ADA) == 1
    assert only.closed == 1


def test_several_threads_at_a_time() -> None:
    """Each gets its own receipt."""
    only = ScriptedConnector("only")
    everybody = [f"r{number}@example.com" for number in range(50)]
    with opened(only) as host, ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda email: host.send(letter(email)), everybody))
    assert [list(receipt.outcomes) for receipt in receipts] == [[email] for email in everybody]
    assert sum(only.handed_over.values()) == 50
    assert len(only.opened) == 1


def test_errors_come_out_where_they_were_caused() -> None:
    """And the host goes on."""
    with opened(ScriptedConnector("only")) as host:
        with pytest.raises(NoConnection):
            host.send(letter(from_=None))
        with pytest.raises(ConfigurationError):
            host.send(letter(), connection="other")
        assert host.send(letter()).accepted


def test_a_configuration_that_cannot_be_used_leaves_nothing() -> None:
    """Entering fails, the thread is gone."""
    with pytest.raises(ConfigurationError, match=r"connections\.only\.settings\.limit"):
        opened(
            ScriptedConnector("only"), connections={"only": {"connector": "only", "settings": {"limit": 0}}}
        ).__enter__()


def test_an_error_inside_with_closes_too() -> None:
    """As with any context manager."""
    only = ScriptedConnector("only")
    with pytest.raises(ZeroDivisionError), opened(only) as host:  # noqa: PT012  # the block is the test
        host.send(letter())
        raise ZeroDivisionError
    assert only.closed == 1


def test_an_interruption_cancels_what_was_under_way() -> None:
    """Ctrl-C while a send waits: the connector is told, and the host closes at once."""
    only = ScriptedConnector("only")
    cleaned_up = threading.Event()
    started = threading.Event()

    async def forever(batch: Any, context: Any) -> list[Outcome]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.set()
        raise AssertionError

    only.sends_with(forever)

    class Interrupted:
        """A future whose result is interrupted once the send is under way."""

        def __init__(self, future: Any) -> None:
            self.future = future

        def result(self) -> Any:
            started.wait(10)
            raise KeyboardInterrupt

        def cancel(self) -> None:
            self.future.cancel()

    threadsafe = asyncio.run_coroutine_threadsafe
    with pytest.MonkeyPatch.context() as patched, opened(only) as host:
        patched.setattr(asyncio, "run_coroutine_threadsafe", lambda *args: Interrupted(threadsafe(*args)))
        with pytest.raises(KeyboardInterrupt):
            host.send(letter())
        patched.undo()
    assert cleaned_up.is_set()
    assert only.closed == 1


def test_a_broadcast_is_read_to_its_end() -> None:
    """One outcome for each."""
    only = ScriptedConnector("only")
    with opened(only) as host:
        outcomes = list(host.send_each(NEWS, (f"r{number}@example.com" for number in range(25)), chunk=10))
    assert len(outcomes) == 25
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}


def test_a_broadcast_left_half_way_stops() -> None:
    """No chunk is sent that nobody has asked for, and nothing is left running."""
    only = ScriptedConnector("only")
    with opened(only) as host:
        running = host.send_each(NEWS, (f"r{number}@example.com" for number in range(25)), chunk=10)
        next(running)
        running.close()  # type: ignore[attr-defined]  # a generator
        assert sum(only.handed_over.values()) == 10
        assert host.run(tasks()) == 0


def test_a_broadcast_forgotten_until_after_the_end() -> None:
    """Collected later, it finds nothing to close and does not complain."""
    with opened(ScriptedConnector("only")) as host:
        running = host.send_each(NEWS, ["a@example.com", "b@example.com"], chunk=1)
        next(running)
    running.close()  # type: ignore[attr-defined]  # a generator


def test_outside_with_it_says_so() -> None:
    """Rather than wait for ever, before and after."""
    host = opened(ScriptedConnector("only"))
    for call in (lambda: host.send(letter()), lambda: host.suppressions.check(ADA)):
        with pytest.raises(GenieConnectError, match="not open"):
            call()
    with host:
        pass
    with pytest.raises(GenieConnectError, match="not open"):
        host.send(letter())


def test_an_observer_that_would_wait_for_its_own_loop_is_told() -> None:
    """It would never end."""
    errors: list[str] = []

    class Waits:
        @hookimpl
        def message_accepted(self) -> None:
            with pytest.raises(GenieConnectError) as raised:
                host.suppressions.check(ADA)
            errors.append(str(raised.value))

    with opened(ScriptedConnector("only")) as host:
        host.observers.add(Waits())
        assert host.send(letter()).accepted
    assert errors == ["the host would wait for itself"]


def test_a_connector_that_does_not_close_ends_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program can always end."""
    monkeypatch.setattr(handle, "GRACE_S", 0.01)

    class Hangs(ScriptedConnector):
        @hookimpl
        async def connector_close(self) -> None:
            await asyncio.Event().wait()

    with opened(Hangs("only")) as host:
        assert host.send(letter()).accepted


async def tasks() -> int:
    """How many tasks there are beside this one."""
    return len(asyncio.all_tasks()) - 1
