"""The tests that every engine passes. An author's package subclasses one of the two classes and overrides `recipe`:

```python
class TestMine(DurableEngineContract):
    @pytest.fixture
    def recipe(self) -> EngineRecipe:
        return EngineRecipe(module="tests.making", function="my_engine", argument="mine://127.0.0.1:4000")
```

`tests.making.my_engine` takes the argument and returns an engine that has not been entered. Two things of it should be
quick, since tests wait for them: the pause after a handler that raised, and the time until work is taken away from a
process that died (two seconds, say). Whatever an earlier test has left waiting must be out of its sight: use a fresh
queue or tenant for each test.

An engine that forgets its work when its process dies keeps `EngineContract`; all others `DurableEngineContract`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import ClassVar, cast

import attrs
import pytest
import pytest_asyncio

from genie_connect.engine.contract import Engine, Handler, Work

CLOCK_S = 0.05
"""How far the clocks of a server and of its client, on one machine, may seem apart."""


@attrs.frozen(kw_only=True)
class EngineRecipe:
    """How to make an engine, here or in another process: a function, by its name, and its argument."""

    module: str
    function: str
    argument: str = ""

    def make(self) -> Engine:
        """A new engine, not yet entered."""
        function = cast("Callable[[str], Engine]", getattr(import_module(self.module), self.function))
        return function(self.argument)


class Calls:
    """A handler that remembers what it was called for, and in what order. Awaiting `reached` waits for calls."""

    def __init__(self, handler: Handler | None = None) -> None:
        self.began: list[Work] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self._handler = handler
        self._changed = asyncio.Condition()

    async def __call__(self, work: Work) -> None:
        """Be called by an engine."""
        self.began.append(work)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self._tell()
        try:
            if self._handler is not None:
                await self._handler(work)
            self.ended.append(work.unit)
        except asyncio.CancelledError:
            self.cancelled.append(work.unit)
            raise
        finally:
            self.at_once -= 1
        await self._tell()

    @property
    def units(self) -> list[int]:
        """The units of all calls, in their order."""
        return [work.unit for work in self.began]

    async def reached(self, condition: Callable[[Calls], bool], patience_s: float) -> None:
        """Wait until a condition holds; it is looked at whenever a call begins or ends."""
        async with asyncio.timeout(patience_s), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def running(engine: Engine, handler: Handler, *, concurrency: int = 4) -> AsyncIterator[None]:
    """Let an engine run meanwhile, and stop it at the end."""
    run = asyncio.ensure_future(engine.run(handler, concurrency=concurrency))
    try:
        yield
    finally:
        async with asyncio.timeout(30):
            await engine.stop(0)
            await run


def units(*numbers: int) -> list[Work]:
    """Work on these units, due at once."""
    return [Work(unit=number) for number in numbers]


def _begun(least: int) -> Callable[[Calls], bool]:
    return lambda calls: len(calls.began) >= least


def _ended_times(unit: int, least: int) -> Callable[[Calls], bool]:
    return lambda calls: calls.ended.count(unit) >= least


@pytest.mark.asyncio
class EngineContract:
    """What every engine does. Override `recipe`."""

    patience_s: ClassVar[float] = 60.0
    """How long a test waits for what has to happen."""

    @pytest.fixture
    def recipe(self) -> EngineRecipe:
        """How to make the engine under test; to be overridden."""
        raise NotImplementedError("override the fixture recipe")

    @pytest_asyncio.fixture
    async def engine(self, recipe: EngineRecipe) -> AsyncIterator[Engine]:
        """The engine under test, entered."""
        async with recipe.make() as engine:
            yield engine

    async def test_every_unit_is_called(self, engine: Engine) -> None:
        """Each unit that was submitted reaches a handler, whether it came before or after the engine began to run."""
        calls = Calls()
        await engine.submit(units(1, 2, 3))
        async with running(engine, calls):
            await engine.submit(units(4, 5))
            await calls.reached(lambda calls: set(calls.ended) >= {1, 2, 3, 4, 5}, self.patience_s)

    async def test_a_thousand_units_come_through(self, engine: Engine) -> None:
        """A thousand units submitted at once are all called."""
        calls = Calls()
        await engine.submit(units(*range(1, 1001)))
        async with running(engine, calls, concurrency=16):
            await calls.reached(lambda calls: set(calls.ended) >= set(range(1, 1001)), 2 * self.patience_s)

    async def test_no_more_handlers_run_at_once_than_allowed(self, engine: Engine) -> None:
        """With a concurrency of three, three handlers run at once, and never four."""
        gate = asyncio.Semaphore(0)

        async def wait(work: Work) -> None:
            await gate.acquire()

        calls = Calls(wait)
        await engine.submit(units(*range(1, 13)))
        async with running(engine, calls, concurrency=3):
            for ended in range(10):
                await calls.reached(_begun(ended + 3), self.patience_s)
                gate.release()
            gate.release()
            gate.release()
            await calls.reached(lambda calls: len(calls.ended) >= 12, self.patience_s)
        assert calls.most_at_once == 3

    async def test_a_unit_is_not_called_before_its_time(self, engine: Engine) -> None:
        """A unit with a time waits for it, and holds up none that is due."""
        at: dict[int, float] = {}

        async def note(work: Work) -> None:
            at.setdefault(work.unit, time.time())

        calls = Calls(note)
        not_before = time.time() + 1.0
        async with running(engine, calls, concurrency=1):
            await engine.submit([Work(unit=1, not_before=not_before), Work(unit=2)])
            await calls.reached(lambda calls: {1, 2} <= set(calls.ended), self.patience_s)
        assert at[1] >= not_before - CLOCK_S
        assert at[2] < not_before

    async def test_a_higher_priority_goes_first(self, engine: Engine) -> None:
        """Of what waits, units above the ordinary priority are called before all others, those below it last."""
        calls = Calls()
        await engine.submit([Work(unit=number, priority=-5) for number in (1, 2)])
        await engine.submit([Work(unit=number) for number in (3, 4)])
        await engine.submit([Work(unit=number, priority=5) for number in (5, 6)])
        async with running(engine, calls, concurrency=1):
            await calls.reached(lambda calls: len(set(calls.ended)) == 6, self.patience_s)
        assert [sorted(calls.units[first : first + 2]) for first in (0, 2, 4)] == [[5, 6], [3, 4], [1, 2]]

    async def test_a_handler_that_raises_is_called_again(self, engine: Engine) -> None:
        """A unit whose handler raises is called again until it returns; others go on meanwhile."""
        failures = iter([ValueError("first"), RuntimeError("second")])

        async def fail(work: Work) -> None:
            if work.unit == 1 and (error := next(failures, None)) is not None:
                raise error

        calls = Calls(fail)
        await engine.submit(units(1, 2))
        async with running(engine, calls):
            await calls.reached(lambda calls: {1, 2} <= set(calls.ended), self.patience_s)
        assert calls.units.count(1) >= 3

    async def test_a_unit_may_be_submitted_twice(self, engine: Engine) -> None:
        """A unit that is submitted again while it waits does no harm."""
        calls = Calls()
        for _ in range(3):
            await engine.submit(units(1, 2))
        await engine.submit(units(3, 3, 3))
        async with running(engine, calls):
            await calls.reached(lambda calls: {1, 2, 3} <= set(calls.ended), self.patience_s)

    async def test_a_unit_may_come_again_once_its_handler_has_returned(self, engine: Engine) -> None:
        """Submitted anew, also with the same values and at once, a unit is called anew."""
        calls = Calls()
        async with running(engine, calls):
            for times in range(1, 6):
                await engine.submit(units(1))
                await calls.reached(_ended_times(1, times), self.patience_s)

    async def test_a_unit_may_come_again_while_its_handler_runs(self, engine: Engine) -> None:
        """A handler that has given its unit back may see it submitted before it returns itself."""

        async def submit(work: Work) -> None:
            if calls.units.count(1) == 1:
                await engine.submit([Work(unit=1, not_before=time.time())])

        calls = Calls(submit)
        async with running(engine, calls):
            await engine.submit(units(1))
            await calls.reached(lambda calls: calls.ended.count(1) >= 2, self.patience_s)

    async def test_a_unit_that_nobody_knows_is_forgotten(self, engine: Engine) -> None:
        """A handler that finds nothing to do for a unit returns; the engine goes on, and does not ask again."""
        calls = Calls()
        await engine.submit([Work(unit=2**40, priority=1), *units(1)])
        async with running(engine, calls, concurrency=1):
            await calls.reached(lambda calls: 1 in calls.ended, self.patience_s)
        assert calls.units == [2**40, 1]

    async def test_stop_lets_handlers_end(self, engine: Engine) -> None:
        """Within the grace, what is under way ends; what waits is not begun; then `run` returns."""
        gate = asyncio.Event()

        async def wait(work: Work) -> None:
            await gate.wait()

        calls = Calls(wait)
        run = asyncio.ensure_future(engine.run(calls, concurrency=2))
        await engine.submit(units(1, 2, 3, 4))
        await calls.reached(lambda calls: len(calls.began) == 2, self.patience_s)
        stop = asyncio.ensure_future(engine.stop(self.patience_s))
        # The stop has begun when it waits for the handlers, for which it has to be given a turn.
        for _ in range(10):
            await asyncio.sleep(0)
        assert not stop.done()
        gate.set()
        async with asyncio.timeout(self.patience_s):
            await stop
            await run
        assert sorted(calls.ended) == sorted(calls.units)
        assert len(calls.units) == 2
        assert not calls.cancelled

    async def test_stop_cancels_after_the_grace(self, engine: Engine) -> None:
        """A handler that does not end within the grace is cancelled, and `run` returns."""

        async def hang(work: Work) -> None:
            await asyncio.Event().wait()

        calls = Calls(hang)
        run = asyncio.ensure_future(engine.run(calls, concurrency=2))
        await engine.submit(units(1))
        await calls.reached(lambda calls: len(calls.began) == 1, self.patience_s)
        async with asyncio.timeout(self.patience_s):
            await engine.stop(0.1)
            await run
        assert calls.cancelled == [1]

    async def test_an_engine_that_was_stopped_does_not_run(self, engine: Engine) -> None:
        """A stop that comes before `run` holds."""
        calls = Calls()
        await engine.submit(units(1))
        await engine.stop(0)
        async with asyncio.timeout(self.patience_s):
            await engine.run(calls, concurrency=1)
        assert not calls.began

    async def test_it_closes_with_work_waiting(self, recipe: EngineRecipe) -> None:
        """Leaving the engine waits for no work, also when nobody ever ran it."""
        async with asyncio.timeout(self.patience_s), recipe.make() as engine:
            await engine.submit(units(*range(1, 21)))


@pytest.mark.asyncio
class DurableEngineContract(EngineContract):
    """What an engine also does that remembers its work when its process dies."""

    async def test_work_that_waits_outlives_the_engine(self, recipe: EngineRecipe) -> None:
        """What nobody has worked on is called by the next engine."""
        async with recipe.make() as engine:
            await engine.submit(units(1, 2, 3))
        calls = Calls()
        async with recipe.make() as engine, running(engine, calls):
            await calls.reached(lambda calls: set(calls.ended) >= {1, 2, 3}, self.patience_s)

    async def test_a_unit_that_was_cut_short_is_called_again(self, recipe: EngineRecipe) -> None:
        """A unit whose handler was cancelled by a stop is called by the next engine."""

        async def hang(work: Work) -> None:
            await asyncio.Event().wait()

        cut = Calls(hang)
        async with recipe.make() as engine:
            await engine.submit(units(1))
            async with running(engine, cut):
                await cut.reached(lambda calls: len(calls.began) == 1, self.patience_s)
        calls = Calls()
        async with recipe.make() as engine, running(engine, calls):
            await calls.reached(lambda calls: 1 in calls.ended, self.patience_s)

    async def test_two_engines_share_the_work(self, recipe: EngineRecipe) -> None:
        """Several engines at once bring every unit to one of them."""
        calls = Calls()
        everything = set(range(1, 101))
        async with recipe.make() as first, recipe.make() as second:
            await first.submit(units(*everything))
            async with running(first, calls), running(second, calls):
                await calls.reached(lambda calls: set(calls.ended) >= everything, self.patience_s)

    async def test_nothing_is_lost_when_the_process_is_killed(self, recipe: EngineRecipe) -> None:
        """Of a process killed with SIGKILL in the middle, every unit whose handler had not returned is called again."""
        everything = set(range(1, 31))
        hanging = {1, 2}
        async with recipe.make() as engine:
            await engine.submit(units(*everything))
            returned = await _killed(recipe, hanging, self.patience_s)
            calls = Calls()
            async with running(engine, calls):
                await calls.reached(lambda calls: set(calls.ended) | returned >= everything, self.patience_s)
        assert returned
        assert not returned & hanging


async def _killed(recipe: EngineRecipe, hanging: set[int], patience_s: float) -> set[int]:
    """Run the engine in another process until the hanging units have begun, kill it; the units that had returned."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "genie_connect_spec.engine_victim",
        recipe.module,
        recipe.function,
        recipe.argument,
        ",".join(map(str, sorted(hanging))),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    began: set[int] = set()
    returned: set[int] = set()
    try:
        async with asyncio.timeout(patience_s):
            while not (hanging <= began and returned):
                line = await process.stdout.readline()
                assert line, "the process that was to be killed ended by itself"
                what, unit = line.split()
                (began if what == b"began" else returned).add(int(unit))
    finally:
        process.kill()
        rest = await process.stdout.read()
        await process.wait()
    # What it wrote before it died happened, whether it was read by then or not.
    return returned | {int(line.split()[1]) for line in rest.splitlines() if line.startswith(b"returned ")}
