"""Broadcasts and workers as processes of their own, with real signals and real mail; and what they show meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from click.testing import Result

from genie_connect.cli.exit_codes import ExitCode
from genie_connect.inbox import InboxServer
from tests.cli.conftest import Cli

pytestmark = pytest.mark.long

CONFIGURATION = """\
[store]
url = "sqlite:///mail.db"
[engine]
chunk = 20
micro_batch = 10
concurrency = 2
[connections.inbox]
connector = "smtp"
default_from = "Shop <shop@example.com>"
{more}
[connections.inbox.settings]
host = "127.0.0.1"
port = {port}
security = "none"
"""
LONGEST_S = 120.0
EVERYBODY = [f"reader{number}@example.com" for number in range(120)]
LETTER = ("--subject", "News for {{ name }}", "--text", "There is news.", "--recipients", "list.csv")


@attrs.frozen
class Ground:
    """An inbox, and the command line in a folder that is configured to send to it."""

    cli: Cli
    inbox: InboxServer

    @asynccontextmanager
    async def started(self, *arguments: str, **keywords: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command as a process, until the end of the block."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "genie_connect.cli",
            *arguments,
            cwd=self.cli.folder,
            stdin=asyncio.subprocess.DEVNULL,
            **{
                "env": self.cli.environment(),
                "stdout": asyncio.subprocess.PIPE,
                "stderr": asyncio.subprocess.PIPE,
            }
            | keywords,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def says(self, *arguments: str) -> Result:
        """What a command says meanwhile."""
        return await asyncio.to_thread(self.cli, *arguments)

    async def json(self, *arguments: str) -> Any:
        """The same as JSON."""
        return await asyncio.to_thread(self.cli.json, *arguments)

    @property
    def copies(self) -> Counter[str]:
        """How often each had the letter."""
        return Counter(recipient for received in self.inbox.messages for recipient in received.recipients)


@pytest.fixture
async def ground(cli: Cli) -> AsyncIterator[Ground]:
    """An inbox at a pace that leaves time to interrupt."""
    pytest.importorskip("genie_connect_smtp")
    (cli.folder / "list.csv").write_text("email,name\n" + "".join(f"{each},you\n" for each in EVERYBODY))
    async with InboxServer() as inbox:
        cli.configure(CONFIGURATION.format(port=inbox.port, more="rate_per_s = 60"))
        yield Ground(cli, inbox)


async def line(stream: asyncio.StreamReader | None, pattern: str) -> re.Match[str]:
    """The first line that the pattern is found in."""
    assert stream is not None
    passed = []
    while text := (await stream.readline()).decode():
        if found := re.search(pattern, text):
            return found
        passed.append(text)
    raise AssertionError(f"no {pattern!r} in:\n{''.join(passed)}")


@pytest.mark.timeout(300)
async def test_nobody_gets_two_whoever_goes_on(ground: Ground) -> None:
    """Interrupted in one process, gone on with in another, which is killed, and ended by a worker."""
    async with ground.started("broadcast", *LETTER) as first:
        await ground.inbox.wait_for(10, timeout_s=LONGEST_S)
        first.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(first.communicate(), LONGEST_S)
    assert first.returncode == ExitCode.INTERRUPTED
    assert "pausing: what is being handed over ends" in err.decode()
    assert re.search(r"broadcast 1 is paused: \d+ accepted, \d+ left \(interrupted at the terminal\)", out.decode())
    assert "hint: genie-connect broadcasts resume 1 goes on with it" in err.decode()
    assert (await ground.json("unknown", "list"))["unknown"] == []

    async with ground.started("broadcasts", "resume", "1") as second:
        await ground.inbox.wait_for(len(ground.inbox.messages) + 30, timeout_s=LONGEST_S)
        second.kill()
        await second.wait()

    async with ground.started("worker") as worker:
        await line(worker.stderr, r"Z working worker=\w+ engine=embedded")
        assert (await ground.says("broadcasts", "show", "1", "--watch")).exit_code == ExitCode.OK
        worker.send_signal(signal.SIGTERM)
        await line(worker.stderr, r"Z stopping in_progress=0")
        await line(worker.stderr, r"Z stopped units_done=\d+")
        assert await worker.wait() == ExitCode.OK

    ended = await ground.json("broadcasts", "show", "1")
    doubtful = {copy["recipient"] for copy in (await ground.json("unknown", "list"))["unknown"]}
    assert (ended["state"], ended["remaining"], ended["unknown"]) == ("done", 0, len(doubtful))
    assert len(doubtful) <= 10
    copies = ground.copies
    assert max(copies.values()) == 1
    assert set(EVERYBODY) - set(copies) <= doubtful
    assert not set(copies) - set(EVERYBODY)


async def test_a_shutdown_leaves_a_broadcast_to_workers(ground: Ground) -> None:
    """SIGTERM is no wish of a person to pause: it goes on with whoever works."""
    async with ground.started("broadcast", *LETTER) as first:
        await ground.inbox.wait_for(10, timeout_s=LONGEST_S)
        first.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(first.communicate(), LONGEST_S)
    assert first.returncode == ExitCode.INTERRUPTED
    assert "workers go on with the broadcast" in err.decode()
    left = await ground.json("broadcasts", "show", "1")
    assert (left["state"], left["unknown"], left["chunks_in_progress"]) == ("running", 0, 0)
    assert left["remaining"] > 0


async def test_a_worker_takes_up_what_was_detached_and_says_how_it_is(ground: Ground) -> None:
    """200 as soon as it has looked around; the work is the worker's alone."""
    ground.cli.configure(CONFIGURATION.format(port=ground.inbox.port, more=""))
    assert (await ground.says("broadcast", *LETTER, "--detach")).exit_code == ExitCode.OK
    assert ground.inbox.messages == []
    async with ground.started("worker", "--health", "0", "--concurrency", "1", "--json") as worker:
        url = (await line(worker.stdout, r'"url": "(http://127\.0\.0\.1:\d+/health)"'))[1]
        await ground.inbox.wait_for(len(EVERYBODY), timeout_s=LONGEST_S)
        status, health = await asyncio.to_thread(get, url)
        assert (status, health["ok"], health["alive"], health["fed"], health["trouble"]) == (
            200,
            True,
            True,
            True,
            None,
        )
        worker.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(worker.wait(), LONGEST_S) == ExitCode.OK
    assert ground.copies == Counter(EVERYBODY)


