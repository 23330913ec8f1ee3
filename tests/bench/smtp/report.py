"""Tables of what was measured, and the list of goals beside it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs


def spread(values: Sequence[float]) -> str:
    """Least and most."""
    return f"{number(min(values))}-{number(max(values))}" if len(values) > 1 else ""


def number(value: float) -> str:
    """Three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


@attrs.frozen(kw_only=True)
class Measured:
    """One quantity of one row, each round a sample; rounds of all rows were interleaved."""

    samples: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def over(self, other: Measured) -> Measured:
        """This as a multiple of the other, round by round where both have the same number of rounds."""
        if len(self.samples) == len(other.samples):
            return Measured(samples=[mine / its for mine, its in zip(self.samples, other.samples, strict=True) if its])
        return Measured(samples=[self.median / other.median])


@attrs.frozen(kw_only=True)
class Quantity:
    """A column: its unit, and whether more of it is better."""

    title: str
    more_is_better: bool = False


@attrs.frozen(kw_only=True)
class Results:
    """One case: rows by name, each with its quantities by name; what was left out, with the reason."""

    name: str
    title: str
    quantities: Mapping[str, Quantity]
    rows: Mapping[str, Mapping[str, Measured]]
    reference: str
    """The row that ratios are made to."""
    notes: Sequence[str] = ()
    skipped: Mapping[str, str] = attrs.field(factory=dict)

    def advantage(self, row: str, over: str, quantity: str) -> Measured | None:
        """How many times better one row is than another; ``None`` where one of them is missing."""
        one, other = self.rows.get(row, {}).get(quantity), self.rows.get(over, {}).get(quantity)
        if one is None or other is None:
            return None
        return one.over(other) if self.quantities[quantity].more_is_better else other.over(one)

    def render(self) -> str:
        columns = ["", *(text for each in self.quantities.values() for text in (each.title, "min-max", "ratio"))]
        lines = [f"### {self.title}", "", "| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
        for name, measured in self.rows.items():
            cells = [name]
            for quantity in self.quantities:
                samples = measured.get(quantity)
                cells += ["", "", ""] if samples is None else self._cells(name, quantity, samples)
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        if self.reference in self.rows:
            lines.append(f"Ratio: how many times better {self.reference} is, the median of the rounds and its spread.")
        lines += [f"Note: {note}." for note in self.notes]
        for reason in dict.fromkeys(self.skipped.values()):
            names = [name for name, its_reason in self.skipped.items() if its_reason == reason]
            lines.append(f"Skipped: {'; '.join(names)}: {reason}.")
        return "\n".join(lines)

    def _cells(self, name: str, quantity: str, measured: Measured) -> list[str]:
        ratio = self.advantage(self.reference, name, quantity)
        text = "" if ratio is None or name == self.reference else f"{number(ratio.median)} ({spread(ratio.samples)})"
        return [number(measured.median), spread(measured.samples), text.replace(" ()", "")]

    def as_data(self) -> Mapping[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "reference": self.reference,
            "rows": {name: self._row_data(name) for name in self.rows},
            "notes": list(self.notes),
            "skipped": dict(self.skipped),
        }

    def _row_data(self, name: str) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for quantity, measured in self.rows[name].items():
            advantage = self.advantage(self.reference, name, quantity)
            found[quantity] = {
                "unit": self.quantities[quantity].title,
                "median": measured.median,
                "samples": list(measured.samples),
                "reference_is_better": None if advantage is None else advantage.median,
            }
        return found


@attrs.frozen(kw_only=True)
class Reached:
    """A goal beside what was measured. ``met`` is ``None`` where it could not be measured."""

    goal: str
    reached: str
    met: bool | None
    note: str = ""


def at_least(goal: str, value: float | None, bound: float, unit: str, note: str = "") -> Reached:
    """A goal that is met from that value on."""
    met = None if value is None else value >= bound
    return Reached(goal=goal, reached="" if value is None else f"{number(value)}{unit}", met=met, note=note)


def at_most(goal: str, value: float | None, bound: float, unit: str) -> Reached:
    """A goal that is met up to that value."""
    met = None if value is None else value <= bound
    return Reached(goal=goal, reached="" if value is None else f"{number(value)}{unit}", met=met)


@attrs.frozen(kw_only=True)
class GoalTable:
    """All goals of the run."""

    rows: Sequence[Reached]

    def render(self) -> str:
        words = {True: "yes", False: "**no**", None: "not measured"}
        lines = ["### Goals", "", "| goal | reached | met | |", "|---|--:|---|---|"]
        lines += [f"| {row.goal} | {row.reached} | {words[row.met]} | {row.note} |" for row in self.rows]
        return "\n".join(lines)

    def as_data(self) -> Mapping[str, Any]:
        return {"goals": [attrs.asdict(row) for row in self.rows]}


@attrs.frozen(kw_only=True)
class Heading:
    """What the run was made with."""

    facts: Sequence[str]

    def render(self) -> str:
        return "\n".join(["## SMTP", "", *(f"- {fact}" for fact in self.facts)])

    def as_data(self) -> Mapping[str, Any]:
        return {"facts": list(self.facts)}
