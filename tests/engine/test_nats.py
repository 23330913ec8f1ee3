"""What NATS does of its own: dead letters, marks of progress, streams for each tenant, a server that restarts."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import nats as client
import pytest

from genie_connect.engine import Place, Work
from genie_connect.engine import nats as engine_module
from genie_connect.engine.jetstream import Names, Target
from genie_connect.engine.nats import NatsEngine
from genie_connect.errors import ConfigurationError, EngineUnavailable
from genie_connect_spec.engine_contract import Calls, running, units
from tests.engine.making import QUICK, nats
from tests.servers.nats import Nats

PATIENCE_S = 60.0


def engine_of(server: Nats, tenant: str, **options: float) -> NatsEngine:
    """An engine with options of its own."""
    place = Place(store="store", tenant=tenant)
    return NatsEngine(Target.of(server.url), place, backoff=QUICK, **options)  # type: ignore[arg-type]


async def messages(server: Nats, stream: str) -> int:
    """How many messages a stream holds."""
    connection = await client.connect(server.url)
    try:
        return (await connection.jetstream().stream_info(stream)).state.messages
    finally:
        await connection.close()


async def test_what_is_done_is_gone(nats_server: Nats, tenant: str) -> None:
    """Once the handlers have returned, the stream is empty."""
    calls = Calls()
    async with nats(f"{nats_server.url} {tenant}") as engine:
        await engine.submit(units(*range(1, 51)))
        async with running(engine, calls):
            await calls.reached(lambda calls: len(calls.ended) >= 50, PATIENCE_S)
            await engine.stop(PATIENCE_S)
    assert await messages(nats_server, Names.of(Place(store="store", tenant=tenant)).work_stream) == 0


async def test_a_unit_that_waits_is_there_once(nats_server: Nats, tenant: str) -> None:
    """Offered again and again while nobody works, a unit has one message; for another time, it has another."""
    stream = Names.of(Place(store="store", tenant=tenant)).work_stream
    async with nats(f"{nats_server.url} {tenant}") as engine:
        for _ in range(5):
            await engine.submit(units(1, 2))
        assert await messages(nats_server, stream) == 2
        await engine.submit([Work(unit=1, not_before=1e9)])
        assert await messages(nats_server, stream) == 3


async def test_a_long_handler_keeps_its_unit(nats_server: Nats, tenant: str) -> None:
    """A handler that runs for longer than the server waits for an answer is not called a second time meanwhile."""
    later = asyncio.Event()

    async def long(work: Work) -> None:
        if work.unit == 1:
            await later.wait()

    calls = Calls(long)
    async with engine_of(nats_server, tenant, ack_wait_s=0.5) as engine, running(engine, calls):
        await engine.submit(units(1))
        loop = asyncio.get_running_loop()
        loop.call_later(2.0, later.set)
        await calls.reached(lambda calls: 1 in calls.ended, PATIENCE_S)
    assert calls.units == [1]


async def test_a_unit_that_never_succeeds_is_a_dead_letter(nats_server: Nats, tenant: str) -> None:
    """After so many deliveries a unit is in the stream of dead letters, with the kind of its error and not the text."""

    async def fail(work: Work) -> None:
        raise RuntimeError("hunter2")

    names = Names.of(Place(store="store", tenant=tenant))
    connection = await client.connect(nats_server.url)
    dead = await connection.subscribe(names.dead(7))
    calls = Calls(fail)
    async with engine_of(nats_server, tenant, most_deliveries=3) as engine, running(engine, calls):
        await engine.submit(units(7))
        letter = await dead.next_msg(timeout=PATIENCE_S)
        assert len(calls.began) == 3
        async with asyncio.timeout(PATIENCE_S):
            # The letter is written before the unit is taken from the stream.
            while await messages(nats_server, names.work_stream):
                await asyncio.sleep(0.02)
    content = json.loads(letter.data)
    assert (content["unit"], content["deliveries"], content["error"]) == (7, 3, "RuntimeError")
    assert b"hunter2" not in letter.data
    assert await messages(nats_server, names.dead_stream) == 1
    await connection.close()


async def test_tenants_and_stores_do_not_see_each_others_work(nats_server: Nats, tenant: str) -> None:
    """An engine calls the units of its own store and tenant only, whatever characters their names are made of."""
    target = Target.of(nats_server.url)
    places = [
        Place(store="store", tenant=tenant),
        Place(store="store", tenant=f"{tenant}.>"),
        Place(store="store", tenant=f"{tenant} >"),
        Place(store="other store", tenant=tenant),
    ]
    assert len({Names.of(place) for place in places}) == 4
    calls = Calls()
    async with NatsEngine(target, places[1]) as engine:
        for number, place in enumerate(places):
            async with NatsEngine(target, place) as other:
                await other.submit([Work(unit=number)])
        async with running(engine, calls):
            await engine.submit([Work(unit=99, priority=-1)])
            await calls.reached(lambda calls: 99 in calls.ended, PATIENCE_S)
    assert calls.units == [1, 99]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["in order", "killed"])
async def test_a_restart_of_the_server_loses_nothing(tmp_path: Path, number: int) -> None:
    """With a server that is stopped and started under load, every unit is called, and submitting goes on after it."""
    first, second = set(range(1, 201)), set(range(201, 301))
    with Nats(tmp_path) as server:
        calls = Calls()
        async with nats(f"{server.url} tests") as engine, running(engine, calls):
            await engine.submit(units(*first))
            await calls.reached(lambda calls: len(calls.ended) >= 50, PATIENCE_S)
            await asyncio.to_thread(server.stop, number)
            await asyncio.to_thread(server.start)
            await calls.reached(lambda calls: set(calls.ended) >= first, PATIENCE_S)
            await engine.submit(units(*second))
            await calls.reached(lambda calls: set(calls.ended) >= second, PATIENCE_S)


async def test_a_server_that_is_away_is_told() -> None:
    """Nobody at the address: one sentence, without the password."""
    place = Place(store="store", tenant="tests")
    target = Target.of("nats://me:hunter2@127.0.0.1:1")
    with pytest.raises(EngineUnavailable, match="does not reach its server") as caught:
        await NatsEngine(target, place, connect_timeout_s=0.5).__aenter__()
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {target!r}"


async def test_a_server_that_hangs_is_told() -> None:
    """One that takes the connection and says nothing, as a process that was stopped does, holds nobody up."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        target = Target.of(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        engine = NatsEngine(target, Place(store="store", tenant="tests"), connect_timeout_s=0.2)
        with pytest.raises(EngineUnavailable, match="does not reach its server"):
            await asyncio.wait_for(engine.__aenter__(), PATIENCE_S)


