"""nodemailer, installed from npm into a folder that git ignores."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.bench.smtp.sinks import CannotRun
from tests.integration.servers import servers_folder

MAJOR = 10
PROGRAM = Path(__file__).with_name("nodemailer.cjs")
_INSTALL_TIMEOUT_S = 120


def node() -> str:
    """Node.js: the one on the path, or the one that Haraka runs with. Raises ``CannotRun``."""
    found = shutil.which("node")
    beside_haraka = servers_folder() / "haraka/node"
    if found is None and beside_haraka.exists():
        found = str(beside_haraka)
    if found is None:
        raise CannotRun("no Node.js here")
    return found


def installed() -> Path:
    """The folder that holds nodemailer's newest release of that major version. Raises ``CannotRun``."""
    node()
    folder = servers_folder() / "nodemailer"
    if (folder / "node_modules/nodemailer/package.json").exists():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise CannotRun("no npm here")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "description": "nodemailer for the benchmarks"}\n')
    options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    command = [npm, "install", *options, f"nodemailer@{MAJOR}"]
    try:
        subprocess.run(
            command, cwd=folder, check=True, timeout=_INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL, capture_output=True
        )
    except (subprocess.SubprocessError, OSError):
        raise CannotRun("npm could not install nodemailer") from None
    return folder
