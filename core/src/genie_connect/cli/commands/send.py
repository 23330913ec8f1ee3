"""``plan`` and ``send``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import click

from genie_connect.cli.configuration import open_host
from genie_connect.cli.draft import Given, make_message, message_options
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.terminal import Terminal
from genie_connect.delivery.dispatch import SEND_TIMEOUT_S
from genie_connect.hookspecs import hookimpl
from genie_connect.host import Host
from genie_connect.model.codec import unstructure
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Attempt, Receipt

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
@click.option("--idempotency-key", metavar="KEY", help="Under which a provider recognises that this was sent before.")
@click.option("--timeout", "timeout_s", type=float, default=SEND_TIMEOUT_S, show_default=True, help="Seconds for all.")
@pass_options
def send(
    options: Options,
    /,
    connection: str | None,
    dry_run: bool,
    idempotency_key: str | None,
    timeout_s: float,
    **message: Any,
) -> ExitCode:
    """Send a message, described by options, a JSON file (--message) or an .eml file (--eml).

    Options replace what the file says. Any of --to, --cc and --bcc replaces all recipients of the file; attachments,
    headers, tags and metadata join those of the file.
    """
    made = make_message(Given(**message))
    _tell(options.terminal, made.notes)
    if dry_run:
        return asyncio.run(_dry_run(options, made.message, connection))
    receipt = asyncio.run(_send(options, made.message, connection, idempotency_key, timeout_s))
    if options.terminal.json:
        options.terminal.document(unstructure(receipt))
    else:
        _show(options.terminal, receipt)
    return _code(outcome.state for outcome in receipt.outcomes.values())


async def _plan(options: Options, message: Message, connection: str | None, broadcast: bool) -> Plan:
    async with open_host(options) as host:
        return host.plan(message, broadcast=broadcast, connection=connection)


async def _send(
    options: Options, message: Message, connection: str | None, idempotency_key: str | None, timeout_s: float
) -> Receipt:
    count = len(message.recipients)
    async with open_host(options) as host:
        host.observers.add(_Degraded(options.terminal))
        with options.terminal.busy(f"sending to {count} recipient{'s' * (count > 1)} ..."):
            return await host.send(message, connection=connection, idempotency_key=idempotency_key, timeout_s=timeout_s)


@attrs.frozen(eq=False)
class _Degraded:
    """Says at once that a connection is in trouble, even where another one then takes the message."""

    terminal: Terminal

    @hookimpl
    def connection_degraded(self, connection: str, reason: str, hint: str) -> None:
        self.terminal.say(f"warning: {connection}: {reason}" + (f" ({hint})" if hint else ""))


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


def _show(terminal: Terminal, receipt: Receipt) -> None:
    outcomes = list(receipt.outcomes.values())
    rows = [
        (
            outcome.recipient,
            terminal.styled(outcome.state.value),
            outcome.connection or "",
            " ".join(str(code) for code in (outcome.code, outcome.enhanced) if code),
            _why(outcome),
        )
        for outcome in outcomes
    ]
    terminal.table(("recipient", "outcome", "connection", "code", "why"), rows)
    if _telling(receipt.attempts):
        terminal.line()
        terminal.table(
            ("attempt", "connection", "stage", "outcome", "recipients", "ms", "reason"),
            [
                (
                    number,
                    each.connection,
                    each.stage,
                    terminal.styled(each.outcome),
                    each.recipients,
                    each.ms,
                    _reason(each),
                )
                for number, each in enumerate(receipt.attempts, 1)
            ],
            right=("recipients", "ms"),
        )
    for hint in dict.fromkeys(outcome.hint for outcome in outcomes if outcome.hint and not _is_good(outcome)):
        terminal.say(f"hint: {hint}")
    counts = ", ".join(f"{count} {state}" for state, count in receipt.outcomes.counts().items())
    terminal.line(f"\n{counts}; Message-ID {receipt.message_id}")


def _code(states: Iterable[State]) -> ExitCode:
    """Doubt weighs more than a refusal, and a refusal more than a suppression."""
    found = set(states)
    if State.UNKNOWN in found:
        return ExitCode.UNKNOWN
    if found & {State.DEFERRED, State.REJECTED}:
        return ExitCode.NOT_ACCEPTED
    return ExitCode.SUPPRESSED if found == {State.SUPPRESSED} else ExitCode.OK


def _telling(attempts: tuple[Attempt, ...]) -> bool:
    """Whether the attempts say something that the outcomes do not: that more than one was needed."""
    return len(attempts) > 1


def _is_good(outcome: Outcome) -> bool:
    return outcome.state in (State.ACCEPTED, State.SUPPRESSED)


def _why(outcome: Outcome) -> str:
    if outcome.state is State.SUPPRESSED:
        return outcome.hint or ""
    return outcome.text or outcome.reason or ""


def _reason(attempt: Attempt) -> str:
    return attempt.text or attempt.reason or ""
