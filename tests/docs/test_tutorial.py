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

pytestmark = pytest.mark.long

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
def dead_port() -> Iterator[str]:
    """A port that is taken and does not listen, so that every connection to it is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield str(taken.getsockname()[1])


def test_every_command_shows_what_the_tutorial_shows(folder: Path, dead_port: str) -> None:
    """A reader who types the tutorial sees what it shows."""
    ports = {API_PORT: dead_port}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GENIE_CONNECT", "COLUMNS"))
    }
    environment |= {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    inbox: subprocess.Popen[str] | None = None
    try:
        for kind, block in _BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
            if kind == "toml":
                with (folder / "genie-connect.toml").open("a", encoding="utf-8") as file:
                    file.write(_here(block, ports))
                continue
            for command, shown in commands(block):
                if command.endswith(" inbox"):
                    inbox = _start(f"{command} --port 0", folder, environment)
                    assert inbox.stdout is not None
                    printed = "".join(inbox.stdout.readline() for _ in shown.splitlines())
                    ports[INBOX_PORT] = printed.partition(";")[0].rpartition(" ")[2]
                else:
                    printed = _run(command, folder, environment)
                assert matches(printed, _here(shown, ports)), f"$ {command}\n{printed}"
        assert inbox is not None
        inbox.terminate()
        received, _ = inbox.communicate(timeout=30)
        assert received.count('"Your order"') == 3
        assert received.count('"News"') == 1
    finally:
        if inbox is not None:
            inbox.kill()
            inbox.communicate()


def _here(text: str, ports: dict[str, str]) -> str:
    """The tutorial's text with the ports that are used here."""
    for of_the_tutorial, here in ports.items():
        text = text.replace(of_the_tutorial, here)
    return text


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
