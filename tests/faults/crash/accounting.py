"""What has to be true after every run, whatever happened in it.

Three witnesses are compared: what a host was told (acknowledged sends, loaded recipients), what the ledger says
(settled outcomes, listed unknowns, counts), and what the server took. The server is the only one that cannot be wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import attrs

from tests.faults.crash.receiving import Taken

SETTLED_WITHOUT_A_COPY = frozenset({"rejected", "deferred", "suppressed"})


@attrs.frozen(kw_only=True)
class Ledger:
    """What the ledger says: something special of some recipients, and the counts that a host sees, if it sees any."""

    states: Mapping[str, str]
    counts: Mapping[str, int] | None = None
    unfinished: int = 0


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of the recipients of a run. ``wrong`` are sentences, each one a broken promise."""

    recipients: int
    lost: int
    repeated: int
    unknown: int
    wrong: tuple[str, ...]

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            recipients=self.recipients + other.recipients,
            lost=self.lost + other.lost,
            repeated=self.repeated + other.repeated,
            unknown=self.unknown + other.unknown,
            wrong=self.wrong + other.wrong,
        )


def judge(recipients: Collection[str], ledger: Ledger, taken: Taken) -> Verdict:
    """Compare what was promised to these recipients with what the server has.

    Each is promised one copy at most, and to be accounted for: it has its copy, or the ledger says that it was refused,
    put off for good or suppressed, or lists it as unknown.
    """
    copies = Counter({name: count for name, count in taken.by_recipient.items() if name in recipients})
    unknown = {name for name in recipients if ledger.states.get(name) == "unknown"}
    settled = {name for name in recipients if ledger.states.get(name) in SETTLED_WITHOUT_A_COPY}
    lost = [name for name in recipients if not copies[name] and name not in unknown and name not in settled]
    repeated = [name for name, count in copies.items() if count > 1]
    wrong = [
        _listed("have no copy, and the ledger does not say why", lost),
        _listed("have more than one copy", repeated),
        _listed("have a copy although the ledger says that nobody sent one", [n for n in settled if copies[n]]),
        *(_miscounted(recipients, ledger.states, ledger.counts, copies) if ledger.counts is not None else ()),
    ]
    if ledger.unfinished:
        wrong.append(f"{ledger.unfinished} units of work are not finished")
    return Verdict(
        recipients=len(recipients),
        lost=len(lost),
        repeated=sum(copies[name] - 1 for name in repeated),
        unknown=len(unknown),
        wrong=tuple(filter(None, wrong)),
    )


def _miscounted(
    recipients: Collection[str], states: Mapping[str, str], counts: Mapping[str, int], copies: Counter[str]
) -> list[str]:
    """Where the counts differ from the rows behind them, or from the server."""
    found = Counter(state for name, state in states.items() if name in recipients and state != "accepted")
    found["accepted"] = sum(1 for name in copies if states.get(name) != "unknown")
    said = Counter(counts)
    wrong = [
        f"{state}: progress says {said[state]}, found {found[state]}"
        for state in sorted({*found, *said})
        if said[state] != found[state]
    ]
    if said.total() != len(recipients):
        wrong.append(f"progress accounts for {said.total()} of {len(recipients)} recipients")
    return wrong


def _listed(what: str, names: Collection[str]) -> str:
    return f"{len(names)} recipients {what}: {', '.join(sorted(names)[:5])}" if names else ""