async def test_a_server_that_freezes_is_told_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle: neither who submits nor who begins waits without end, and later everything is called."""
    with Nats(tmp_path) as server:
        calls = Calls()
        async with engine_of(server, "tests") as engine, running(engine, calls):
            await engine.submit(units(1))
            await calls.reached(lambda calls: 1 in calls.ended, PATIENCE_S)
            assert engine.trouble is None
            server.freeze()
            with monkeypatch.context() as hasty:
                hasty.setattr(engine_module, "ANSWER_S", 0.2)
                hasty.setattr(engine_module, "QUICK_ANSWER_S", 0.2)
                with pytest.raises(EngineUnavailable, match="does not reach its server"):
                    await asyncio.wait_for(engine.submit(units(2)), PATIENCE_S)
                with pytest.raises(EngineUnavailable, match="does not reach its server"):
                    await asyncio.wait_for(engine_of(server, "late", connect_timeout_s=0.2).__aenter__(), PATIENCE_S)
                await _until(lambda: engine.trouble is not None)
            server.go_on()
            await engine.submit(units(2, 3))
            await calls.reached(lambda calls: {2, 3} <= set(calls.ended), PATIENCE_S)
            await _until(lambda: engine.trouble is None)


async def test_a_server_that_froze_holds_up_nobody_who_leaves(tmp_path: Path) -> None:
    """With a handler under way, which is cancelled, and whose unit nobody can be told of."""
    with Nats(tmp_path) as server:
        calls = Calls(lambda _: asyncio.Event().wait())
        engine = engine_of(server, "tests")
        await engine.__aenter__()
        under_way = asyncio.create_task(engine.run(calls, concurrency=1))
        await engine.submit(units(1))
        await calls.reached(lambda calls: calls.at_once == 1, PATIENCE_S)
        server.freeze()
        async with asyncio.timeout(PATIENCE_S):
            await engine.stop(0.0)
            await under_way
            await engine.__aexit__(None, None, None)
        assert calls.cancelled == [1]


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            await asyncio.sleep(0.01)


async def test_a_server_that_lets_nobody_in_is_told(tmp_path: Path) -> None:
    """A wrong password, or none: a sentence that names the field, without the password."""
    place = Place(store="store", tenant="tests")
    with Nats(tmp_path, "--user", "me", "--pass", "right") as server:
        for user in ("me:hunter2@", ""):
            target = Target.of(server.url.replace("//", f"//{user}"))
            with pytest.raises(EngineUnavailable, match="not let in by the server") as caught:
                await NatsEngine(target, place, connect_timeout_s=1.5).__aenter__()
            assert caught.value.hint == "correct engine.url"
            assert "hunter2" not in f"{caught.value} {target!r}"
        async with NatsEngine(Target.of(server.url.replace("//", "//me:right@")), place) as engine:
            await engine.submit(units(1))


async def test_a_server_without_jetstream_is_told(tmp_path: Path) -> None:
    """A server that was started without JetStream is told of, with what to start it with."""
    with Nats(tmp_path, jetstream=False) as server, pytest.raises(EngineUnavailable, match="no JetStream") as caught:
        await nats(f"{server.url} tests").__aenter__()
    assert "-js" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("nats://", "names no host"),
        ("nats://:4222", "names no host"),
        ("nats://me:hunter2@host:abc", "cannot be read"),
        ("nats://me:hunter2@host?replica=3", "no option 'replica'"),
        ("nats://me:hunter2@host?replicas=many", "replicas is a number from 1 to 5"),
        ("nats://host?credentials=/nowhere/me.creds", "no file /nowhere/me.creds"),
    ],
)
def test_a_url_that_cannot_be_used_is_told(url: str, cause: str) -> None:
    """Each fault of a URL is named, with the form that it should have, and without the password."""
    with pytest.raises(ConfigurationError, match=cause) as caught:
        Target.of(url)
    assert str(caught.value).startswith("engine.url: ")
    assert caught.value.hint
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_url_may_name_several_servers() -> None:
    """The hosts of a cluster share user and password."""
    target = Target.of("nats://me:pw@a:4222,b:4223?replicas=3")
    assert target.servers == ("nats://me:pw@a:4222", "nats://me:pw@b:4223")
    assert target.replicas == 3
