"""A page typed into a shell: its commands run, its files written, its changes made."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.docs.pages import matches

_BLOCK = re.compile(r"^```(console|diff|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"# ([a-z_]+\.py)\n")
TIMEOUT_S = 300


def typed(page: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Each command once it has run and shown what the page shows, with the folder that it ran in.

    A Python block that begins with a file's name is written to that file; a diff changes the one module below ``src``.
    """
    for kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            name = _FILE_NAME.match(block)
            assert name is not None, "a Python block names no file"
            (folder / name[1]).write_text(block, encoding="utf-8")
        elif kind == "diff":
            (module,) = folder.glob("src/*/__init__.py")
            module.write_text(_changed(module.read_text(encoding="utf-8"), block), encoding="utf-8")
        else:
            for command, shown in _commands(block):
                if command.startswith("cd "):
                    folder = folder / command.removeprefix("cd ")
                else:
                    printed = _run(command, folder, environment)
                    assert matches(printed, shown), f"$ {command}\n{printed}"
                yield command, folder


def _changed(text: str, diff: str) -> str:
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    assert text.count(before) == 1, f"it does not hold once:\n{before}"
    return text.replace(before, after)


def _commands(block: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def _run(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=dict(environment),
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stdout
