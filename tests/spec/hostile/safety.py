"""Hostile connectors: what they do wrong with secrets, and with whom they talk to."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import socket
import subprocess
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from genie_connect import (
    Outcome,
    Retry,
    Scope,
    hookimpl,
)
from genie_connect.http import NotSent
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails
from tests.spec.hostile.spoiling import Misjudges


@fails("GC-SAFE-001")
class LogsTheKey(Honest):
    """Logs what it does, in detail."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """The key too."""
        logging.getLogger("honest").debug("sending", extra={"headers": {"authorization": state.key}})
        return await super().request(state, content, context)


@fails("GC-SAFE-002")
class TellsTheKey(Misjudges):
    """Puts the key into its hint."""

    facts = {
        "reason": "auth",
        "scope": Scope.CONNECTION,
        "retry": Retry.OTHER,
        "hint": "the-key-of-the-honest is wrong",
    }

    def misjudged(self, outcome: Outcome) -> bool:
        """Unauthorized."""
        return outcome.code == 401


@dataclasses.dataclass
class _Shown:
    client: Any
    key: str
    calls: int = 0


@fails("GC-SAFE-004")
class ShowsItsState(Honest):
    """Has a state that shows the key."""

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """As dataclasses do."""
        state = await Honest.connector_open(self, settings, runtime)
        return _Shown(state.client, state.key)


@fails("GC-SAFE-005")
class KeyInTheUrl(Honest):
    """Puts the key into the URL."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """As a parameter."""
        headers = {"authorization": f"Bearer {state.key}"}
        if context.idempotency_key is not None:
            headers["idempotency-key"] = context.idempotency_key
        return await state.client.request(
            "POST", f"/send?key={state.key}", headers=headers, content=content, timeout_s=context.remaining_s()
        )


@fails("GC-SAFE-006")
class PhonesHome(Honest):
    """Tells its author about every message."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Quickly."""
        with suppress(OSError), socket.socket() as home:
            home.settimeout(0.1)
            home.connect(("127.0.0.2", 9))
        return await super().request(state, content, context)


@fails("GC-SAFE-007")
class PhonesHomeFromTests(Honest):
    """Tells its author about every test."""

    async def asked(self, state: Any, context: Any) -> Any:
        """Quickly."""
        with suppress(OSError), socket.socket() as home:
            home.connect(("127.0.0.2", 9))
        async for step in super().asked(state, context):
            yield step


@fails("GC-SAFE-008")
class RunsAProgram(Honest):
    """Runs a program for every message."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """A harmless one."""
        subprocess.run(["/bin/true"], check=False)
        return await super().request(state, content, context)


@fails("GC-SAFE-009")
class FollowsProxies(Honest):
    """Goes through whatever proxy the environment names."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Which is not there."""
        if os.environ.get("HTTP_PROXY"):
            raise NotSent("connect", "the proxy is away")
        return await super().request(state, content, context)


@fails("GC-SAFE-010")
class FollowsRedirections(Honest):
    """Goes where it is sent."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """With the key."""
        answer = await super().request(state, content, context)
        if answer.status == 307:
            place = urlsplit(answer.headers["location"])
            with suppress(OSError):
                _, writer = await asyncio.open_connection(place.hostname, place.port)
                writer.close()
        return answer


@fails("GC-SAFE-011")
class Prints(Honest):
    """Prints what it does."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """For all to see."""
        print("sending")
        return await super().request(state, content, context)


@fails("GC-SAFE-012")
class ReadsSubjects(Honest):
    """Decodes what looks encoded."""

    def content(self, batch: Any) -> dict[str, Any]:
        """Per cent."""
        content = super().content(batch)
        return {**content, "subject": content["subject"].replace("%0d%0a", "\r\n")}


@fails("GC-SAFE-013")
class DropsNames(Honest):
    """Takes the quotes out of names."""

    def content(self, batch: Any) -> dict[str, Any]:
        """Quotes are evil."""
        content = super().content(batch)
        copies = [{**copy, "names": [name.replace('"', "") for name in copy["names"]]} for copy in content["copies"]]
        return {**content, "copies": copies}


@fails("GC-SAFE-016")
class SendsItsKey(Honest):
    """Puts the key into the message."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """For the provider's support."""
        data = {**json.loads(content), "sent_with": state.key}
        return await super().request(state, json.dumps(data).encode(), context)


@fails("GC-SAFE-017")
class ReadsTheEnvironment(Honest):
    """Has settings that nobody sees."""

    def content(self, batch: Any) -> dict[str, Any]:
        """From the environment."""
        return {**super().content(batch), "token": os.environ.get("HONEST_TOKEN", "")}
