"""What is aimed at, and how far a run came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import attrs

from tests.bench.smtp.computing import CPU_US, NODEMAILER
from tests.bench.smtp.memory import ABOVE_START_MIB, CPU_S, KIB, STALL_MS
from tests.bench.smtp.report import Reached, Results, number
from tests.bench.smtp.sending import CPU, RATE, WALL_MS

AIOSMTPLIB = "aiosmtplib, uvloop"
EMAIL_AIOSMTPLIB = "EmailMessage + aiosmtplib, uvloop"
# The goals are for the whole path; the other rows of the same mode stand beside it.
_WHOLE = ", host"
_BARE = ", ready bytes"


@attrs.frozen(kw_only=True)
class Ratio:
    """A row is so many times better than others, in each of some cases."""

    text: str
    cases: Sequence[str]
    row: str
    over: Sequence[str]
    quantity: str
    at_least: float
    inverse: bool = False
    """Whether the goal is spoken of as a cost: how many times as much as the other."""

    def reached(self, results: Mapping[str, Results]) -> Reached:
        worst, where, missing = self._worst(results, (_WHOLE, ""))
        bare, _, bare_missing = self._worst(results, (_BARE,))
        notes = [f"least at {where}"] if where and len(self.cases) * len(self.over) > 1 else []
        notes += [f"ready bytes {number(bare)}x"] if bare is not None and not bare_missing else []
        notes += [f"without {len(missing)} of {len(self.cases) * len(self.over)} comparisons"] if missing else []
        enough = None if worst is None else worst >= self.at_least
        return Reached(
            goal=self.text,
            reached="" if worst is None else f"{number(1 / worst if self.inverse else worst)}x",
            met=None if missing and enough is not False else enough,
            note="; ".join(notes),
        )

    def _worst(
        self, results: Mapping[str, Results], levels: Sequence[str]
    ) -> tuple[float | None, str, list[tuple[str, str]]]:
        found: list[tuple[float, str]] = []
        missing: list[tuple[str, str]] = []
        for case, over in product(self.cases, self.over):
            result = results.get(case)
            rows = [f"{self.row}{level}" for level in levels]
            row = next((name for name in rows if result is not None and name in result.rows), None)
            advantage = result.advantage(row, over, self.quantity) if result is not None and row is not None else None
            if advantage is None:
                missing.append((case, over))
            else:
                found.append((advantage.median, f"{case} over {over}"))
        worst, where = min(found, default=(None, ""))
        return worst, where, missing


@attrs.frozen(kw_only=True)
class Bound:
    """A quantity of a row stays below a bound."""

    text: str
    case: str
    row: str
    quantity: str
    at_most: float
    unit: str

    def reached(self, results: Mapping[str, Results]) -> Reached:
        result = results.get(self.case)
        measured = result.rows.get(self.row, {}).get(self.quantity) if result is not None else None
        if measured is None:
            return Reached(goal=self.text, reached="", met=None)
        value = measured.median
        return Reached(goal=self.text, reached=f"{number(value)} {self.unit}", met=value <= self.at_most)


def _cases(size: str, delays: Sequence[int], connections: Sequence[int]) -> list[str]:
    return [f"send/own/{size}/{many}c/{delay}ms" for delay in delays for many in connections]


_LATENT = _cases("2KB", (20, 50), (1, 10))
_LATENT_30 = _cases("30KB", (20,), (1, 10))
_LOCAL = _cases("2KB", (0,), (1,))
_SEQUENTIAL = (AIOSMTPLIB, "smtplib", "smtp-source")


def _rate(text: str, cases: Sequence[str], row: str, over: Sequence[str], at_least: float) -> Ratio:
    return Ratio(text=text, cases=cases, row=row, over=over, quantity=RATE, at_least=at_least)


def _cpu(text: str, row: str, over: str, at_least: float) -> Ratio:
    return Ratio(text=text, cases=_LOCAL, row=row, over=[over], quantity=CPU, at_least=at_least)


def _composed(text: str, case: str, row: str, over: str, at_least: float, quantity: str = CPU_US) -> Ratio:
    return Ratio(text=text, cases=[case], row=row, over=[over], quantity=quantity, at_least=at_least)


GOALS: Sequence[Ratio | Bound] = (
    _rate("B, 20 and 50 ms, 2 KB: >= 3.8x aiosmtplib, smtplib, smtp-source", _LATENT, "ours B", _SEQUENTIAL, 3.8),
    _rate("B, 20 and 50 ms, 2 KB: >= 1.95x nodemailer", _LATENT, "ours B", ["nodemailer"], 1.95),
    _rate("B, 20 ms, 30 KB: >= 2.8x aiosmtplib", _LATENT_30, "ours B", [AIOSMTPLIB], 2.8),
    _rate("B, 20 ms, 30 KB: >= 1.6x nodemailer", _LATENT_30, "ours B", ["nodemailer"], 1.6),
    _rate("C, W=16, 20 and 50 ms, 2 KB: >= 50x aiosmtplib", _LATENT, "ours C16", [AIOSMTPLIB], 50),
    _rate("C, W=16, 20 and 50 ms, 2 KB: >= 25x nodemailer", _LATENT, "ours C16", ["nodemailer"], 25),
    _rate("C, W=64, 1 connection: >= 180x aiosmtplib", _cases("2KB", (20, 50), (1,)), "ours C64", [AIOSMTPLIB], 180),
    _rate("C, W=64, 1 connection: >= 90x nodemailer", _cases("2KB", (20, 50), (1,)), "ours C64", ["nodemailer"], 90),
    _cpu("CPU, B: <= 1/5 of aiosmtplib on uvloop", "ours B", AIOSMTPLIB, 5),
    _cpu("CPU, B: <= 1/10 of nodemailer", "ours B", "nodemailer", 10),
    _cpu("CPU, B: <= 1/2 of smtp-source", "ours B", "smtp-source", 2),
    _cpu("CPU, C, W=16: <= 1/20 of aiosmtplib on uvloop", "ours C16", AIOSMTPLIB, 20),
    _cpu("CPU, C, W=16: <= 1/40 of nodemailer", "ours C16", "nodemailer", 40),
    _cpu("CPU, C, W=16: <= 1/7 of smtp-source", "ours C16", "smtp-source", 7),
    _composed("compiled, 2 KB: >= 100x EmailMessage", "compose/2KB", "ours, compiled", "EmailMessage", 100),
    _composed("compiled, 2 KB: >= 25x nodemailer", "compose/2KB", "ours, compiled", NODEMAILER, 25),
    _composed("compiled, with files: >= 250x EmailMessage", "compose/files", "ours, compiled", "EmailMessage", 250),
    _composed("compiled, with files: >= 45x nodemailer", "compose/files", "ours, compiled", NODEMAILER, 45),
    _composed(
        "compose and send, B: >= 12x EmailMessage + aiosmtplib", "compose+send", "ours B", EMAIL_AIOSMTPLIB, 12, RATE
    ),
    _composed("compose and send, B: >= 5x nodemailer", "compose+send", "ours B", "nodemailer", 5, RATE),
    _composed(
        "compose and send, C: >= 60x EmailMessage + aiosmtplib", "compose+send", "ours C16", EMAIL_AIOSMTPLIB, 60, RATE
    ),
    _composed("compose and send, C: >= 25x nodemailer", "compose+send", "ours C16", "nodemailer", 25, RATE),
    Ratio(
        text="DKIM rsa2048: <= 1.3x the bare RSA operation",
        cases=["sign/2KB"],
        row="ours, rsa2048",
        over=["RSA alone"],
        quantity=CPU_US,
        at_least=1 / 1.3,
        inverse=True,
    ),
    _composed("DKIM rsa2048: >= 18x dkimpy", "sign/2KB", "ours, rsa2048", "dkimpy, rsa2048", 18),
    Bound(
        text="25 MB attachment: <= 2 MiB above start",
        case="attachment",
        row="ours",
        quantity=ABOVE_START_MIB,
        at_most=2,
        unit="MiB",
    ),
    Bound(
        text="25 MB attachment: longest loop stall <= 5 ms",
        case="attachment",
        row="ours",
        quantity=STALL_MS,
        at_most=5,
        unit="ms",
    ),
    _composed("25 MB attachment: CPU <= 1/10 of aiosmtplib", "attachment", "ours", "aiosmtplib", 10, CPU_S),
    Bound(
        text="idle connection, plain: <= 8 KiB",
        case="idle/plain",
        row="ours, uvloop",
        quantity=KIB,
        at_most=8,
        unit="KiB",
    ),
    Bound(
        text="idle connection, TLS: <= 48 KiB on uvloop",
        case="idle/tls",
        row="ours, uvloop",
        quantity=KIB,
        at_most=48,
        unit="KiB",
    ),
    _rate("stock Haraka: >= 10x nodemailer", ["send/haraka/2KB/1c/0ms"], "ours auto", ["nodemailer"], 10),
    _rate("stock Haraka: never slower than A", ["send/haraka/2KB/1c/0ms"], "ours auto", ["ours A"], 0.95),
    _rate("Postfix, BDAT, W=1, 30 KB: no 40 ms stalls", ["send/postfix/30KB/1c/0ms"], "ours C1", ["ours A"], 0.5),
    _composed(
        "cold message, 20 ms: <= 0.7x aiosmtplib.send", "cold/20ms", "ours auto", "aiosmtplib.send", 1 / 0.7, WALL_MS
    ),
    _composed("cold message, 20 ms: <= nodemailer", "cold/20ms", "ours auto", "nodemailer", 1, WALL_MS),
    _rate(
        "no PIPELINING, 20 ms: messages/s within 3 % of aiosmtplib",
        ["send/no-pipelining/2KB/1c/20ms"],
        "ours auto",
        [AIOSMTPLIB],
        0.97,
    ),
    Ratio(
        text="no PIPELINING: CPU <= 1/2 of aiosmtplib",
        cases=["send/no-pipelining/2KB/1c/0ms"],
        row="ours auto",
        over=[AIOSMTPLIB],
        quantity=CPU,
        at_least=2,
    ),
)


def evaluated(results: Sequence[Results]) -> list[Reached]:
    """Every goal that some case of the run has to do with."""
    by_name = {result.name: result for result in results}
    return [goal.reached(by_name) for goal in GOALS if _touched(goal, by_name)]


def _touched(goal: Ratio | Bound, results: Mapping[str, Results]) -> bool:
    cases = [goal.case] if isinstance(goal, Bound) else goal.cases
    return any(case in results for case in cases)
