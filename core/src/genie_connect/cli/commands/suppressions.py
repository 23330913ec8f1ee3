"""``suppressions``: who is not to be written to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import click

from genie_connect.cli.commands.suppression_files import export, import_
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.stores import suppression_list
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.errors import Problem, ValidationError
from genie_connect.model.address import Address
from genie_connect.model.codec import unstructure
from genie_connect.model.message import Purpose
from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope

DAY_S = 86_400.0

_addresses: Callable[..., Any] = click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
_scope: Callable[..., Any] = click.option("--scope", type=click.Choice([scope.value for scope in SuppressionScope]))


@click.group()
def suppressions() -> None:
    """Addresses that are not to be written to, checked before every send.

    They are kept in the store where the configuration names one; else in the file that it names ([suppressions]
    file = ...), or in suppressions.jsonl next to the configuration file.
    """


@suppressions.command(cls=Command)
@_addresses
@_scope
@click.option(
    "--reason",
    type=click.Choice([reason.value for reason in SuppressionReason]),
    default=SuppressionReason.MANUAL.value,
    show_default=True,
)
@click.option("--source", metavar="TEXT", default="command line", show_default=True, help="Where this comes from.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="For so many days; without it for good.")
@pass_options
def add(
    options: Options,
    addresses: tuple[str, ...],
    scope: str | None,
    reason: str,
    source: str,
    days: float | None,
) -> None:
    """Suppress addresses. Without --scope an unsubscribe stops marketing, anything else everything."""
    checked = _checked(addresses)
    expires_s = None if days is None else days * DAY_S

    async def run() -> tuple[list[Suppression], str]:
        async with suppression_list(options) as (store, where):
            gate = SuppressionGate(store)
            added = [
                await gate.add(address, reason=reason, scope=scope, source=source, expires_s=expires_s)
                for address in checked
            ]
            return added, where

    added, where = asyncio.run(run())
    if options.terminal.json:
        options.terminal.document({"added": unstructure(added), "file": where})
        return
    for suppression in added:
        options.terminal.line(f"suppressed {suppression.address.email} ({_words(suppression)})")
    _say_where(options, where)


@suppressions.command(cls=Command)
@_addresses
@_scope
@pass_options
def remove(options: Options, addresses: tuple[str, ...], scope: str | None) -> None:
    """Write to addresses again."""
    checked = _checked(addresses)

    async def run() -> tuple[dict[str, int], str]:
        async with suppression_list(options) as (store, where):
            gate = SuppressionGate(store)
            return {address.email: await gate.remove(address, scope=scope) for address in checked}, where

    removed, where = asyncio.run(run())
    if options.terminal.json:
        options.terminal.document({"removed": removed, "file": where})
        return
    for email, count in removed.items():
        options.terminal.line(f"{email} is no longer suppressed" if count else f"{email} was not suppressed")


suppressions.add_command(import_)
suppressions.add_command(export)


@suppressions.command("list", cls=Command)
@pass_options
def list_(options: Options) -> None:
    """List every suppression in the order of being added."""
    found, where = asyncio.run(_all(options))
    if options.terminal.json:
        options.terminal.document({"suppressions": unstructure(found), "file": where})
        return
    rows = [
        (
            each.address.email,
            each.scope.value,
            each.reason.value,
            each.added.date().isoformat(),
            each.expires.date().isoformat() if each.expires else "never",
            each.source,
        )
        for each in found
    ]
    if rows:
        options.terminal.table(("address", "scope", "reason", "added", "expires", "source"), rows)
    else:
        options.terminal.say("nobody is suppressed")
    _say_where(options, where)


@suppressions.command(cls=Command)
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--purpose",
    type=click.Choice([purpose.value for purpose in Purpose]),
    default=Purpose.TRANSACTIONAL.value,
    show_default=True,
)
@pass_options
def check(options: Options, address: str, purpose: str) -> ExitCode:
    """Say whether an address may be written to; ends with 5 if not."""
    (checked,) = _checked((address,))

    async def run() -> Suppression | None:
        async with suppression_list(options) as (store, _):
            return await SuppressionGate(store).check(checked, Purpose(purpose))

    found = asyncio.run(run())
    if options.terminal.json:
        data = {"address": checked.email, "suppressed": found is not None, "suppression": unstructure(found)}
        options.terminal.document(data)
    elif found is None:
        options.terminal.line(f"{checked.email} is not suppressed for {purpose} messages")
    else:
        options.terminal.line(f"{checked.email} is suppressed ({_words(found)})")
    return ExitCode.OK if found is None else ExitCode.SUPPRESSED


async def _all(options: Options) -> tuple[list[Suppression], str]:
    async with suppression_list(options) as (store, where):
        return [suppression async for suppression in store.all()], where


def _checked(addresses: tuple[str, ...]) -> list[Address]:
    """The addresses; all that is wrong with any of them is said at once, and then none is changed."""
    checked: list[Address] = []
    problems: list[Problem] = []
    for given in addresses:
        try:
            checked.append(Address.parse(given))
        except ValidationError as error:
            problems.extend(error.under(given))
    if problems:
        raise ValidationError(problems, what="address")
    return checked


def _words(suppression: Suppression) -> str:
    until = f", until {suppression.expires.date().isoformat()}" if suppression.expires else ""
    source = f", {suppression.source}" if suppression.source else ""
    return f"{suppression.reason.value}, scope {suppression.scope.value}{until}{source}"


def _say_where(options: Options, where: str) -> None:
    options.terminal.say(f"kept in {where}")
