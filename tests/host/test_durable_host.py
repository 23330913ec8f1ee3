"""A host with a store against servers that answer, refuse, vanish and cut off: what a stranger would rely on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from genie_connect import (
    BroadcastStateError,
    DoubtfulCopy,
    Host,
    Message,
    State,
    StoreError,
    SyncHost,
    ValidationError,
)
from genie_connect.inbox import InboxServer, Policy, Reply
from genie_connect_contrib.sandbox.behaviour import Behaviour
from genie_connect_contrib.sandbox.behaviour import Reply as Sent
from genie_connect_contrib.sandbox.provider import SandboxProvider
from tests.durable.conftest import durable_host
from tests.support.connector import ScriptedConnector, letter

ADA = "ada@example.com"
NEWS = Message(from_="Shop <shop@example.com>", subject="News", text="There is news.")
SOON_S = 30.0
QUICK = {"first_retry_s": 0.01, "grace_s": 5.0}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store in a file."""
    return f"sqlite:///{tmp_path / 'store.db'}"


def smtp(url: str, *ports: int) -> dict[str, Any]:
    """A configuration with a plain SMTP connection to each port, preferred in this order."""
    settings = {"host": "127.0.0.1", "security": "none"}
    connections = {
        f"mail{priority}": {"connector": "smtp", "priority": priority, "settings": {**settings, "port": port}}
        for priority, port in enumerate(ports)
    }
    return {"connections": connections, "store": {"url": url}, "engine": QUICK}


def sandbox(url: str, provider: SandboxProvider) -> dict[str, Any]:
    """A configuration with a connection to an email API."""
    settings = {"base_url": provider.base_url, "api_key": "key", "timeout_s": 2.0}
    connections = {"api": {"connector": "sandbox", "settings": settings}}
    return {"connections": connections, "store": {"url": url}, "engine": QUICK}


class Answers(Policy):
    """Refuses mailboxes, each with the replies that are left for it."""

    def __init__(self, **replies: list[Reply]) -> None:
        self.asked: Counter[str] = Counter()
        self._replies = replies

    def on_rcpt(self, recipient: str, envelope_from: str) -> Reply | None:
        """The next reply for it; accepted when there is none."""
        name = recipient.partition("@")[0]
        self.asked[name] += 1
        left = self._replies.get(name)
        return left.pop(0) if left else None


