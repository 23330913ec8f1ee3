"""The tutorial for authors, typed into a shell as it stands, but for the installer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT
from tests.docs.shell import typed

pytestmark = pytest.mark.long

PAGE = PAGES / "guides" / "first-connector.md"
PACKAGE = ROOT / "tests" / "third_party" / "acme"
# What pip does of which the tutorial makes use: an editable package can be imported, and has its entry points.
_PIP = """
import pathlib, shutil, sys, tomllib
site = pathlib.Path(sys.argv[1])
metadata = site / "genie_connect_acme-0.1.0.dist-info"
if sys.argv[2:4] == ["install", "-e"]:
    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    (site / "genie_connect_acme").symlink_to(pathlib.Path("src/genie_connect_acme").resolve())
    metadata.mkdir()
    head = f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n"
    (metadata / "METADATA").write_text(head + "".join(f"Requires-Dist: {each}\\n" for each in project["dependencies"]))
    (group, points), = project["entry-points"].items()
    lines = "".join(f"{name} = {value}\\n" for name, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\\n{lines}")
elif sys.argv[2] == "uninstall":
    (site / "genie_connect_acme").unlink()
    shutil.rmtree(metadata)
"""
_PROGRAMS = {
    "python": "",
    "pytest": "-m pytest -p no:cacheprovider -p genie_connect_spec.pytest_plugin -p pytest_asyncio",
    "genie-connect": "-m genie_connect.cli",
    "pip": "{place}/pip.py {place}/site",
}

# As in an environment that has nothing else in it.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One with the tutorial's programs, and a folder to install into."""
    place = tmp_path / "environment"
    for folder in ("bin", "site"):
        (place / folder).mkdir(parents=True)
    (place / "pip.py").write_text(_PIP)
    for name, arguments in _PROGRAMS.items():
        program = place / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments.format(place=place)} "$@"\n')
        program.chmod(0o755)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GENIE_CONNECT", "PYTEST", "COLUMNS"))
    }
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(place / "site"), "NO_COLOR": "1"} | ALONE


def test_every_command_shows_what_the_tutorial_shows(tmp_path: Path, environment: dict[str, str]) -> None:
    """And what comes of it is the package that is kept in tests/third_party."""
    folder = tmp_path
    for command, place in typed(PAGE, tmp_path, environment):
        folder = place
        if command.startswith("python "):
            assert _files(folder) == _files(PACKAGE)
    assert folder.name == "genie-connect-acme"


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "try_it.py"
    }
