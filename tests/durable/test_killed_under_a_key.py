"""A process that is killed around a hand-over to a provider that honours idempotency keys: one copy, and no doubt."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from genie_connect import Host
from genie_connect.failpoints import VARIABLE
from genie_connect_contrib.sandbox.provider import SandboxProvider

pytestmark = pytest.mark.long

KEY = "key-of-the-sandbox"
PEOPLE = ["ada@example.com", "ben@example.com", "cy@example.com"]
PROGRAM = """
import asyncio, json, sys
from genie_connect import Host, Message

async def main(config, kind, people):
    told = {"from_": "Shop <shop@example.com>", "subject": "News", "text": "There is news."}
    async with Host.open(config) as host:
        if kind == "send":
            receipt = await host.send(Message(to=people, **told), durable=True)
            await host.settled(receipt.id, timeout_s=30)
        else:
            await (await host.broadcast(Message(**told), people)).wait(30)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["send", "broadcast"])
@pytest.mark.parametrize("at", ["journal.leaving.after", "journal.answered.before"])
async def test_each_gets_one_copy_and_nobody_is_unknown(tmp_path: Path, kind: str, at: str) -> None:
    """Whether the provider had the batch already or not, it is handed over again under the same key."""
    async with SandboxProvider(api_key=KEY) as provider:
        config: dict[str, Any] = {
            "connections": {
                "api": {"connector": "sandbox", "settings": {"base_url": provider.base_url, "api_key": KEY}}
            },
            "store": {"url": f"sqlite:///{tmp_path / 'store.db'}"},
            "engine": {"lease_s": 5.0},
        }
        arguments = json.dumps([config, kind, PEOPLE])
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, arguments, env={**os.environ, VARIABLE: at}
        )
        assert await killed.wait() == -signal.SIGKILL
        before = len(provider.messages)
        assert bool(before) is (at == "journal.answered.before")
        async with Host.open(config) as host:
            if kind == "send":
                receipt = await host.settled(1, timeout_s=30)
                assert receipt.accepted
                assert [attempt.outcome for attempt in receipt.attempts] == ["unknown", "accepted"]
            else:
                progress = await (await host.find_broadcast(1)).wait(30)
                assert (progress.counts.accepted, progress.counts.unknown) == (len(PEOPLE), 0)
            assert await host.unknown() == ()
        copies = Counter(recipient for message in provider.messages for recipient in message.recipients)
        assert copies == dict.fromkeys(PEOPLE, 1)
