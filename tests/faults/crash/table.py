"""The table at the end: one line for each scenario, ours and the engine's alone side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import attrs

PROPERTY = "crash"


@attrs.frozen(kw_only=True)
class Line:
    """A scenario on a database with an engine, in so many ``runs``.

    ``bound`` is how many unknowns there may be; None promises nothing.
    """

    scenario: str
    database: str
    engine: str
    kills: int
    recipients: int
    lost: int
    repeated: int
    unknown: int
    bound: int | None
    ledger: bool = True
    runs: int = 1

    def dumped(self) -> str:
        """As a property of a test's report."""
        return json.dumps(attrs.asdict(self))


HEADINGS = (
    "scenario",
    "ledger",
    "database",
    "engine",
    "runs",
    "kills",
    "recipients",
    "lost",
    "repeated",
    "unknown",
    "bound",
)


def lines_of(reports: Iterable[Any]) -> list[Line]:
    """The lines that the reports of the tests carry, those of one scenario and ground together, in order."""
    found = [
        Line(**json.loads(value)) for report in reports for name, value in report.user_properties if name == PROPERTY
    ]
    together: dict[tuple[str, bool, str, str], Line] = {}
    for line in found:
        place = (line.scenario, not line.ledger, line.database, line.engine)
        together[place] = line if place not in together else _added(together[place], line)
    return [together[place] for place in sorted(together)]


def _added(one: Line, other: Line) -> Line:
    names = ("runs", "kills", "recipients", "lost", "repeated", "unknown")
    summed = {name: getattr(one, name) + getattr(other, name) for name in names}
    bound = None if one.bound is None or other.bound is None else one.bound + other.bound
    return attrs.evolve(one, bound=bound, **summed)


def markdown(lines: Iterable[Line]) -> str:
    """The table for the documents, with a sum for ours and for the others."""
    rows = [_cells(line) for line in lines]
    bar = ["---" if index < 4 else "---:" for index in range(len(HEADINGS))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(HEADINGS), bar, *rows])


def _cells(line: Line) -> list[str]:
    numbers = (line.runs, line.kills, line.recipients, line.lost, line.repeated)
    return [
        line.scenario,
        "yes" if line.ledger else "no",
        line.database,
        line.engine,
        *(f"{number:,}" for number in numbers),
        f"{line.unknown:,}" if line.ledger else "",
        "" if line.bound is None else f"{line.bound:,}",
    ]


def sums(lines: Iterable[Line], *, ledger: bool) -> Line:
    """All lines of one kind together."""
    chosen = [line for line in lines if line.ledger is ledger]
    return Line(
        scenario="**all**",
        database="",
        engine="",
        runs=sum(line.runs for line in chosen),
        kills=sum(line.kills for line in chosen),
        recipients=sum(line.recipients for line in chosen),
        lost=sum(line.lost for line in chosen),
        repeated=sum(line.repeated for line in chosen),
        unknown=sum(line.unknown for line in chosen),
        bound=sum(line.bound or 0 for line in chosen) if ledger else None,
        ledger=ledger,
    )
