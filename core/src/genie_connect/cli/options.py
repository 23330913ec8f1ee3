"""Options that every command takes, before its name or after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import click

from genie_connect.cli.logs import louder
from genie_connect.cli.terminal import Terminal

DEFAULT_FILE = "genie-connect.toml"
"""As in ``genie_connect.config``, which brings the whole core in."""
CONFIG_VARIABLE = "GENIE_CONNECT_CONFIG"


@attrs.define
class Options:
    """What was said of the run as a whole."""

    config: Path | None = None
    terminal: Terminal = attrs.field(factory=Terminal)

    @property
    def config_path(self) -> Path:
        """The configuration file to use."""
        return self.config or Path(DEFAULT_FILE)


pass_options = click.make_pass_decorator(Options)


def _config(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.find_object(Options).config = value  # type: ignore[union-attr]  # the root always makes one


def _flag(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(context.find_object(Options).terminal, str(parameter.name), value)  # type: ignore[union-attr]  # as above


def _verbose(context: click.Context, parameter: click.Parameter, value: int) -> None:
    _flag(context, parameter, value)
    if value:
        louder(value)


def common(*, root: bool) -> list[click.Parameter]:
    """The common options; below the root only ``--json`` is listed in the help."""
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            envvar=CONFIG_VARIABLE if root else None,
            help=f"Configuration file.  [default: {DEFAULT_FILE}; env: {CONFIG_VARIABLE}]",
            expose_value=False,
            hidden=not root,
            callback=_config,
        ),
        click.Option(["--json"], is_flag=True, help="Print JSON.", expose_value=False, callback=_flag),
        click.Option(
            ["--no-color"],
            is_flag=True,
            help="No colours (as with NO_COLOR set).",
            expose_value=False,
            hidden=not root,
            callback=_flag,
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            help="Log what happens; -vv in detail.",
            expose_value=False,
            hidden=not root,
            callback=_verbose,
        ),
    ]


class Command(click.Command):
    """A command that takes the common options too."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.params.extend(common(root=False))


class Group(click.Group):
    """A group that does something by itself too, and so takes the common options."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.params.extend(common(root=False))
