"""Opening and closing: nothing is reached too early, nothing is left behind.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from genie_connect.errors import SecretUnavailable
from genie_connect.model.secret import Secret
from genie_connect.model.settings import field_types, without_none
from genie_connect.model.validation import external_name
from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.check import check, needs
from genie_connect_spec.kit.checks.failures import nowhere
from genie_connect_spec.kit.letters import batch_of, letter
from genie_connect_spec.kit.provider import relocated
from genie_connect_spec.kit.rig import GRACE_S, SHORT_S, Rig, turn

OPENS: Final = ("GC-LIFE-001",)
SENDS: Final = ("GC-SEND-001",)
_DESCRIPTORS: Final = Path("/proc/self/fd")
_CYCLES: Final = 6


@contextmanager
def tidied() -> Iterator[None]:
    """What lies around already is left out of the collections in the block, which would look through all of it."""
    gc.collect()
    was_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not was_frozen:
            gc.unfreeze()


@check("GC-LIFE-001", after=("GC-SET-001",))
async def it_opens(rig: Rig) -> None:
    """With valid settings, and closes again."""
    async with rig.opened():
        pass


@check("GC-LIFE-002", after=OPENS)
async def opening_reaches_for_nobody(rig: Rig) -> None:
    """A provider that is down when the host starts is an outcome later, not an error now."""
    needs(rig.provider, "")
    with nowhere() as (host, port):
        rig.guard.allow(host, port)
        settings = rig.structured(relocated(rig.data, rig.provider, host, port))
        rig.guard.touched.clear()
        async with rig.opened(settings):
            pass
    reached = [what for what in rig.guard.touched if what.startswith("connected")]
    assert not reached, f"connector_open {reached[0]}"


@check("GC-LIFE-003", after=OPENS)
async def it_closes_twice(rig: Rig) -> None:
    """Whoever cleans up does so more than once."""
    state = await rig.open()
    await rig.close(state)
    await rig.close(state)


@check("GC-LIFE-004", after=SENDS)
async def it_closes_twice_after_sending(rig: Rig) -> None:
    """Also where there was something to close."""
    state = await rig.open()
    await rig.deliver_with(state, letter())
    await rig.close(state)
    await rig.close(state)


@check("GC-LIFE-005", after=SENDS)
async def it_closes_after_a_failure(rig: Rig) -> None:
    """A connection that broke is closed like any other."""
    rig.misbehave(Behaviour.CLOSED)
    state = await rig.open()
    await rig.send(state, await batch_of(letter()))
    await rig.close(state)


@check("GC-LIFE-006", after=OPENS)
async def closing_says_goodbye(rig: Rig) -> None:
    """No connection to the provider is left behind."""
    needs(rig.provider, "")
    state = await rig.open()
    for number in range(3):
        await rig.raw_send(state, await batch_of(letter(f"reader{number}@example.com")))
    await rig.close(state)
    try:
        await rig.provider.deserted(GRACE_S)
    except TimeoutError:
        raise AssertionError(f"closed, and {rig.provider.open_connections} connections are still open") from None


@check("GC-LIFE-007", after=SENDS)
async def no_task_is_left_behind(rig: Rig) -> None:
    """A task that outlives its connection works for nobody."""
    before = asyncio.all_tasks()
    async with rig.opened() as state:
        await rig.deliver_with(state, letter())
    await turn()
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not left, f"closed, and the task {left[0].get_name()} goes on: {left[0].get_coro()!r:.100}"


@check("GC-LIFE-008", after=SENDS)
async def no_thread_is_left_behind(rig: Rig) -> None:
    """Nor a thread, but for those of the loop's own pool."""
    before, left = set(threading.enumerate()), list[threading.Thread]()
    async with rig.opened() as state:
        await rig.deliver_with(state, letter())
    # A thread that is told to end may take a moment.
    for _ in range(100):
        left = [each for each in set(threading.enumerate()) - before if not each.name.startswith("kit ")]
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"closed, and the thread {left[0].name} goes on")


@check("GC-LIFE-009", after=SENDS)
async def descriptors_do_not_grow(rig: Rig) -> None:
    """A host opens and closes connections for months."""
    needs(_DESCRIPTORS.is_dir(), "this system does not show a process its descriptors")
    counts = []
    # What is left to the collector counts as open: whether it comes by in between is chance.
    gc.disable()
    try:
        for number in range(_CYCLES):
            async with rig.opened() as state:
                await rig.deliver_with(state, letter())
            if number:  # the first time what is made for good may be opened
                counts.append(len(os.listdir(_DESCRIPTORS)))  # noqa: PTH208  # the one call that counts them at once
    finally:
        gc.enable()
    grown = counts[-1] - counts[0]
    assert grown < len(counts) - 1, f"in {len(counts)} cycles there are {grown} more open descriptors"


