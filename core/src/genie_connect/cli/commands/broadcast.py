"""``broadcast``: a message to a list, each with a copy of their own."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs
import click

from genie_connect.broadcast.handle import Broadcast
from genie_connect.cli.commands.broadcasts import told
from genie_connect.cli.configuration import configuration, open_host
from genie_connect.cli.draft import RECIPIENTS, STDIN, Given, Made, content_options, make_message
from genie_connect.cli.errors import Failed
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.moments import METAVAR, check_order, moment
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.rehearsing import DryRun
from genie_connect.cli.seeing_through import see_through
from genie_connect.cli.stopping import Stopping
from genie_connect.cli.stores import section
from genie_connect.host import Host
from genie_connect.model.codec import unstructure
from genie_connect.model.message import Message

FILES: Final = {".eml": "eml_file", ".json": "message_file"}
"""Which source of a message a file is, by the end of its name."""


@click.command(cls=Command)
@click.argument("file", metavar="[FILE|-]", required=False)
@click.option(
    "--recipients",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The list: CSV, JSON Lines (both also .gz) or Parquet, with a column email.",
)
@content_options
@click.option("--name", metavar="TEXT", default="", help="What it is called in lists.  [default: the subject]")
@click.option("--connection", metavar="NAME", help="Use this connection and no other.")
@click.option("--strict", is_flag=True, help="Send nothing if any row of the list is broken.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where broken rows are written, a new file.  [default: beside the list]",
)
@click.option("--dry-run", is_flag=True, help="Read and check all, and say what would be sent. Nothing is.")
@click.option("--no-start", is_flag=True, help="Load it only; `broadcasts start` starts it.")
@click.option("--detach", is_flag=True, help="Load and start it, and leave the work to workers.")
@click.option("--not-before", type=moment, metavar=METAVAR, help="Send from then on.")
@click.option("--expires", type=moment, metavar=METAVAR, help="Do not try after that.")
@click.option("--finish-by", type=moment, metavar=METAVAR, help="Say whether it can have ended by then.")
@click.option("--priority", type=click.IntRange(-100, 100), default=0, help="The higher goes first.")
@click.option(
    "--at-least-once", is_flag=True, help="Send again to whoever is in doubt after a crash; some may have it twice."
)
@pass_options
def broadcast(
    options: Options,
    /,
    file: str | None,
    recipients: Path,
    name: str,
    connection: str | None,
    strict: bool,
    rejects: Path | None,
    dry_run: bool,
    no_start: bool,
    detach: bool,
    not_before: datetime | None,
    expires: datetime | None,
    finish_by: datetime | None,
    priority: int,
    at_least_once: bool,
    **content: Any,
) -> ExitCode:
    """Send a message to everybody in a list, each with a copy of their own. Needs a store.

    FILE is the message, as .eml or .json, - its JSON on standard input; options replace what it says, or make the
    message without it. {{ name }} in the subject, the texts and own header fields stands for the recipient's column
    of that name, {{ name | reader }} has a default.

    The whole list is read and checked before anybody is sent to. Then this process works on it, with any others that
    do, and shows how far it is. Ctrl-C pauses it: `broadcasts resume` goes on. If the process ends in another way, the
    broadcast goes on with workers, or with `broadcasts resume`; nobody is sent to twice.
    """
    check_order(not_before, expires)
    if strict and rejects is not None:
        raise click.UsageError("--strict and --rejects cannot be used together")
    if no_start and detach:
        raise click.UsageError("--no-start and --detach cannot be used together")
    section(configuration(options))
    made = _message(file, content)
    for note in made.notes:
        options.terminal.say(f"note: {note}")
    if dry_run:
        rehearsed = DryRun(
            message=made.message,
            recipients=recipients,
            connection=connection,
            strict=strict,
            rejects=rejects,
            not_before=not_before,
            finish_by=finish_by,
        )
        return asyncio.run(rehearsed.run(options))
    wanted: dict[str, Any] = {
        "name": name,
        "connection": connection,
        "strict": strict,
        "rejects": rejects,
        "not_before": not_before,
        "expires": expires,
        "finish_by": finish_by,
        "priority": priority,
        "at_least_once": at_least_once,
    }
    load = _Load(options=options, message=made.message, recipients=recipients, wanted=wanted)
    if no_start or detach:
        return asyncio.run(load.leave(start=detach))
    return asyncio.run(see_through(options, load.begin, more=_more))


@attrs.frozen(kw_only=True)
class _Load:
    """A broadcast that is to be loaded."""

    options: Options
    message: Message
    recipients: Path
    wanted: dict[str, Any]

    async def begin(self, host: Host, stopping: Stopping) -> Broadcast:
        """Load and start it."""
        loaded = await self._loaded(host, stopping)
        await loaded.start()
        return loaded

    async def leave(self, *, start: bool) -> ExitCode:
        """Load it, and leave the rest to others."""
        with Stopping(abandoned="ended at once: nothing was started") as stopping:
            async with open_host(self.options) as host:
                loaded = await self._loaded(host, stopping)
                if start:
                    await loaded.start()
                progress = await loaded.progress()
        told(self.options, loaded, progress, more=_more(loaded))
        return ExitCode.NOT_ACCEPTED if progress.refused_rows else ExitCode.OK

    async def _loaded(self, host: Host, stopping: Stopping) -> Broadcast:
        terminal = self.options.terminal
        with terminal.busy(f"reading {self.recipients} ..."):
            loaded = await stopping.unless(host.broadcast(self.message, self.recipients, start=False, **self.wanted))
        terminal.say(f"broadcast {loaded.id} has {loaded.total:,} recipients")
        if loaded.forecast is not None and loaded.forecast.earliest is not None:
            terminal.say(("warning: " if loaded.forecast.in_time is False else "") + loaded.forecast.explain())
        return loaded


def _more(loaded: Broadcast) -> dict[str, Any]:
    return {
        "rejects": None if loaded.rejects is None else str(loaded.rejects),
        "forecast": unstructure(loaded.forecast),
    }


def _message(file: str | None, content: dict[str, Any]) -> Made:
    made = make_message(Given(**content, **_source(file)), recipients=False)
    named = [field for field in RECIPIENTS if getattr(made.message, field)]
    if not named:
        return made
    # Most .eml files say to whom they went once.
    message = attrs.evolve(made.message, to=(), cc=(), bcc=())
    note = f"{', '.join(named)} of the message is left out: a broadcast goes to its list, and nobody else"
    return Made(message=message, notes=(*made.notes, note))


def _source(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    kind = "message_file" if file == STDIN else FILES.get(Path(file).suffix.lower())
    if kind is None:
        hint = "give the text of a file with --text @FILE or --html @FILE"
        raise Failed(f"FILE: {file} is no message", cause="its name ends neither in .eml nor in .json", hint=hint)
    return {kind: file, "argument": "FILE"}
