"""What happens to processes: killed at random moments, frozen for longer than their lease, started again each time."""

from __future__ import annotations

import random
import signal
import time
from typing import Final

import attrs

from tests.faults.crash.nursery import Life
from tests.faults.crash.run import Run


@attrs.frozen(kw_only=True)
class Storm:
    """So many kills of ``workers`` workers and one sender in turn, each up to ``pause_s`` after what is waited for.

    ``sending_share`` of the kills of a worker wait until something of the broadcast has arrived since it was born,
    ``begun_share`` until it is at work; the others come as it begins.
    """

    kills: int
    pause_s: float
    seed: int
    workers: int = 1
    sender_share: float = 0.2
    begun_share: float = 0.2
    sending_share: float = 0.6


MOST: Final = 8
"""So many sends a sender is acknowledged in its life: on a slow machine it would else make more than is done."""
IDLE_AFTER_S: Final = 2.0
"""A worker that has sent nothing for so long has nothing to send, and dies idle."""


def rage(run: Run, storm: Storm) -> None:
    """Kill until there were as many kills as wanted. All processes are gone afterwards."""
    moments = random.Random(storm.seed)
    workers = [_Victim(run) for _ in range(storm.workers)]
    sender = run.sender(most=MOST)
    for _ in range(storm.kills):
        if moments.random() < storm.sender_share:
            time.sleep(moments.uniform(0.0, storm.pause_s))
            run.kill(sender)
            sender = run.sender(most=MOST)
            continue
        place = moments.randrange(len(workers))
        when = moments.random()
        if when < storm.sending_share:
            workers[place].await_sending()
        elif when < storm.sending_share + storm.begun_share:
            workers[place].life.expect("working")
        time.sleep(moments.uniform(0.0, storm.pause_s))
        run.kill(workers[place].life)
        workers[place] = _Victim(run)
    for life in (*(worker.life for worker in workers), sender):
        life.kill()
        run.heard(life)


class _Victim:
    """A worker that is to die, and how many copies had arrived as it was born."""

    def __init__(self, run: Run) -> None:
        self._receiver = run.ground.receiver
        self._before = self._receiver.count()
        self.life = run.birth("work")

    def await_sending(self) -> None:
        """Wait until something arrives that it may have sent."""
        self.life.expect("working")
        deadline = time.monotonic() + IDLE_AFTER_S
        while self._receiver.count() == self._before and time.monotonic() < deadline:
            time.sleep(0.01)


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
