"""For each named point a scene in which a process comes to it: what it does, and what has been done before.

The process that is to die dies at the point. Whatever it had to do is then done by another, as a supervisor or a person
would see to it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from genie_connect.failpoints import STAGES, STEPS, WRITES
from tests.faults.crash.nursery import DiedByItself, Life
from tests.faults.crash.run import Run
from tests.servers.nats import Nats

SENDS: Final = 3
PLAIN: Final = 2
REACHED_WITHIN_S: Final = 90.0
Scene: TypeAlias = Callable[[Run, str, Nats | None], None]


def loading(run: Run, point: str, nats: Nats | None) -> None:
    """Whoever loads dies; a second one looks what became of it, and does the rest."""
    until_death(run, run.birth("load", total=run.total, point=point))
    run.load(run.total)
    sending_on(run)


def sending(run: Run, point: str, nats: Nats | None) -> None:
    """A host that only hands over dies, and is started again with the same keys."""
    run.load(run.total)
    until_death(run, run.sender(point=point))
    sending_on(run)


def sending_and_working(run: Run, point: str, nats: Nats | None) -> None:
    """A host that sends what it accepts by itself dies."""
    run.load(run.total)
    until_death(run, run.sender(point=point, works=True))
    sending_on(run)


def waiting(run: Run, point: str, nats: Nats | None) -> None:
    """A host whose callers wait for the result dies; they know nothing then, and the ledger says what is known."""
    run.load(run.total)
    until_death(run, run.birth("plain", first=0, count=PLAIN, point=point))
    run.birth("plain", first=PLAIN, count=PLAIN).join(REACHED_WITHIN_S)
    sending_on(run)


def working(run: Run, point: str, nats: Nats | None) -> None:
    """A worker dies that had found the work of another dead one, so that it marks and reaps as well."""
    run.load(run.total)
    sending_on(run)
    kill_in_the_middle(run)
    until_death(run, run.birth("work", point=point))


def stopping(run: Run, point: str, nats: Nats | None) -> None:
    """A worker is told to stop at once, and dies while it gives back what it has."""
    run.load(run.total)
    sending_on(run)
    worker = run.worker(point=point, grace_s=0.0)
    in_the_middle(run)
    worker.send(signal.SIGTERM)
    until_death(run, worker)


def resolving(run: Run, point: str, nats: Nats | None) -> None:
    """A person who has asked the server settles what is unknown, and dies over it; another one goes on."""
    run.load(run.total)
    sending_on(run)
    # What has arrived is answered late enough for the kill to come before it: somebody has to be in doubt.
    run.ground.receiver.behave(answer_after_s=0.5)
    kill_in_the_middle(run)
    run.ground.receiver.behave()
    with run.workers(1):
        run.settle()
    taken = sorted(run.ground.receiver.taken().by_recipient)
    until_death(run, run.birth("resolve", taken=taken, point=point))
    run.birth("resolve", taken=taken).join(REACHED_WITHIN_S)


def without_engine(run: Run, point: str, nats: Nats | None) -> None:
    """The engine's server goes away, and the worker dies as it takes back what that did not take."""
    assert nats is not None
    worker = run.worker(point=point)
    nats.stop()
    try:
        run.load(run.total)
        sending_on(run)
        until_death(run, worker)
    finally:
        nats.start()


def sending_on(run: Run) -> None:
    """Some durable sends by a host that lives until they are acknowledged."""
    sender = run.sender()
    wanted = len(run.acknowledged) + SENDS
    deadline = time.monotonic() + REACHED_WITHIN_S
    while len(run.acknowledged) < wanted and time.monotonic() < deadline:
        sender.read(0.05)
        run.heard(sender)
    sender.kill()
    run.heard(sender)
    assert len(run.acknowledged) >= wanted, sender.errors()


def kill_in_the_middle(run: Run) -> None:
    """A worker is killed when it has handed over some of a broadcast, and not all."""
    worker = run.worker()
    in_the_middle(run)
    run.kill(worker)


def in_the_middle(run: Run) -> None:
    """Wait until the sends are through and the broadcast has begun."""
    deadline = time.monotonic() + REACHED_WITHIN_S
    while run.ground.receiver.count() <= len(run.acknowledged) and time.monotonic() < deadline:
        time.sleep(0.01)


def until_death(run: Run, life: Life) -> None:
    """Wait until the process has come to its point. Raises ``DiedByItself`` where it died of something else, or lives.

    What it was told until then counts.
    """
    life.join(REACHED_WITHIN_S)
    run.heard(life)
    if life.ended or "Traceback" in life.errors():
        raise DiedByItself(f"{life.role} did not come to the point: {life.lines[-3:]}\n{life.errors()}")
    run.kills += 1


_SCENES: Final[Mapping[str, Scene]] = {
    "accept.begun": sending_and_working,
    "accept": sending,
    "plain": waiting,
    "load": loading,
    "broadcast": loading,
    "create": loading,
    "add": loading,
    "change": loading,
    "resolve": resolving,
    "worker.handed_back": stopping,
    "leave": stopping,
    "worker.withdrawn": without_engine,
    "withdraw": without_engine,
    "": working,
}
"""By how the name of a point begins, that of a write without what all those have in common. The first that fits."""
_ONLY: Final[Mapping[str, str]] = {"worker.offering": "pgqueuer", "worker.withdrawn": "nats", "withdraw": "nats"}
"""Points that only one engine has; an engine that shares the ledger has no offer outside of it."""
_APART_FROM: Final[Mapping[str, str]] = {"worker.offered": "pgqueuer", "worker.submitted": "pgqueuer"}


def scene_of(point: str) -> Scene:
    """How a process comes to this point."""
    name = point.removeprefix("write.")
    return next(scene for beginning, scene in _SCENES.items() if name.startswith(beginning))


def engines_of(point: str, database: str) -> list[str]:
    """The engines with which it is come to."""
    there = ["embedded", "nats"] if database == "sqlite" else ["embedded", "pgqueuer", "nats"]
    name = point.removeprefix("write.")
    only = next((engine for beginning, engine in _ONLY.items() if name.startswith(beginning)), None)
    return [engine for engine in there if only in (None, engine) and _APART_FROM.get(name) != engine]


def points(unused: Collection[str]) -> list[str]:
    """All points, but for those of writes that nobody makes."""
    return [*STEPS, *(f"write.{name}.{stage}" for name in WRITES if name not in unused for stage in STAGES)]
