"""``broadcast --dry-run``: what would be sent, said without sending or keeping anything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import attrs

from genie_connect.broadcast.forecast import Forecast, forecast
from genie_connect.broadcast.rehearsal import Rehearsal, rehearse
from genie_connect.broadcast.rejects import Rejects
from genie_connect.cli.configuration import open_host
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Options
from genie_connect.cli.terminal import Terminal
from genie_connect.host import Host
from genie_connect.model.codec import unstructure
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message
from genie_connect.model.plan import Plan

SHOWN = 20
"""So many problems are told on the terminal."""


@attrs.frozen(kw_only=True)
class DryRun:
    """A broadcast that is only gone through."""

    message: Message
    recipients: Path
    connection: str | None
    strict: bool
    rejects: Path | None
    not_before: datetime | None
    finish_by: datetime | None

    async def run(self, options: Options) -> ExitCode:
        """Read and check everything, say what would be sent, and end with what the broadcast itself would refuse."""
        terminal = options.terminal
        # Refused where it is there already, as it would be then.
        Rejects(self.rejects)
        async with open_host(options) as host:
            plan = host.plan(self.message, broadcast=True, connection=self.connection)
            with terminal.busy(f"reading {self.recipients} ..."):
                found = await rehearse(self.message, self.recipients, host.suppressions)
            ahead = self._forecast(host, plan, found)
        code = self._code(plan, found)
        if terminal.json:
            facts = attrs.asdict(found, filter=lambda field, value: field.name not in ("problems", "first"))
            problems = [attrs.asdict(problem) for problem in found.problems]
            counts = {**facts, "problems": problems, "forecast": unstructure(ahead), "exit_code": int(code)}
            terminal.document({"dry_run": True, "plan": unstructure(plan), **counts})
        else:
            self._tell(terminal, plan, found, ahead)
        return code

    def _forecast(self, host: Host, plan: Plan, found: Rehearsal) -> Forecast:
        connections = [host.connection(name) for name in plan.order]
        now = datetime.now(UTC)
        starts = now if self.not_before is None else max(now, self.not_before)
        return forecast(found.recipients - found.suppressed, connections, starts=starts, finish_by=self.finish_by)

    def _code(self, plan: Plan, found: Rehearsal) -> ExitCode:
        if not plan.order:
            return ExitCode.NO_CONNECTION
        if not found.recipients or (self.strict and found.broken):
            return ExitCode.ERROR
        if found.broken:
            return ExitCode.NOT_ACCEPTED
        return ExitCode.SUPPRESSED if found.suppressed == found.recipients else ExitCode.OK

    def _tell(self, terminal: Terminal, plan: Plan, found: Rehearsal, ahead: Forecast) -> None:
        terminal.line(plan.explain())
        counts = [f"{found.rows:,} rows", f"{found.recipients - found.suppressed:,} would be sent to"]
        others = {"suppressed": found.suppressed, "came twice": found.duplicates, "broken": found.broken}
        terminal.line(", ".join(counts + [f"{count:,} {what}" for what, count in others.items() if count]))
        if found.first is not None:
            subject = template_of(self.message).subject_of(found.first.merge)
            terminal.line(f"the first to {found.first.address.email}: {subject!r}")
        for problem in found.problems[:SHOWN]:
            terminal.line(str(problem))
        if found.broken and self.strict:
            terminal.say("with --strict nothing would be sent, because of the broken rows")
        if ahead.earliest is not None and ahead.recipients:
            terminal.say(("warning: " if ahead.in_time is False else "") + ahead.explain())
        terminal.say("dry run: nothing was sent, and nothing kept")