class TestServers:
    """Real SMTP and a real API, on this machine."""

    async def test_not_now_is_tried_again_by_the_ledger_and_never_is_not(self, url: str) -> None:
        """451 once, 550 for good."""
        policy = Answers(ada=[Reply(451, "4.3.0", "not now")], bob=[Reply(550, "5.1.1", "no such mailbox")])
        async with InboxServer(policy=policy) as inbox, Host.open(smtp(url, inbox.port)) as host:
            receipt = await host.send(letter(ADA, "bob@example.com"), durable=True)
            assert receipt.pending
            settled = await host.settled(receipt.id or 0, timeout_s=SOON_S)
            assert {name: outcome.state for name, outcome in settled.outcomes.items()} == {
                ADA: State.ACCEPTED,
                "bob@example.com": State.REJECTED,
            }
            assert policy.asked == {"ada": 2, "bob": 1}
            assert [message.recipients for message in inbox.messages] == [(ADA,)]

    async def test_a_server_that_is_down_is_waited_for(self, url: str) -> None:
        """Nothing is lost, and nothing comes twice."""
        async with InboxServer() as inbox:
            port = inbox.port
        async with Host.open(smtp(url, port)) as host:
            receipt = await host.send(letter(ADA), durable=True)
            while not (known := await host.receipt(receipt.id or 0)) or not known.outcomes:
                await asyncio.sleep(0.01)
            assert known.outcomes[ADA].state is State.DEFERRED
        async with InboxServer(port=port) as inbox, Host.open(smtp(url, port)) as host:
            assert (await host.settled(receipt.id or 0, timeout_s=SOON_S)).accepted
            assert len(inbox.messages) == 1

    async def test_a_chunk_falls_back_to_the_other_connection(self, url: str) -> None:
        """The first one is not there; each gets one copy through the second."""
        async with InboxServer() as gone:
            port = gone.port
        async with InboxServer() as inbox, Host.open(smtp(url, port, inbox.port)) as host:
            made = await host.broadcast(NEWS, [f"r{number}@example.com" for number in range(12)])
            progress = await made.wait(SOON_S)
            assert [(share.connection, share.accepted) for share in progress.connections if share.accepted] == [
                ("mail1", 12)
            ]
            assert Counter(message.recipients for message in inbox.messages) == {
                (f"r{number}@example.com",): 1 for number in range(12)
            }

    async def test_a_lost_answer_is_made_good_by_a_repetition_that_is_recognised(self, url: str) -> None:
        """With a key that the provider honours; the ledger has both attempts, and the doubt is gone."""
        async with SandboxProvider(api_key="key") as provider, Host.open(sandbox(url, provider)) as host:
            provider.behave(Behaviour(reply=Sent.CLOSED, accept=True, times=1))
            receipt = await host.send(letter(ADA))
            assert receipt.outcomes[ADA].state is State.ACCEPTED
            kept = await host.receipt(receipt.id or 0)
            assert kept is not None
            assert (kept.pending, kept.outcomes[ADA].state) == (False, State.ACCEPTED)
            assert [attempt.outcome for attempt in kept.attempts] == ["unknown", "accepted"]
            assert await host.unknown() == ()
            assert len(provider.messages) == 1

    async def test_a_lost_answer_is_asked_for_and_resolved(self, url: str) -> None:
        """The provider took it and cut off; its look-up settles what nobody else can know."""
        provider = SandboxProvider(api_key="key")
        async with provider:
            async with Host.open(sandbox(url, provider)) as host:
                provider.behave(Behaviour(reply=Sent.CLOSED, accept=True))
                receipt = await host.send(letter(ADA))
                assert receipt.outcomes[ADA].state is State.UNKNOWN
                lost = DoubtfulCopy(message_id=receipt.message_id, recipient=ADA)
                earlier = await host.receipt(receipt.id or 0)
                assert earlier is not None
                for each in (receipt, earlier):
                    assert {copy for attempt in each.attempts for copy in attempt.in_doubt} == {lost}
                provider.behave(Behaviour())
                assert await host.reconcile() == 1
                assert await host.unknown() == ()
                kept = await host.receipt(receipt.id or 0)
                assert kept is not None
                assert kept.outcomes[ADA].state is State.ACCEPTED
                assert not any(attempt.in_doubt for attempt in kept.attempts)
                assert await host.reconcile() == 0
            assert len(provider.messages) == 1


class TestAsked:
    """What a caller may ask, and what is refused before anything is written down."""

    @pytest.mark.parametrize(
        ("field", "asked"),
        [
            ("idempotency_key", {"idempotency_key": ""}),
            ("idempotency_key", {"idempotency_key": "a\nb"}),
            ("idempotency_key", {"idempotency_key": "k" * 256}),
            ("priority", {"priority": 10**30}),
            ("not_before", {"not_before": datetime(2030, 1, 1)}),  # noqa: DTZ001
            ("expires", {"not_before": datetime(2030, 1, 2, tzinfo=UTC), "expires": datetime(2030, 1, 1, tzinfo=UTC)}),
        ],
    )
    async def test_what_cannot_be_is_refused(self, url: str, field: str, asked: dict[str, Any]) -> None:
        """With the name of the field; nothing is left in the store."""
        async with durable_host(url, ScriptedConnector(), work=False) as host:
            with pytest.raises(ValidationError) as raised:
                await host.send(letter(ADA), durable=True, **asked)
            assert [problem.path for problem in raised.value.problems] == [field]
            assert await host.receipt(1) is None

    async def test_an_end_without_a_zone_is_refused_before_the_list_is_read(self, url: str) -> None:
        """And not when ten million rows have been."""
        async with durable_host(url, ScriptedConnector()) as host:
            with pytest.raises(ValidationError, match="finish_by"):
                await host.broadcast(NEWS, [ADA], finish_by=datetime(2030, 1, 1))  # noqa: DTZ001
            assert await host.broadcasts() == ()

    async def test_the_higher_priority_goes_first(self, url: str) -> None:
        """Of what waits when a worker comes."""
        only = ScriptedConnector()
        async with durable_host(url, only, work=False) as host:
            for priority in (0, -5, 7, 3):
                await host.send(letter(f"p{priority}@example.com"), durable=True, priority=priority)
        async with durable_host(url, only, engine={"concurrency": 1}) as host:
            for unit in range(1, 5):
                await host.settled(unit, timeout_s=SOON_S)
        assert [call.recipients[0] for call in only.calls] == [f"p{each}@example.com" for each in (7, 3, 0, -5)]

    async def test_nobody_leaves_before_their_time(self, url: str) -> None:
        """Tomorrow's send waits while today's leaves."""
        only = ScriptedConnector()
        async with durable_host(url, only) as host:
            later = await host.send(letter(ADA), not_before=datetime.now(UTC) + timedelta(days=1))
            now = await host.send(letter("ben@example.com"), durable=True)
            await host.settled(now.id or 0, timeout_s=SOON_S)
            kept = await host.receipt(later.id or 0)
            assert kept is not None
            assert kept.pending
        assert only.handed_over == {"ben@example.com": 1}


