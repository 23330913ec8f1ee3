"""One run: what was handed over, who was told what, and whether it has come true in the end."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs

from tests.faults.crash.accounting import Ledger, Verdict, judge
from tests.faults.crash.grounds import Ground
from tests.faults.crash.naive import recipients_of
from tests.faults.crash.nursery import DiedByItself, Life
from tests.faults.crash.table import Line

STILL_FOR_S: Final = 120.0
"""A run in which nothing more happens for so long does not end any more."""
BROADCAST: Final = "b"
"""Begins the address of a broadcast's recipient."""
SEND: Final = "s"
"""Begins the address of a durable send's recipient."""


@attrs.frozen(kw_only=True)
class Shape:
    """How the work is cut, in recipients, and how long of a worker's silence is taken for its death."""

    chunk: int = 100
    micro_batch: int = 40
    concurrency: int = 2
    lease_s: float = 3.0
    first_retry_s: float = 0.3


class Run:
    """The work of one run on its ground. ``settings`` go to the SMTP connection."""

    def __init__(self, ground: Ground, shape: Shape | None = None, **settings: Any) -> None:
        self.ground = ground
        self.shape = shape or Shape()
        self.total = 0
        self.acknowledged: set[int] = set()
        self.kills = 0
        self._at_work: list[Life] = []
        self._common = {"config": ground.config(attrs.asdict(self.shape), **settings)}

    def birth(self, role: str, **options: Any) -> Life:
        """A new process for this run."""
        return self.ground.nursery.birth(role, **{**self._common, **options})

    def upgrade(self) -> None:
        """Make the tables."""
        self.birth("upgrade").join(60.0)

    def load(self, total: int) -> None:
        """Hand over a broadcast to so many recipients, and start it."""
        life = self.birth("load", total=total)
        life.expect("started", 120.0)
        life.join(30.0)
        self.total = total

    def worker(self, **options: Any) -> Life:
        """A worker, at work."""
        life = self.birth("work", **options)
        life.expect("working")
        return life

    def sender(self, **options: Any) -> Life:
        """A host that sends durably, from the first number on that nobody was told of."""
        return self.birth("send", known=sorted(self.acknowledged), **options)

    def heard(self, life: Life) -> None:
        """Note what a sender was told. It counts from the moment it was told, whatever came of the process."""
        life.read()
        self.acknowledged.update(int(line.split()[1]) for line in life.lines if line.startswith("acknowledged "))

    def kill(self, life: Life) -> None:
        """Kill a process, and count it. Raises ``DiedByItself`` where it was dead already."""
        if not life.kill():
            raise DiedByItself(f"{life.role} had died\n{life.errors()}")
        self.kills += 1
        self.heard(life)

    def freeze(self, life: Life) -> None:
        """Stop a process where it is; not in the middle of a write to a file, which nobody else could write to then."""
        while True:
            life.send(signal.SIGSTOP)
            if not life.locks_a_file():
                return
            life.send(signal.SIGCONT)
            time.sleep(0.01)

    def look(self) -> dict[str, Any]:
        """What the ledger says."""
        return self._seen(self.birth("look", still_for_s=0.0))

    def _seen(self, life: Life) -> dict[str, Any]:
        seen: dict[str, Any] = json.loads(life.expect("{"))
        life.join(30.0)
        return seen

    def settle(self, still_for_s: float = STILL_FOR_S) -> dict[str, Any]:
        """Wait until nothing is left to do, and return what the ledger says then. Somebody has to be at work."""
        watching = self.birth("look", still_for_s=still_for_s)
        while not watching.said("{"):
            dead = [life for life in self._at_work if not life.alive]
            if dead:
                raise DiedByItself(f"a worker died by itself\n{dead[0].errors()}")
        return self._seen(watching)

    @contextmanager
    def workers(self, number: int, **options: Any) -> Iterator[list[Life]]:
        """So many workers for as long as the block runs."""
        lives = [self.worker(**options) for _ in range(number)]
        self._at_work = lives
        try:
            yield lives
        finally:
            self._at_work = []
            for life in lives:
                life.kill()

    def ended_as_promised(self, report: Callable[[Line], None], scenario: str, *, bound: int) -> None:
        """Wait for the end, put it into the table, and hold it to what is promised. Somebody has to be at work."""
        verdict = self.verdict(self.settle())
        report(self.line(scenario, verdict, bound=bound))
        assert verdict.wrong == (), verdict
        assert verdict.unknown <= bound, verdict

    def verdict(self, seen: dict[str, Any]) -> Verdict:
        """What became of everybody."""
        taken = self.ground.receiver.taken()
        states = seen["states"]
        broadcast = judge(
            frozenset(recipients_of(0, self.total, BROADCAST)),
            Ledger(states=states, counts=seen["counts"] if self.total else None, unfinished=seen["unfinished"]),
            taken,
        )
        sends = judge({f"{SEND}{n}@example.net" for n in self.acknowledged}, Ledger(states=states), taken)
        verdict = broadcast + sends
        # Sends that nobody was told of promise less: no second copy, and no doubt that is not listed.
        twice = [key for key, count in taken.copies.items() if count > 1]
        twice += [name for name, count in taken.by_recipient.items() if count > 1]
        wrong = verdict.wrong if not twice or verdict.repeated else (*verdict.wrong, f"more than one copy: {twice[:3]}")
        return attrs.evolve(
            verdict,
            repeated=max(verdict.repeated, len(twice)),
            unknown=sum(state == "unknown" for state in states.values()),
            wrong=wrong,
        )

    def line(self, scenario: str, verdict: Verdict, *, bound: int | None) -> Line:
        """The line of the table."""
        return Line(
            scenario=scenario,
            database=self.ground.database,
            engine=self.ground.engine,
            kills=self.kills,
            recipients=verdict.recipients,
            lost=verdict.lost,
            repeated=verdict.repeated,
            unknown=verdict.unknown,
            bound=bound,
        )
