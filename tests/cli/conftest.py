"""What the command-line tests share: two packages to discover, a folder with a configuration, and ways to run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from genie_connect.cli.app import app

PACKAGES = Path(__file__).parent / "packages"
SECRET = "correct-horse-battery-staple"

CONFIGURATION = """\
[connections.primary]
connector = "acme"
priority = 1
default_from = "Shop <shop@example.com>"
[connections.primary.settings]
folder = "{folder}"
api_key = "env:ACME_KEY"

[connections.plain]
connector = "acme"
default_from = "Shop <shop@example.com>"
[connections.plain.settings]
html = false
"""


@attrs.frozen
class Cli:
    """The command line in a folder of its own, run within this process or as one of its own."""

    folder: Path

    @property
    def kept(self) -> list[dict[str, Any]]:
        """What the connector was given, oldest first, with the composed bytes as ``eml``."""
        files = sorted((self.folder / "kept").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text()) | {"eml": path.with_suffix(".eml").read_bytes()} for path in files]

    def __call__(self, *arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002  # click's word
        """Run it within this process."""
        return CliRunner().invoke(app, list(arguments), input=input)

    def json(self, *arguments: str, input: str | bytes | None = None) -> Any:  # noqa: A002
        """The JSON that a command prints; it is all of standard output, whatever the exit code."""
        return json.loads(self(*arguments, "--json", input=input).stdout)

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        (self.folder / "genie-connect.toml").write_text(text)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a process of its own: nothing that decides about colours but what is given."""
        plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        return plain | {"PYTHONPATH": str(PACKAGES), "PYTHONWARNINGS": "error"} | dict(more or {})

    def process(self, *arguments: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
        """Run it as a process of its own."""
        more = keywords.pop("env", None)
        return subprocess.run(
            [sys.executable, "-m", "genie_connect.cli", *arguments],
            cwd=self.folder,
            env=self.environment(more),
            capture_output=True,
            text=True,
            timeout=60,
            **{"stdin": subprocess.DEVNULL} | keywords if "input" not in keywords else keywords,
        )

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start it as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "genie_connect.cli", *arguments],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line with the connectors ``acme`` and ``broken`` installed, and two connections."""
    monkeypatch.syspath_prepend(PACKAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACME_KEY", SECRET)
    for name in ("GENIE_CONNECT_CONFIG", "GENIE_CONNECT_CONNECTORS", "GENIE_CONNECT_SAFE_MODE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "kept").mkdir()
    made = Cli(tmp_path)
    made.configure(CONFIGURATION.format(folder=(tmp_path / "kept").as_posix()))
    return made


@pytest.fixture
def stored(cli: Cli) -> Cli:
    """The same, with a store beside the configuration."""
    cli.configure('[store]\nurl = "sqlite:///mail.db"\n\n' + (cli.folder / "genie-connect.toml").read_text())
    return cli
