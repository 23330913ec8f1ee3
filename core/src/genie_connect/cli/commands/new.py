"""``new``: a package for a connector, with tests, that works as it stands."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Final

import click

from genie_connect.cli.options import Command, Options, pass_options

_ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_FILES: Final = {
    "pyproject.toml": "pyproject",
    "README.md": "readme",
    "quality.yaml": "quality",
    "src/@MODULE@/__init__.py": "plugin-@KIND@",
    "tests/test_contract.py": "test-@KIND@",
    ".github/workflows/test.yml": "ci",
}
_KINDS: Final = {
    "minimal": ("@MODULE@:connector", '["genie-connect[http]>=0.1,<0.2"]'),
    "api": ("@MODULE@:connector", '["genie-connect[http]>=0.1,<0.2"]'),
    "smtp": ("@MODULE@", '["genie-connect>=0.1,<0.2", "genie-connect-smtp>=0.1,<0.2"]'),
}
"""For each kind where its plug-in is, and what its package requires."""


@click.command(cls=Command)
@click.argument("connector", metavar="ID")
@click.option(
    "--kind",
    type=click.Choice([*_KINDS]),
    default="minimal",
    show_default=True,
    help="minimal: plain text over an HTTP API; api: all that such an API carries, with webhooks; smtp: a relay.",
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to make; without it genie-connect-ID, here.",
)
@pass_options
def new(options: Options, connector: str, kind: str, into: Path | None) -> None:
    """Write the package of a new connector: the plug-in, its settings, its tests with the conformance kit.

    It sends over an API or a relay that you replace by your provider's, and its tests pass as it stands.
    """
    if not _ID.match(connector):
        raise click.UsageError(f"{connector!r} is not a connector id: use a-z, 0-9, - and _, and begin with a letter")
    folder = into or Path(f"genie-connect-{connector}")
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is there and not empty; give another folder with --into")
    words = re.split(r"[_-]+", connector)
    entry, requires = _KINDS[kind]
    names = {
        "@KIND@": kind,
        "@ENTRY@": entry,
        "@REQUIRES@": requires,
        "@NAME@": connector,
        "@TITLE@": " ".join(word.capitalize() for word in words),
        "@CLASS@": "".join(word.capitalize() for word in words),
        "@MODULE@": f"genie_connect_{connector.replace('-', '_')}",
    }
    written = [_write(folder / _filled(path, names), _filled(name, names), names) for path, name in _FILES.items()]
    if options.terminal.json:
        options.terminal.document({"connector": connector, "kind": kind, "files": [str(path) for path in written]})
        return
    for path in written:
        options.terminal.line(str(path))
    options.terminal.say(f"next: cd {folder}; pip install -e '.[test]'; pytest")


def _write(path: Path, template: str, names: dict[str, str]) -> Path:
    text = resources.files("genie_connect.cli.scaffold").joinpath(f"{template}.txt").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_filled(text, names), encoding="utf-8")
    return path


def _filled(text: str, names: dict[str, str]) -> str:
    for mark, name in names.items():
        text = text.replace(mark, name)
    return text
