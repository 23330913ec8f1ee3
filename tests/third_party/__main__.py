"""Build our wheels and a stranger's, install them into a clean environment, use, upgrade and remove the stranger's.

Run by ``./dev third-party``; it takes some minutes, and fetches what the wheels depend on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.docs.pages import PAGES
from tests.docs.shell import typed

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
UV = str(ROOT / ".uv" / "bin" / "uv")
OURS = ("core", "plugins/smtp", "spec")
PINNED = ("--constraint", str(ROOT / ".ci" / "constraints.txt"))
KINDS = ("minimal", "api", "smtp")


def run(*command: str, **options: object) -> None:
    """Run a program, and stop where it fails."""
    print("+", " ".join(Path(part).name if "/" in part else part for part in command), flush=True)
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


def build(project: Path, wheels: Path) -> None:
    """A wheel of a project."""
    run(UV, "build", "--wheel", "--quiet", "--out-dir", str(wheels), str(project))


def build_all(place: Path) -> Path:
    """Wheels of what is ours, and of two versions of the stranger's package."""
    wheels = place / "wheels"
    for project in OURS:
        build(ROOT / project, wheels)
    for version in ("0.1.0", "0.2.0"):
        copy = place / f"acme-{version}"
        shutil.copytree(HERE / "acme", copy)
        project = copy / "pyproject.toml"
        text = project.read_text(encoding="utf-8").replace('version = "0.1.0"', f'version = "{version}"')
        project.write_text(text, encoding="utf-8")
        build(copy, wheels)
    return wheels


class Environment:
    """A clean environment with our packages in it."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self.python = str(folder / "bin" / "python")
        self._wheels = wheels
        run(UV, "venv", "--quiet", "--seed", "--no-project", "--python", sys.executable, str(folder))
        self.install("genie-connect[cli,http,webhooks]", "genie-connect-smtp", "genie-connect-spec")

    def install(self, *what: str) -> None:
        """Install packages, our own from their wheels."""
        links = ("--find-links", str(self._wheels))
        run(UV, "pip", "install", "--quiet", "--python", self.python, *links, *PINNED, *what)

    def variables(self) -> dict[str, str]:
        """What a shell has in whose environment it is."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        links = " ".join((os.environ.get("PIP_FIND_LINKS", ""), str(self._wheels))).strip()
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return own | {"PATH": path, "PIP_FIND_LINKS": links, "NO_COLOR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def use(place: Path, wheels: Path, environment: Environment) -> None:
    """A host that runs while the package comes, is upgraded, and goes."""
    run(environment.python, str(HERE / "host.py"), UV, str(wheels), cwd=place)


def keeps_the_contract(place: Path, environment: Environment, kind: str) -> None:
    """What ``new`` writes of a kind installs, and is bronze untouched."""
    project = place / f"new-{kind}"
    run(environment.python, "-m", "genie_connect.cli", "new", f"acme-{kind}", "--kind", kind, "--into", str(project))
    environment.install(str(project))
    run(environment.python, "-m", "pytest", "-q", "--conformance", str(place / "levels"), cwd=project)
    level = json.loads((place / "levels" / f"acme-{kind}.json").read_text(encoding="utf-8"))["level"]
    assert level == "bronze", f"a new connector of the kind {kind} is {level}"


def main() -> int:
    """The whole way."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        wheels = build_all(place)
        environment = Environment(place / "venv", wheels)
        use(place, wheels, environment)
        environment.install("genie-connect-acme==0.2.0")
        tests = place / "acme-0.2.0"
        run(environment.python, "-m", "pytest", "-q", cwd=tests)
        for kind in KINDS:
            keeps_the_contract(place, environment, kind)
        run(UV, "pip", "uninstall", "--quiet", "--python", environment.python, "genie-connect-acme")
        (place / "tutorial").mkdir()
        page = PAGES / "guides" / "first-connector.md"
        for command, _ in typed(page, place / "tutorial", environment.variables()):
            print("$", command, flush=True)
    print("a stranger's package was built, found, used, upgraded and removed; the tutorial does what it says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
