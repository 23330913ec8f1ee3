"""A folder to run examples in, with a configuration whose servers are really there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from genie_connect.inbox import InboxServer
from genie_connect_contrib.sandbox.provider import SandboxProvider

API_KEY = "example-key"


@attrs.frozen
class Servers:
    """The servers that the examples send to."""

    inbox: InboxServer
    sandbox: SandboxProvider


@pytest.fixture
def servers() -> Iterator[Servers]:
    """An inbox and a sandbox provider in a thread of their own, since examples run loops of theirs."""
    loop = asyncio.new_event_loop()
    started: list[Servers] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with InboxServer() as inbox, SandboxProvider(api_key=API_KEY) as sandbox:
            started.append(Servers(inbox, sandbox))
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run, name="servers of the examples")
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        if started:
            loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture
def workplace(tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the configuration that the documents speak of."""
    (tmp_path / "genie-connect.toml").write_text(
        f"""
[connections.primary]
connector = "smtp"
default_from = "Shop <shop@example.com>"

[connections.primary.settings]
host = "127.0.0.1"
port = {servers.inbox.port}
security = "none"
"""
    )
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "invoice.pdf").write_bytes(b"%PDF-1.7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SANDBOX_KEY", API_KEY)
    monkeypatch.setenv("SANDBOX_URL", servers.sandbox.base_url)
    return tmp_path
