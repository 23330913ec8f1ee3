"""The command ``genie-connect``: its list of commands, and what every run has in common.

Commands are imported when they are run, so that ``--version`` and ``--help`` answer at once.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import click

from genie_connect.cli.exit_codes import ExitCode, listed
from genie_connect.cli.logs import logs
from genie_connect.cli.options import Options, common

PROGRAM = "genie-connect"
_HERE = "genie_connect.cli.commands"

COMMANDS: dict[str, tuple[str, str]] = {
    "connectors": ("connectors:connectors", "List the installed connectors, and those that failed to load."),
    "capabilities": ("connectors:capabilities", "Show what a connector or a connection can do."),
    "schema": ("connectors:schema", "Print the JSON Schema of a connector's settings."),
    "connections": ("connections:connections", "List the connections; add, show, remove and test those in the store."),
    "test": ("test:test", "Test a connection step by step."),
    "plan": ("send:plan", "Explain how a message would be sent. Nothing is sent."),
    "send": ("send:send", "Send a message."),
    "broadcast": ("broadcast:broadcast", "Send a message to a list, each with a copy of their own."),
    "broadcasts": ("broadcasts:broadcasts", "List, show, start, pause, resume and stop broadcasts."),
    "worker": ("worker:worker", "Work on durable sends and broadcasts until it is stopped."),
    "unknown": ("unknown:unknown", "List and resolve copies of which nobody knows whether they arrived."),
    "suppressions": ("suppressions:suppressions", "Add, remove, list, check, import and export suppressed addresses."),
    "db": ("db:db", "Upgrade and check the store's tables, delete what is old."),
    "secrets": ("secrets:secrets", "Make or change the key of the store's secrets."),
    "receipt": ("receipt:receipt", "Show what became of a send that the store has."),
    "inbox": ("inbox:inbox", "Run a local SMTP server that shows what arrives."),
    "new": ("new:new", "Write the package of a new connector, with its tests."),
    "config": ("config:config", "Show or check the configuration."),
}
"""Each command with where it is (module:function) and its line in the help."""

_HELP = """\
Send email through whatever delivery service there is.

Data goes to standard output, everything else to standard error. --config, --json, --no-color and -v may stand before
the command or after it. Passwords and keys are never arguments: give env:NAME or file:PATH, or answer the prompt.
"""


class Application(click.Group):
    """The root: commands by table, errors in three lines, exit codes by table."""

    def __init__(self, commands: Mapping[str, tuple[str, str]], **keywords: Any) -> None:
        super().__init__(**keywords)
        self._table = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the table's order."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self._table:
            return None
        module, _, name = self._table[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"{_HERE}.{module}"), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{name} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name. Raises ``UsageError`` with the nearest one where there is none."""
        if args and args[0] not in self._table and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._table, n=1)
            raise click.UsageError(
                f"no such command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""), ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._table.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the exit codes."""
        formatter.write(f"\nExit codes:\n{listed()}\n")

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end with the exit code; without ``standalone_mode`` return it."""
        options = Options()
        try:
            with logs():
                result = super().main(
                    args, prog_name or PROGRAM, complete_var, standalone_mode=False, obj=options, **extra
                )
            code = int(result) if isinstance(result, int) else int(ExitCode.OK)
        except click.Abort:
            options.terminal.say("interrupted")
            code = int(ExitCode.INTERRUPTED)
        except Exception as error:  # noqa: BLE001  # whatever it is, a person is to read three lines
            code = _show(error, options)
        if standalone_mode:
            sys.exit(code)
        return code


def _show(error: Exception, options: Options) -> int:
    # Knows every error of the core, so it brings the core in.
    from genie_connect.cli.errors import report

    shown = report(error)
    if shown.kind == "internal" and options.terminal.verbose > 1:
        options.terminal.say("".join(traceback.format_exception(error)))
    for line in shown.lines():
        options.terminal.say(line)
    if options.terminal.json:
        options.terminal.document(shown.data())
    return int(shown.code)


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    # The metadata of one package only; the standard library's reader is enough for that.
    from importlib.metadata import version

    click.echo(f"{PROGRAM} {version('genie-connect')}")
    context.exit()


def _start() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character is no reason to stop after the mail has been sent.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


app = Application(
    COMMANDS,
    name=PROGRAM,
    help=_HELP,
    callback=_start,
    params=[
        *common(root=True),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version.",
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
