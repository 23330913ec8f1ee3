"""``plan`` and ``send``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import click

from genie_connect.cli.configuration import open_host
from genie_connect.cli.degraded import Degraded
from genie_connect.cli.draft import Given, make_message, message_options
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.moments import METAVAR, check_order, moment
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.receipts import show
from genie_connect.cli.terminal import Terminal
from genie_connect.delivery.dispatch import SEND_TIMEOUT_S
from genie_connect.host import Host
from genie_connect.model.codec import unstructure
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Receipt

_connection: Callable[..., Any] = click.option("--connection", metavar="NAME", help="Use this connection and no other.")


@click.command(cls=Command)
@message_options
@_connection
@click.option("--broadcast", is_flag=True, help="Plan it as a broadcast: to many, each with a copy of their own.")
@pass_options
def plan(options: Options, /, connection: str | None, broadcast: bool, **message: Any) -> ExitCode:
    """Explain how a message would be sent: by which connections, why not by others. Nothing is sent."""
    made = make_message(Given(**message), recipients=False)
    _tell(options.terminal, made.notes)
    found = asyncio.run(_plan(options, made.message, connection, broadcast))
    if options.terminal.json:
        options.terminal.document(unstructure(found))
    else:
        options.terminal.line(found.explain())
    return ExitCode.OK if found.order else ExitCode.NO_CONNECTION


@click.command(cls=Command)
@message_options
@_connection
@click.option("--dry-run", is_flag=True, help="Show the plan and who is suppressed. Nothing is sent.")
@click.option(
    "--idempotency-key",
    "--key",
    "key",
    metavar="KEY",
    help="Under which the store, and providers that can, recognise that this was sent before.",
)
@click.option("--timeout", "timeout_s", type=float, default=SEND_TIMEOUT_S, show_default=True, help="Seconds for all.")
@click.option("--durable", is_flag=True, help="End once it is safe in the store; workers send it, and try again.")
@click.option("--not-before", type=moment, metavar=METAVAR, help="Durable: send it from then on.")
@click.option("--expires", type=moment, metavar=METAVAR, help="Durable: do not try after that.")
@click.option("--priority", type=click.IntRange(-100, 100), default=0, help="Durable: the higher goes first.")
@pass_options
def send(
    options: Options,
    /,
    connection: str | None,
    dry_run: bool,
    key: str | None,
    timeout_s: float,
    durable: bool,
    not_before: datetime | None,
    expires: datetime | None,
    priority: int,
    **message: Any,
) -> ExitCode:
    """Send a message, described by options, a JSON file (--message) or an .eml file (--eml).

    Options replace what the file says. Any of --to, --cc and --bcc replaces all recipients of the file; attachments,
    headers, tags and metadata join those of the file.

    Where the configuration has a store, the send is written down in it, under the number that is shown at the end.
    """
    check_order(not_before, expires)
    made = make_message(Given(**message))
    _tell(options.terminal, made.notes)
    if dry_run:
        return asyncio.run(_dry_run(options, made.message, connection))
    wanted: dict[str, Any] = {
        "connection": connection,
        "idempotency_key": key,
        "timeout_s": timeout_s,
        "durable": durable,
        "not_before": not_before,
        "expires": expires,
        "priority": priority,
    }
    return show(options.terminal, asyncio.run(_send(options, made.message, wanted)))


async def _plan(options: Options, message: Message, connection: str | None, broadcast: bool) -> Plan:
    async with open_host(options) as host:
        return host.plan(message, broadcast=broadcast, connection=connection)


async def _send(options: Options, message: Message, wanted: Mapping[str, Any]) -> Receipt:
    count = len(message.recipients)
    async with open_host(options) as host:
        host.observers.add(Degraded(options.terminal))
        with options.terminal.busy(f"sending to {count} recipient{'s' * (count > 1)} ..."):
            return await host.send(message, **wanted)


async def _dry_run(options: Options, message: Message, connection: str | None) -> ExitCode:
    terminal = options.terminal
    async with open_host(options) as host:
        found = host.plan(message, connection=connection)
        stopped = await _stopped(host, message)
    if terminal.json:
        terminal.document({"dry_run": True, "plan": unstructure(found), "suppressed": unstructure(stopped)})
    else:
        terminal.line(found.explain())
        for outcome in stopped:
            terminal.line(f"not to {outcome.recipient}: {outcome.hint}")
        terminal.say("dry run: nothing was sent")
    if not found.order:
        return ExitCode.NO_CONNECTION
    return ExitCode.SUPPRESSED if len(stopped) == len(message.recipients) else ExitCode.OK


async def _stopped(host: Host, message: Message) -> tuple[Outcome, ...]:
    return (await host.suppressions.clear(message.recipients, message.purpose)).suppressed


def _tell(terminal: Terminal, notes: tuple[str, ...]) -> None:
    for note in notes:
        terminal.say(f"note: {note}")
