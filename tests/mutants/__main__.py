"""``./dev mutants``: break the sandbox and SMTP connectors in hundreds of places, and see what the kit notices."""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.docs.pages import PAGES, ROOT
from tests.mutants.alike import ALIKE
from tests.mutants.making import Mutant, mutants_of
from tests.mutants.trying import HARNESS, Fate, fates, forget, reached
from tests.spec.test_conformance import CONTRACTS

PAGE: Final = PAGES / "reference" / "quality.md"
GOAL: Final = 0.95
_PART: Final = re.compile(r"(<!-- results: mutants -->\n).*?(<!-- results end -->)", re.DOTALL)
_SEED: Final = 20261125


@attrs.frozen(kw_only=True)
class Subject:
    """A connector whose own code is broken: a package, and the modules in it that are a server for tests."""

    connector: str
    package: str
    folder: Path
    without: frozenset[str] = frozenset()

    def files(self) -> dict[str, Path]:
        """Its modules."""
        found = {}
        for path in sorted(self.folder.rglob("*.py")):
            parts = path.relative_to(self.folder).with_suffix("").parts
            name = ".".join((self.package, *(part for part in parts if part != "__init__")))
            if path.stem not in self.without:
                found[name] = path
        return found


SUBJECTS: Final = (
    Subject(
        connector="sandbox",
        package="genie_connect_contrib.sandbox",
        folder=ROOT / "plugins/contrib/src/genie_connect_contrib/sandbox",
        without=frozenset({"__main__", "behaviour", "keeping", "provider", "records", "server"}),
    ),
    Subject(connector="smtp", package="genie_connect_smtp", folder=ROOT / "plugins/smtp/src/genie_connect_smtp"),
)


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one connector's mutants."""

    connector: str
    functions: int
    fates: Sequence[Fate]
    left_out: Counter[str]
    """By reason, of those that the kit runs into."""

    @property
    def survivors(self) -> list[Fate]:
        """Those that the kit did not notice."""
        return [fate for fate in self.fates if not fate.check]

    @property
    def killed(self) -> float:
        """The part that it noticed."""
        return 1 - len(self.survivors) / max(1, len(self.fates))


def look(subject: Subject, count: int, jobs: int, only: str) -> Outcome:
    """Break it in so many places, each by itself."""
    files, contract = subject.files(), CONTRACTS[subject.connector]
    forget(subject.package)
    lines, failed = reached(type("Whole", (contract,), {})(), {str(path): name for name, path in files.items()})
    if failed:
        raise SystemExit(f"{subject.connector} fails {', '.join(failed)} as it stands")
    every = [mutant for name, path in files.items() for mutant in mutants_of(name, path)]
    met = [mutant for mutant in every if (mutant.module, mutant.line) in lines]
    left_out = Counter(why for mutant in met if (why := mutant.left_out or ALIKE.get(mutant.name, "")))
    there = [mutant for mutant in met if not mutant.left_out and mutant.name not in ALIKE]
    chosen = [mutant for mutant in there if only in mutant.name] if only else _chosen(there, count)
    print(
        f"{subject.connector}: {len(chosen)} of {len(there)} mutants that the kit runs into ({len(every)} in all)",
        flush=True,
    )
    found = []
    for fate in fates(contract, subject.package, files, chosen, jobs=jobs):
        found.append(fate)
        if fate.check == HARNESS:
            raise SystemExit(f"{fate.mutant.name}: {fate.reason}")
        if not fate.check:
            print(f"  lives: {fate.mutant.name}, line {fate.mutant.line}: {fate.mutant.text[:90]}", flush=True)
    return Outcome(
        connector=subject.connector,
        functions=len({(mutant.module, mutant.function) for mutant in chosen}),
        fates=found,
        left_out=left_out,
    )


def _chosen(mutants: Sequence[Mutant], count: int) -> list[Mutant]:
    """The same ones in every run, spread over all functions."""
    chance = random.Random(_SEED)
    return list(mutants) if count >= len(mutants) else sorted(chance.sample(mutants, count), key=lambda each: each.name)


def results(outcomes: Sequence[Outcome]) -> str:
    """As the page shows them."""
    lines = ["| Connector | Mutants | In functions | Killed | Part |", "|---|--:|--:|--:|--:|"]
    kills: Counter[str] = Counter()
    for each in outcomes:
        killed = len(each.fates) - len(each.survivors)
        kills.update(fate.check.rpartition("-")[0] or fate.check for fate in each.fates if fate.check)
        lines.append(f"| `{each.connector}` | {len(each.fates)} | {each.functions} | {killed} | {each.killed:.1%} |")
    parts = ", ".join(f"`{part}` {number}" for part, number in kills.most_common())
    reasons: Counter[str] = Counter()
    for each in outcomes:
        reasons.update(each.left_out)
    lines += ["", f"First failure by part of the contract: {parts}.", ""]
    if reasons:
        lines += ["Not tried, of all that the kit runs into (`tests/mutants/alike.py` has the rules):", ""]
        lines += [f"- {number}: {reason}" for reason, number in reasons.most_common()]
    return "\n".join(lines).rstrip()


def main() -> int:
    """Break, look, and write down."""
    parser = argparse.ArgumentParser(prog="./dev mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=150, help="mutants of each connector (150)")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (1)")
    parser.add_argument("--connector", choices=[each.connector for each in SUBJECTS], help="one connector")
    parser.add_argument("--only", default="", metavar="WORD", help="the mutants whose name holds the word")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what became of each there")
    parser.add_argument("--write", action="store_true", help=f"write the results into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    subjects = [each for each in SUBJECTS if options.connector in (None, each.connector)]
    outcomes = [look(each, options.count, options.jobs, options.only) for each in subjects]
    text = results(outcomes)
    print(text)
    if options.json:
        data = [
            {"mutant": fate.mutant.name, "check": fate.check, "reason": fate.reason}
            for each in outcomes
            for fate in each.fates
        ]
        options.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if options.write:
        page, times = _PART.subn(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", PAGE.read_text(encoding="utf-8"))
        assert times == 1, "the page has one place for the results"
        PAGE.write_text(page, encoding="utf-8")
    return 0 if all(each.killed >= GOAL for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
