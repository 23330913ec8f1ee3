"""What the kit asks of a fake provider, whichever protocol it speaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import attrs

from genie_connect_spec.kit.behaviour import Behaviour

T = TypeVar("T")
TURNS = 10
"""After so many turns of a loop whatever was ready in it has run, and what that made ready."""
START_S = 10.0
"""How long a server on this machine may take to start or stop."""


@attrs.frozen(kw_only=True)
class HandedOver:
    """One hand-over as it came: everything that was sent for it, and for SMTP the envelope."""

    content: bytes = attrs.field(repr=lambda content: f"<{len(content)} bytes>")
    envelope_from: str | None = None
    recipients: tuple[str, ...] = ()


class Provider(Protocol):
    """A server on this machine, in a thread of its own, that does what it is told."""

    host: str
    port: int

    @property
    def handed_over(self) -> list[HandedOver]:
        """What it was sent as messages, whole, in the order in which it came."""
        ...

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        ...

    def can(self, behaviour: Behaviour) -> bool:
        """Whether its protocol knows this behaviour."""
        ...

    def behave(self, behaviour: Behaviour = Behaviour.NORMAL, *, everywhere: bool = False) -> None:
        """Treat messages like this from now on, or with ``everywhere`` whatever it is asked."""
        ...

    def forget(self) -> None:
        """Nothing was handed over so far."""
        ...

    async def received(self, count: int, timeout_s: float) -> None:
        """Return once so many messages came. Raises ``TimeoutError``."""
        ...

    async def deserted(self, timeout_s: float) -> None:
        """Return once no client is connected any more. Raises ``TimeoutError``."""
        ...

    def knows(self, thread: int) -> bool:
        """Whether this is the thread that the provider lives in."""
        ...


class Happenings:
    """Tells waiting event loops, from the provider's thread, that something has changed."""

    def __init__(self) -> None:
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()

    def tell(self) -> None:
        """Something has changed."""
        with self._lock:
            waiting = list(self._waiting)
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        """Return once it holds. Raises ``TimeoutError``."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            self._waiting.add(entry)
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    await event.wait()
                    event.clear()
        finally:
            with self._lock:
                self._waiting.discard(entry)


class ServerThread:
    """An event loop in a thread, for a server that must go on while a connector blocks its own loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    @property
    def ident(self) -> int | None:
        """The thread's number."""
        return self._thread.ident

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.run(_end_of_all_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    async def settled(self) -> None:
        """Return once the loop over there has seen to what was ready: a connection just made is taken in by then."""
        await asyncio.wrap_future(self.later(_turns()))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs over there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    def later(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """The same, without waiting for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _end_of_all_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # Connections that were aborted are closed one turn of the loop later.
    for _ in range(3):
        await asyncio.sleep(0)


def relocated(settings: Mapping[str, Any], provider: Provider, host: str, port: int) -> dict[str, Any]:
    """The settings, leading to another place than the provider."""

    def moved(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(f"{provider.host}:{provider.port}", f"{host}:{port}")
        return port if type(value) is int and value == provider.port else value

    return {name: moved(value) for name, value in settings.items()}