async def test_a_second_signal_ends_a_worker_at_once(ground: Ground) -> None:
    """Though a server does not answer; whoever was being sent to is told to be in doubt."""
    asked = asyncio.Event()
    answered = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await answered.wait()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        ground.cli.configure(CONFIGURATION.format(port=port, more=""))
        assert (await ground.says("broadcast", *LETTER, "--detach")).exit_code == ExitCode.OK
        async with ground.started("worker") as worker:
            await asyncio.wait_for(asked.wait(), LONGEST_S)
            worker.send_signal(signal.SIGTERM)
            await line(worker.stderr, r"Z stopping in_progress=[12]")
            worker.send_signal(signal.SIGTERM)
            await line(worker.stderr, "ended at once: whoever was just being sent to is unknown")
            assert await worker.wait() == ExitCode.INTERRUPTED
        answered.set()


async def test_shows_a_table_on_a_terminal_of_80_columns(ground: Ground) -> None:
    """It stays in its place, and no line of it is longer than the terminal."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    environment = ground.cli.environment({"COLUMNS": "80", "LINES": "24", "TERM": "xterm"})
    try:
        async with ground.started("broadcast", *LETTER, stdout=theirs, env=environment) as process:
            os.close(theirs)
            written = await everything(ours)
            assert await process.wait() == ExitCode.OK
    finally:
        os.close(ours)
    assert "\x1b[1A" in written
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r", "\n").split("\n")
    lines = [each for each in lines if each.strip()]
    assert [each for each in lines if len(each.rstrip()) > 80] == []
    assert any(re.fullmatch(r"inbox +\d+ +0 +0 +0", each.strip()) for each in lines)
    # How long it takes yet is told only where it is still under way when the table is drawn.
    assert any(re.fullmatch(r"\d+/s(, \d.* left)?", each.strip()) for each in lines)
    assert lines[-1].startswith("broadcast 1 is done: 120 accepted; in ")


async def everything(terminal: int) -> str:
    """What is written to a terminal until nobody has it open any more."""
    written = b""
    loop = asyncio.get_running_loop()
    while True:
        ready = asyncio.Event()
        loop.add_reader(terminal, ready.set)
        await asyncio.wait_for(ready.wait(), LONGEST_S)
        loop.remove_reader(terminal)
        try:
            read = os.read(terminal, 65_536)
        except OSError:  # Linux says so at the end
            read = b""
        if not read:
            return written.decode()
        written += read


def get(url: str) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
