"""What happens to processes: killed at random moments, frozen for longer than their lease, started again each time."""

from __future__ import annotations

import random
import signal
import time

import attrs

from tests.faults.crash.nursery import Life
from tests.faults.crash.run import Run


@attrs.frozen(kw_only=True)
class Storm:
    """So many kills, with up to ``pause_s`` between them, of ``workers`` workers and one sender in turn."""

    kills: int
    pause_s: float
    seed: int
    workers: int = 1
    sender_share: float = 0.2
    begun_share: float = 0.7
    """Of how many it is waited for that they are at work; the others may die as they begin."""


def rage(run: Run, storm: Storm) -> None:
    """Kill until there were as many kills as wanted. All processes are gone afterwards."""
    moments = random.Random(storm.seed)
    workers = [run.worker() for _ in range(storm.workers)]
    sender = run.sender()
    for _ in range(storm.kills):
        time.sleep(moments.uniform(0.0, storm.pause_s))
        if moments.random() < storm.sender_share:
            run.kill(sender)
            sender = run.sender()
        else:
            place = moments.randrange(len(workers))
            if moments.random() < storm.begun_share:
                workers[place].expect("working")
                time.sleep(moments.uniform(0.0, storm.pause_s))
            run.kill(workers[place])
            workers[place] = run.birth("work")
    for life in (*workers, sender):
        life.kill()
        run.heard(life)


@attrs.frozen(kw_only=True)
class Frost:
    """Processes are frozen one after the other, some past their lease; one in ``kill_every`` is killed instead."""

    lease_s: float
    pause_s: float
    seed: int
    kill_every: int = 10
    longest_s: float = 240.0


def freeze(run: Run, frost: Frost, workers: list[Life]) -> int:
    """Freeze until nearly everybody has a copy; how often a worker was frozen or killed. All are awake afterwards."""
    moments = random.Random(frost.seed)
    asleep: dict[int, float] = {}
    blows = 0
    start = time.monotonic()
    while run.ground.receiver.count() < run.total * 0.95 and time.monotonic() - start < frost.longest_s:
        time.sleep(moments.uniform(0.0, frost.pause_s))
        _wake(workers, asleep)
        # Somebody has to stay awake, or nobody would take over.
        awake = [place for place in range(len(workers)) if place not in asleep]
        if len(awake) <= 2:
            continue
        place = moments.choice(awake)
        blows += 1
        if blows % frost.kill_every == 0:
            run.kill(workers[place])
            workers[place] = run.birth("work")
        else:
            run.freeze(workers[place])
            asleep[place] = time.monotonic() + moments.uniform(0.1, 2.5) * frost.lease_s
    _wake(workers, dict.fromkeys(asleep, 0.0))
    return blows


def _wake(workers: list[Life], asleep: dict[int, float]) -> None:
    for place, until in list(asleep.items()):
        if time.monotonic() >= until:
            workers[place].send(signal.SIGCONT)
            del asleep[place]