@check("GC-LIFE-010", after=SENDS)
async def nothing_is_left_to_the_collector(rig: Rig) -> None:
    """What Python closes in its place when memory is tidied up was forgotten."""
    with tidied(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        async with rig.opened() as state:
            await rig.deliver_with(state, letter())
        del state
        await turn()
        gc.collect()
    forgotten = [str(each.message) for each in said if issubclass(each.category, ResourceWarning)]
    assert not forgotten, f"closed, and Python says: {forgotten[0][:150]}"


@check("GC-LIFE-011", after=("GC-LIFE-005",))
async def nothing_fails_unseen(rig: Rig) -> None:
    """An exception that nobody awaits is told to the loop, long after and far away."""
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    known = loop.get_exception_handler()
    loop.set_exception_handler(
        lambda _, context: complaints.append(f"{context.get('message')} {context.get('exception')!r}")
    )
    try:
        with tidied():
            for behaviour in (Behaviour.NORMAL, Behaviour.CLOSED, Behaviour.SILENT):
                rig.misbehave(behaviour)
                async with rig.opened() as state:
                    await rig.raw_send(state, await batch_of(letter()), rig.context(SHORT_S))
            await turn()
            gc.collect()
            await turn()
    finally:
        loop.set_exception_handler(known)
    assert not complaints, f"the event loop was told: {complaints[0][:200]}"


def _secret_settings(rig: Rig) -> list[str]:
    return [
        external_name(name)
        for name, hint in field_types(rig.info.settings_class).items()
        if without_none(hint)[0] is Secret and isinstance(rig.data.get(external_name(name)), str)
    ]


async def _open_without_secrets(rig: Rig) -> list[BaseException]:
    """What opening raises for each secret that cannot be read; nothing where that one is not needed yet."""
    raised: list[BaseException] = []
    for name in _secret_settings(rig):
        settings = rig.structured({**rig.data, name: "env:GENIE_CONNECT_KIT_NOT_SET"})
        try:
            state = await rig.open(settings)
        except Exception as error:  # noqa: BLE001  # what it is is what the check is about
            raised.append(error)
        else:
            await rig.close(state)
    return raised


@check("GC-LIFE-012", after=OPENS)
async def a_secret_that_is_not_there_is_named(rig: Rig) -> None:
    """The host tells the operator which reference leads nowhere."""
    needs(_secret_settings(rig), "its settings hold no secret")
    for error in await _open_without_secrets(rig):
        assert isinstance(error, SecretUnavailable), (
            f"connector_open raises {type(error).__name__}, not SecretUnavailable"
        )
        assert error.reference == "env:GENIE_CONNECT_KIT_NOT_SET"


@check("GC-LIFE-013", after=OPENS)
async def a_failed_open_leaves_nothing(rig: Rig) -> None:
    """What was made before it failed is let go of."""
    needs(_secret_settings(rig), "its settings hold no secret")
    before, threads = asyncio.all_tasks(), set(threading.enumerate())
    with tidied(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        await _open_without_secrets(rig)
        await turn()
        gc.collect()
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not left, f"opening failed, and the task {left[0].get_name()} goes on"
    started = [each for each in set(threading.enumerate()) - threads if not each.name.startswith("kit ")]
    assert not started, f"opening failed, and the thread {started[0].name} goes on"
    forgotten = [str(each.message) for each in said if issubclass(each.category, ResourceWarning)]
    assert not forgotten, f"opening failed, and Python says: {forgotten[0][:150]}"


@check("GC-LIFE-014", after=SENDS)
def it_lives_in_any_loop(rig: Rig) -> None:
    """A host may have one event loop today and another tomorrow: nothing is kept in the module."""
    from genie_connect_spec.kit.running import run

    async def once() -> None:
        async with rig.opened() as state:
            await rig.deliver_with(state, letter())

    run(once())
    run(once())


@check("GC-LIFE-015", after=SENDS)
async def closing_ends_what_is_under_way(rig: Rig) -> None:
    """A host that closes a connection has its answer soon, and so has whoever was sending on it."""
    rig.misbehave(Behaviour.SILENT)
    state = await rig.open()
    sending = asyncio.ensure_future(rig.raw_send(state, await batch_of(letter()), rig.context(1.5)))
    await rig.provider.received(1, 10.0)
    await rig.close(state)
    # Sooner than the kit itself gives up on the call, which would end it too.
    done, _ = await asyncio.wait({sending}, timeout=1.5 + GRACE_S / 2)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert done, "the connection was closed, and a send over it never ends"


@check("GC-LIFE-016", after=SENDS)
async def closed_is_closed(rig: Rig) -> None:
    """A send over a connection that was closed ends at once or fails, and is not accepted by itself."""
    state = await rig.open()
    await rig.close(state)
    try:
        outcomes: Any = await rig.raw_send(state, await batch_of(letter()), rig.context(1.0))
    except Exception:  # noqa: BLE001  # refusing is right as well
        return
    accepted = [each for each in outcomes if each.state == "accepted"]
    assert not accepted or rig.provider.handed_over, "nothing was handed over, and the outcome is accepted"
