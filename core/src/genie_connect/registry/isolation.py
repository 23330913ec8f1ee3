"""Running a stranger's code so that it harms nobody but itself.

``except Exception`` is not enough. A broken native library raises a ``BaseException`` of its own (PyO3's
``PanicException``), ``sys.exit`` ends the program, ``CancelledError`` looks as if the host had cancelled, and a bare
``except`` swallows cancellation, so that a time-out around it never ends. ``KeyboardInterrupt`` alone is passed on.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

_logger = logging.getLogger("genie_connect.registry")
CLEAN_UP_S = 1.0
"""How long cancelled code may take to let go of what it holds before nobody waits for it any more."""

P = ParamSpec("P")
T = TypeVar("T")


class Crashed(Exception):
    """It raised what is not an ``Exception``. ``__cause__`` holds that; the text is the name of its type."""


class OverDeadline(Exception):
    """It had not ended when its time was up."""


def called(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(...)``; whatever it raises is an ``Exception``."""
    try:
        return function(*args, **kwargs)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Crashed(type(error).__name__) from error


def log_failure(logger: logging.Logger, error: BaseException, message: str, *args: object) -> None:
    """Log where foreign code failed and with what type of error, without the text of it, which may hold a secret."""
    cause = error.__cause__ if isinstance(error, Crashed) and error.__cause__ else error
    frames = "".join(traceback.format_tb(cause.__traceback__)).rstrip()
    logger.error(f"{message}: %s\n%s", *args, type(cause).__name__, frames)  # noqa: G004  # ours, not data


def explained(error: BaseException) -> str:
    """Type and text of an exception, also of one that cannot be shown."""
    cause = error.__cause__ if isinstance(error, Crashed) and error.__cause__ else error
    try:
        return f"{type(cause).__name__}: {cause}"
    except Exception:  # noqa: BLE001  # its own __str__ is broken
        return type(cause).__name__


async def bounded(work: Awaitable[T], seconds: float) -> T:
    """The result of ``work``. Raises ``OverDeadline`` if that does not end in time; all it raises is an ``Exception``.

    It runs in a task of its own. That is cancelled when the time is up or the caller is cancelled; if it then does not
    end, it is left behind. A result that it still gives while it is being cancelled counts.
    """
    loop = asyncio.get_running_loop()
    # asyncio.wait does the same at three times the cost, and this is in every send. The task itself says that it has
    # ended, which spares a turn of the loop.
    over = loop.create_future()
    task = loop.create_task(_contained(work, over))
    timer = loop.call_later(seconds, _release, over)
    try:
        await over
    except asyncio.CancelledError:
        await _end(task)
        raise
    finally:
        timer.cancel()
    in_time = task.done()
    if not in_time:
        await _end(task)
    if not task.done() or (task.cancelled() and not in_time):
        raise OverDeadline
    if task.cancelled():
        raise Crashed("CancelledError")
    error = task.exception()
    if isinstance(error, GeneratorExit):
        raise Crashed("GeneratorExit") from error
    return task.result()


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _contained(work: Awaitable[T], ended: asyncio.Future[None]) -> T:
    # SystemExit that leaves a task ends the whole loop.
    try:
        return await work
    except (Exception, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        raise Crashed(type(error).__name__) from error
    finally:
        _release(ended)


async def _end(task: asyncio.Future[Any]) -> None:
    task.cancel()
    task.add_done_callback(_looked_at)
    await asyncio.wait((task,), timeout=CLEAN_UP_S)
    if not task.done():
        _logger.error("a connector ignores its cancellation and was left behind: %r", task)


def _looked_at(task: asyncio.Future[Any]) -> None:
    # Else asyncio complains, much later, that nobody did.
    if not task.cancelled():
        task.exception()