async def test_another_file_is_no_store(tmp_path: Path) -> None:
    """Told as the host opens, and the file is left alone."""
    path = tmp_path / "photo.db"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 1000)
    with pytest.raises(StoreError):
        async with durable_host(f"sqlite:///{path}", ScriptedConnector()):
            pass
    assert path.read_bytes() == b"\x89PNG\r\n\x1a\n" * 1000


_LOADS = """
import asyncio, sys
from genie_connect import Message
from tests.durable.conftest import durable_host
from tests.support.connector import ScriptedConnector

def people():
    for number in range(10**9):
        yield f"r{number}@example.com"
        if number == 5_000:
            print("loading", flush=True)

async def main():
    async with durable_host(sys.argv[1], ScriptedConnector(), engine={"chunk": 10, "lease_s": 0.5}) as host:
        await host.broadcast(Message(from_="s@example.com", subject="News", text="News."), people())

asyncio.run(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_killed_while_it_loads_it_is_never_sent(url: str) -> None:
    """Half a list is nobody's wish: it cannot be started, and no worker takes it."""
    command = [sys.executable, "-c", _LOADS, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(signal.SIGKILL)
    only = ScriptedConnector()
    with SyncHost(durable_host(url, only, engine={"lease_s": 0.5})) as host:
        (kept,) = host.broadcasts()
        assert kept.progress().state == "loading"
        with pytest.raises(BroadcastStateError):
            kept.start()
        due = host.send(letter(ADA), durable=True)
        host.settled(due.id or 0, timeout_s=SOON_S)
        kept.stop(reason="cut short")
    assert only.handed_over == {ADA: 1}


async def test_cancelled_while_it_loads_it_is_stopped(url: str) -> None:
    """And its caller hears of the cancellation."""
    there = asyncio.Event()

    async def endless() -> Any:
        yield ADA
        there.set()
        await asyncio.Event().wait()

    async with durable_host(url, ScriptedConnector()) as host:
        loading = asyncio.create_task(host.broadcast(NEWS, endless()))
        await there.wait()
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        (kept,) = await host.broadcasts()
        assert (await kept.progress()).state == "stopped"


def test_without_an_event_loop_it_is_the_same(url: str, tmp_path: Path) -> None:
    """Durable sends, broadcasts and what is known of them, with methods that block."""
    only = ScriptedConnector()
    path = tmp_path / "list.csv"
    path.write_text("email\nben@example.com\nnobody\n")
    with SyncHost(durable_host(url, only)) as host:
        receipt = host.send(letter(ADA), durable=True)
        assert receipt.pending
        assert host.settled(receipt.id or 0, timeout_s=SOON_S).accepted
        made = host.broadcast(NEWS, path)
        assert made.wait(SOON_S).counts.accepted == 1
        assert (made.refused_rows, made.rejects) == (1, tmp_path / "list.csv.rejected.jsonl")
        assert [each.id for each in host.broadcasts()] == [host.find_broadcast(made.id).id]
        assert host.unknown() == ()
    assert only.handed_over == {ADA: 1, "ben@example.com": 1}
