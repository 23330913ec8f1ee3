"""A table of measurements: medians with their spread, and each as a ratio to the first row."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Row:
    """One thing measured, several times, in the table's unit."""

    name: str
    samples: Sequence[float]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@attrs.frozen(kw_only=True)
class Table:
    """Rows of one measurement. ``goal`` says what is aimed at, as text."""

    title: str
    unit: str
    rows: Sequence[Row]
    goal: str = ""

    def render(self) -> str:
        base = self.rows[0].median
        lines = [f"### {self.title}", "", f"| | median {self.unit} | min-max | ratio |", "|---|--:|--:|--:|"]
        for row in self.rows:
            spread = f"{min(row.samples):.1f}-{max(row.samples):.1f}"
            ratio = f"{row.median / base:.2f}" if base else ""
            note = f" ({row.note})" if row.note else ""
            lines.append(f"| {row.name}{note} | {row.median:.1f} | {spread} | {ratio} |")
        if self.goal:
            lines += ["", f"Goal: {self.goal}"]
        return "\n".join(lines)

    def as_data(self) -> Mapping[str, Any]:
        return attrs.asdict(self)
