"""Running a stranger's coroutine so that the kit itself always comes to an end.

Each check has a thread with an event loop of its own. A connector that blocks the loop, or swallows its cancellation,
is left behind in it and reported; nothing of it reaches the next check.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import attrs

T = TypeVar("T")
CHECK_TIMEOUT_S = 20.0
"""How long a check may take before it counts as hung."""
CLEAN_UP_S = 1.0


class Hung(AssertionError):
    """The connector did not come to an end."""


@attrs.define
class Leavings:
    """What was still there when the check's work was done."""

    tasks: list[str] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)


async def within(seconds: float, work: Awaitable[T], what: str) -> T:
    """The result of ``work``. Raises ``Hung``, also where the work ignores its cancellation."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=CLEAN_UP_S)
        raise Hung(f"{what} did not end within {seconds:g} s")
    return task.result()


def run(work: Coroutine[Any, Any, None], *, timeout_s: float = CHECK_TIMEOUT_S) -> Leavings:
    """Run a check's coroutine to its end. Raises what it raises, and ``Hung``."""
    leavings = Leavings()
    caught: list[BaseException] = []

    def body() -> None:
        try:
            _in_loop(work, leavings, timeout_s)
        except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that waits
            caught.append(error)

    thread = threading.Thread(target=body, name="kit check", daemon=True)
    thread.start()
    thread.join(timeout_s + 3 * CLEAN_UP_S)
    if thread.is_alive():
        raise Hung(f"the connector blocks its event loop: nothing else ran for {timeout_s:g} s")
    if caught:
        raise caught[0]
    return leavings


def _in_loop(work: Coroutine[Any, Any, None], leavings: Leavings, timeout_s: float) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: leavings.complaints.append(str(context.get("message", ""))))
    executor = ThreadPoolExecutor(max_workers=8, thread_name_prefix="kit check worker")
    loop.set_default_executor(executor)
    try:
        loop.run_until_complete(within(timeout_s, work, "the check"))
    finally:
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        leavings.tasks.extend(task.get_name() + " " + repr(task.get_coro())[:120] for task in left)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=CLEAN_UP_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
        executor.shutdown(wait=False, cancel_futures=True)
        loop.close()
