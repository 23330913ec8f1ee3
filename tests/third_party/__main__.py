"""Build our wheels and a stranger's, install them into a clean environment, use, upgrade and remove the stranger's.

Run by ``./dev third-party``; it takes a minute, and fetches what the wheels depend on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent.parent
UV = str(ROOT / ".uv" / "bin" / "uv")
OURS = ("core", "plugins/smtp", "spec")


def run(*command: str, **options: object) -> None:
    """Run a program, and stop where it fails."""
    print("+", " ".join(Path(part).name if "/" in part else part for part in command), flush=True)
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


def build(project: Path, wheels: Path) -> None:
    """A wheel of a project."""
    run(UV, "build", "--wheel", "--quiet", "--out-dir", str(wheels), str(project))


def main() -> int:
    """The whole way."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        wheels, python = place / "wheels", str(place / "venv" / "bin" / "python")
        for project in OURS:
            build(ROOT / project, wheels)
        run(UV, "venv", "--quiet", "--no-project", "--python", sys.executable, str(place / "venv"))
        install = (UV, "pip", "install", "--quiet", "--python", python, "--find-links", str(wheels))
        pinned = ("--constraint", str(ROOT / ".ci" / "constraints.txt"))
        run(*install, *pinned, "genie-connect[cli,http]", "genie-connect-smtp", "genie-connect-spec")
        run(python, "-m", "genie_connect.cli", "new", "acme", "--into", str(place / "acme"))
        build(place / "acme", wheels)
        project = place / "acme" / "pyproject.toml"
        newer = project.read_text(encoding="utf-8").replace('version = "0.1.0"', 'version = "0.2.0"')
        project.write_text(newer, encoding="utf-8")
        build(place / "acme", wheels)
        program = Path(__file__).with_name("host.py")
        run(python, str(program), UV, str(wheels), cwd=place)
        run(*install, "genie-connect-acme==0.2.0")
        run(python, "-m", "pytest", "-q", "--rootdir", str(place / "acme"), str(place / "acme" / "tests"), cwd=place)
    print("a stranger's package was built, found, used, upgraded, removed, and keeps the contract")
    return 0


if __name__ == "__main__":
    sys.exit(main())
