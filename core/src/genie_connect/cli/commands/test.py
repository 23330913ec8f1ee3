"""``test``: a connection tried step by step."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from genie_connect.cli.configuration import open_host
from genie_connect.cli.exit_codes import ExitCode, of_stage
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.terminal import Terminal, printable
from genie_connect.host import TEST_TIMEOUT_S
from genie_connect.model.codec import unstructure
from genie_connect.model.diagnosis import Diagnosis, Status, Step


@click.command(cls=Command)
@click.argument("name", metavar="CONNECTION")
@click.option(
    "--to", "send_to", metavar="ADDRESS", help="Send one real message there. Without it nothing is delivered."
)
@click.option("--timeout", "timeout_s", type=float, default=TEST_TIMEOUT_S, show_default=True, help="Seconds for all.")
@click.option("--exit-zero", is_flag=True, help="End with 0 whatever is found, for whoever reads the JSON.")
@pass_options
def test(options: Options, name: str, send_to: str | None, timeout_s: float, exit_zero: bool) -> ExitCode:
    """Test a connection step by step: what was found, how long it took, and at a failure its cause and the fixes."""
    steps, connector = asyncio.run(_run(options, name, send_to, timeout_s))
    failed = next((step for step in steps if step.status is Status.FAIL), None)
    code = ExitCode.OK if failed is None else of_stage(failed.id)
    if options.terminal.json:
        options.terminal.document(_document(name, connector, steps, failed, code))
    else:
        _conclude(options.terminal, name, steps, failed)
    return ExitCode.OK if exit_zero else code


async def _run(options: Options, name: str, send_to: str | None, timeout_s: float) -> tuple[list[Step], str]:
    terminal = options.terminal
    steps: list[Step] = []
    async with open_host(options) as host:
        connector = host.connection(name).config.connector
        found = aiter(host.test(name, send_to=send_to, timeout_s=timeout_s))
        while True:
            with terminal.busy(f"testing {name} ..."):
                step = await anext(found, None)
            if step is None:
                return steps, connector
            steps.append(step)
            if not terminal.json:
                _show(terminal, step)


def _show(terminal: Terminal, step: Step) -> None:
    from rich.text import Text  # not needed for JSON, and slow to import

    console = terminal.console()
    line = Text()
    line.append_text(terminal.styled(step.status.value))
    line.append(" " * (5 - len(step.status.value)))
    line.append(printable(step.title), style="bold")
    if step.summary:
        line.append(f"  {printable(step.summary)}")
    if step.status is not Status.SKIP:
        line.append(f"  {step.ms:.0f} ms", style="dim")
    console.print(line, soft_wrap=True)
    for fact, value in step.facts.items():
        console.print(Text(f"       {fact}: {_fact(value)}", style="dim"), soft_wrap=True)
    if step.diagnosis is not None:
        for shown in _diagnosis(step.diagnosis):
            console.print(Text(f"       {printable(shown)}"), soft_wrap=True)


def _diagnosis(diagnosis: Diagnosis) -> list[str]:
    shown = [f"cause:    {diagnosis.cause}"]
    if diagnosis.evidence:
        shown.append(f"evidence: {diagnosis.evidence}")
    if diagnosis.server_reply and diagnosis.server_reply not in (diagnosis.evidence, diagnosis.cause):
        shown.append(f"reply:    {diagnosis.server_reply}")
    shown += [f"fix:      {fix}" for fix in diagnosis.fixes]
    if diagnosis.field:
        shown.append(f"setting:  {diagnosis.field}")
    if diagnosis.docs_url:
        shown.append(f"more:     {diagnosis.docs_url}")
    return shown


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(printable(item) for item in value)
    return printable(value)


def _conclude(terminal: Terminal, name: str, steps: list[Step], failed: Step | None) -> None:
    terminal.line()
    if failed is not None:
        title = failed.diagnosis.title if failed.diagnosis else failed.summary
        terminal.line(f"{name} does not work: {title or failed.title}")
        return
    warnings = sum(step.status is Status.WARN for step in steps)
    terminal.line(f"{name} works" + (f", with {warnings} warning{'s' * (warnings > 1)}" if warnings else ""))


def _document(name: str, connector: str, steps: list[Step], failed: Step | None, code: ExitCode) -> dict[str, Any]:
    return {
        "connection": name,
        "connector": connector,
        "ok": failed is None,
        "exit_code": int(code),
        "duration_ms": round(sum(step.ms for step in steps), 1),
        "steps": unstructure(steps),
        "diagnosis": unstructure(failed.diagnosis) if failed is not None else None,
    }
