"""The tutorial, typed into a shell as it stands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, matches

TUTORIAL = PAGES / "tutorial.md"
INBOX_PORT, API_PORT = "2525", "8925"
_BLOCK = re.compile(r"^```(console|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_DEV = f"""#!/bin/sh
[ "$1" = cli ] || exit 99
shift
exec {sys.executable} -m genie_connect.cli "$@"
"""


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with what is shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout's ``dev`` without its set-up, which the test environment has behind it."""
    dev = tmp_path / "dev"
    dev.write_text(_DEV)
    dev.chmod(0o755)
    return tmp_path


@pytest.fixture
def ports() -> dict[str, str]:
    """For each port of the tutorial one that is free here."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return {INBOX_PORT: str(first.getsockname()[1]), API_PORT: str(second.getsockname()[1])}


def test_every_command_shows_what_the_tutorial_shows(folder: Path, ports: dict[str, str]) -> None:
    """A reader who types the tutorial sees what it shows."""
    text = TUTORIAL.read_text(encoding="utf-8")
    for tutorial_port, port in ports.items():
        text = text.replace(tutorial_port, port)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GENIE_CONNECT", "COLUMNS"))
    }
    environment |= {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default"}
    inbox: subprocess.Popen[str] | None = None
    try:
        for kind, block in _BLOCK.findall(text):
            if kind == "toml":
                with (folder / "genie-connect.toml").open("a") as file:
                    file.write(block)
                continue
            for command, shown in commands(block):
                if command.endswith(" inbox"):
                    inbox = _start(f"{command} --port {ports[INBOX_PORT]}", folder, environment)
                    printed = "".join(inbox.stdout.readline() for _ in shown.splitlines()) if inbox.stdout else ""
                else:
                    printed = _run(command, folder, environment)
                assert matches(printed, shown), f"$ {command}\n{printed}"
        assert inbox is not None
        inbox.terminate()
        received, _ = inbox.communicate(timeout=30)
        assert received.count('"Your order"') == 3
        assert received.count('"News"') == 1
    finally:
        if inbox is not None:
            inbox.kill()
            inbox.communicate()


def _start(command: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command.split(),
        cwd=folder,
        env=environment,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _run(command: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout
