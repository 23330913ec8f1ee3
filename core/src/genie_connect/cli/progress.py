"""How far a broadcast is, on the terminal and as JSON, and the exit code of how it ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import attrs

from genie_connect.broadcast.handle import Broadcast, Progress
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.moments import lasting, told
from genie_connect.store.rejected import SettledCopy

COUNTS: Final = ("accepted", "deferred", "rejected", "unknown", "suppressed")
COLUMNS: Final = ("", *COUNTS, "left")

LONGEST_PICKING_UP_S: Final = 5.0
"""What is due for longer, with no process at work on it, waits for one."""


def data(broadcast: Broadcast, progress: Progress) -> dict[str, Any]:
    """All that is known, for a program. Times are in ISO 8601, lengths of time in seconds."""
    counts = progress.counts
    return {
        "id": progress.id,
        "name": progress.name,
        "state": progress.state,
        "reason": progress.reason,
        "total": counts.total,
        **{name: getattr(counts, name) for name in COUNTS},
        "remaining": counts.remaining,
        "chunks": counts.chunks,
        "chunks_done": counts.chunks_done,
        "chunks_in_progress": counts.chunks_in_progress,
        "duplicates": progress.duplicates,
        "refused_rows": progress.refused_rows,
        "created": broadcast.created.isoformat(),
        "started": iso(counts.started),
        "finished": iso(counts.finished),
        "next_due": iso(counts.next_due),
        "rate_per_s": round(progress.rate_per_s, 1),
        "eta_s": None if progress.eta_s is None else round(progress.eta_s, 1),
        "connections": [attrs.asdict(each) for each in progress.connections],
    }


def title(progress: Progress) -> str:
    """Number, name and state, and how much is done of how much."""
    counts = progress.counts
    name = f" {progress.name!r}" if progress.name else ""
    share = f" ({100 * counts.done // counts.total} %)" if counts.total else ""
    return f"broadcast {progress.id}{name} is {progress.state}: {counts.done:,} of {counts.total:,} done{share}"


def rows(progress: Progress) -> list[tuple[str, ...]]:
    """A row for all, and one for each connection: what it has done, of which some may be tried again."""
    counts = progress.counts
    total = ("total", *(f"{getattr(counts, name):,}" for name in COUNTS), f"{counts.remaining:,}")
    return [
        total,
        *(
            (each.connection, *(f"{getattr(each, name):,}" for name in COUNTS if hasattr(each, name)), "", "")
            for each in progress.connections
        ),
    ]


def pace(progress: Progress, now: float, *, working: bool = False) -> str:
    """How fast it goes, when it ends, and what it waits for; empty where nothing is to be said."""
    counts = progress.counts
    if progress.state != "running":
        return ""
    said = [f"{progress.rate_per_s:,.0f}/s"]
    if progress.eta_s is not None:
        said.append(f"{lasting(progress.eta_s)} left")
    if counts.next_due is not None and not counts.chunks_in_progress:
        wait_s = counts.next_due - now
        if wait_s > 1:
            said.append(f"the next may go in {lasting(wait_s)}")
        elif not working and wait_s < -LONGEST_PICKING_UP_S:
            said.append("waiting for a worker")
    return ", ".join(said)


def line(progress: Progress, now: float, *, working: bool = False) -> str:
    """All of it in one line of a log."""
    counts = progress.counts
    known = ", ".join(f"{getattr(counts, name):,} {name}" for name in COUNTS if getattr(counts, name))
    said = [title(progress) + (f": {known}" if known else ""), pace(progress, now, working=working)]
    return "; ".join(part for part in said if part)


def ending(broadcast: Broadcast, progress: Progress) -> list[str]:
    """What is to be told once nothing more comes: how it ended, what was left out, and what to do about it."""
    counts = progress.counts
    known = ", ".join(f"{getattr(counts, name):,} {name}" for name in COUNTS if getattr(counts, name))
    said = f"broadcast {progress.id} is {progress.state}: {known or 'nobody was sent to'}"
    if counts.remaining:
        said += f", {counts.remaining:,} left"
    if counts.started is not None and counts.finished is not None:
        said += f"; in {lasting(counts.finished - counts.started)}"
    lines = [said + (f" ({progress.reason})" if progress.reason else "")]
    if progress.duplicates:
        lines.append(f"{_rows(progress.duplicates)} left out, for mailboxes that came before")
    if progress.refused_rows:
        where = "" if broadcast.rejects is None else f"; they are in {broadcast.rejects}"
        lines.append(f"{_rows(progress.refused_rows)} broken, and not sent to{where}")
    return lines


def advice(progress: Progress, *, left: bool = False) -> list[str]:
    """The commands that are of use now; ``left`` says that this process does not go on with it."""
    counts, number = progress.counts, progress.id
    hints = []
    if left and progress.state == "running":
        hints.append(f"genie-connect worker works on it, and so does genie-connect broadcasts resume {number}")
    if progress.state == "ready":
        hints.append(f"genie-connect broadcasts start {number} starts it")
    if progress.state == "paused":
        hints.append(f"genie-connect broadcasts resume {number} goes on with it")
    if counts.rejected:
        hints.append(f"genie-connect broadcasts rejected {number} lists who was refused, and why")
    if counts.unknown:
        hints.append(f"genie-connect unknown list --broadcast {number} lists the copies that nobody knows of")
    return hints


def code_of(progress: Progress) -> ExitCode:
    """Doubt weighs more than a refusal, and a refusal more than a suppression; as with a send."""
    counts = progress.counts
    if counts.unknown:
        return ExitCode.UNKNOWN
    if counts.rejected or counts.deferred or progress.refused_rows or progress.state in ("paused", "stopped"):
        return ExitCode.NOT_ACCEPTED
    return ExitCode.SUPPRESSED if counts.total and counts.suppressed == counts.total else ExitCode.OK


def copy_line(copy: SettledCopy) -> str:
    """One recipient who got nothing, and why."""
    outcome = copy.outcome
    codes = " ".join(str(code) for code in (outcome.code, outcome.enhanced) if code is not None)
    why = [outcome.reason, f"{codes} {outcome.text or ''}".strip(), outcome.connection and f"by {outcome.connection}"]
    return "  ".join([outcome.recipient, outcome.state.value, "; ".join(part for part in why if part)]).rstrip()


def copy_data(copy: SettledCopy) -> dict[str, Any]:
    """The same for a program."""
    outcome = copy.outcome
    return {
        "unit": copy.unit,
        "position": copy.position,
        "recipient": outcome.recipient,
        "state": outcome.state.value,
        "reason": outcome.reason,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "text": outcome.text,
        "hint": outcome.hint,
        "connection": outcome.connection,
        "tries": copy.tries,
        "at": iso(copy.at),
    }


def when(seconds: float | None) -> str:
    """A time in seconds since 1970 as it is shown."""
    return "" if seconds is None else told(datetime.fromtimestamp(seconds, UTC))


def iso(seconds: float | None) -> str | None:
    """A time in seconds since 1970 for a program."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _rows(count: int) -> str:
    return f"{count:,} row was" if count == 1 else f"{count:,} rows were"
