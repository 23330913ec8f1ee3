"""Hostile connectors: what they do wrong when they open and close."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from genie_connect import (
    hookimpl,
)
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails


@fails("GC-LIFE-002")
class ConnectsEarly(Honest):
    """Connects when it opens."""

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """To see whether somebody is there."""
        place = urlsplit(settings.base_url)
        with suppress(OSError):
            _, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.close()
            await writer.wait_closed()
        return await Honest.connector_open(self, settings, runtime)


@fails("GC-LIFE-003", "GC-LIFE-004")
class ClosesOnce(Honest):
    """Cannot be closed twice."""

    @hookimpl
    async def connector_close(self, state: Any) -> None:
        """Once, it says."""
        if state.client is None:
            raise RuntimeError("closed already")
        client, state.client = state.client, None
        await client.close()


@fails("GC-LIFE-006", "GC-LIFE-009", "GC-LIFE-010")
class NeverCloses(Honest):
    """Closes nothing."""

    def __init__(self) -> None:
        self.held: list[Any] = []

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """With a socket of its own, which it keeps for ever."""
        state = await Honest.connector_open(self, settings, runtime)
        self.held.append(socket.socket())
        return state

    @hookimpl
    async def connector_close(self, state: Any) -> None:
        """It says that it has."""


@fails("GC-LIFE-007")
class LeavesATask(Honest):
    """Leaves a task behind."""

    tasks: set[Any] = set()

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """A heart that never stops."""
        state = await Honest.connector_open(self, settings, runtime)
        self.tasks.add(asyncio.ensure_future(asyncio.sleep(3600)))
        return state


@fails("GC-LIFE-008")
class LeavesAThread(Honest):
    """Leaves a thread behind."""

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """For three seconds."""
        threading.Thread(target=time.sleep, args=(3,), daemon=True, name="left behind").start()
        return await Honest.connector_open(self, settings, runtime)


@fails("GC-LIFE-012")
class AnyError(Honest):
    """Raises an error of its own where the key is missing."""

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """Something went wrong."""
        try:
            return await Honest.connector_open(self, settings, runtime)
        except Exception:
            raise RuntimeError("something went wrong") from None


@fails("GC-LIFE-014")
class BoundToALoop(Honest):
    """Keeps what belongs to one loop."""

    loop: Any = None

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """The loop of the first attempt is the only one."""
        if context.attempt_id == "kit-1":
            self.loop = asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        return await super().request(state, content, context)


@fails("GC-LIFE-016")
class AcceptsWhenClosed(Honest):
    """Says yes when it is closed."""

    def __init__(self) -> None:
        self.closed: set[int] = set()

    @hookimpl
    async def connector_close(self, state: Any) -> None:
        """And remembers."""
        state.closed = True
        await Honest.connector_close(self, state)

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """Of course."""
        if getattr(state, "closed", False):
            return [self.accepted(address.email) for address in batch.recipients]
        return await Honest.connector_send(self, state, batch, context)
