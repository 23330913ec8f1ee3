"""Places at which a test may kill the process, so that what is promised after a crash can be tried at each of them.

Nothing happens unless ``GENIE_CONNECT_FAILPOINT`` names one when the process begins: ``NAME``, or ``NAME:3`` for the
third time that it is passed. The process then dies as if its power had gone: nothing is cleaned up.

``POINTS`` lists them all. A ``write.`` is one of the kinds of write that share a transaction, in one of its stages.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "GENIE_CONNECT_FAILPOINT"

STEPS: Final[Mapping[str, str]] = {
    "accept.before": "a durable send was asked for, and nothing has been written",
    "accept.after": "it is on disk, and its caller does not know yet",
    "accept.begun": "it is being worked on, and its caller does not know yet",
    "plain.open.before": "a send whose caller waits is about to be written down for the first time",
    "plain.open.after": "it is written down, and nothing has left",
    "plain.end.before": "everything is known of it, and not all written down",
    "plain.end.after": "it is ended in the ledger, and its caller does not know yet",
    "journal.leaving.before": "a hand-over is about to be written down",
    "journal.leaving.after": "it is written down, and nothing has left",
    "journal.answered.before": "the answers are here, and nothing of them is written down",
    "journal.answered.after": "they are written down",
    "pass.begun": "a unit was claimed and unpacked, and nobody was looked up in the suppressions",
    "pass.settle.before": "outcomes that no hand-over brought are about to be written down",
    "pass.settle.after": "they are written down",
    "pass.deliver.before": "some recipients are about to be tried",
    "pass.deliver.after": "they have been tried, and those put off are not written down",
    "worker.claim.before": "the engine has brought a unit",
    "worker.claim.after": "it is claimed, or there was nothing to claim",
    "worker.end.before": "a pass is over, and the unit is still ours",
    "worker.end.done": "the unit is done",
    "worker.end.after": "the unit is given back or given up",
    "worker.handed_back.before": "a unit that may not be gone on with is about to be given back",
    "worker.handed_back.after": "it is given back",
    "worker.returned": "the engine is about to be told that it may forget the unit",
    "worker.watched": "workers that died are marked, and their units not yet taken over",
    "worker.reaped": "their units are taken over, and not yet offered",
    "worker.offered": "units are offered, and the engine does not have them yet",
    "worker.submitted": "the engine has them",
    "worker.offering": "the engine has them in the ledger's transaction, which is not committed",
    "worker.withdrawn": "the engine did not take them, and they are to be offered again",
    "load.created": "a broadcast has its row, and no recipient",
    "load.chunks": "some of its chunks are written",
    "load.written": "all of them are written, and it is still loading",
    "load.sealed": "it is loaded, and not started",
    "broadcast.started": "it may be worked on, and no worker has been woken",
    "resolve.after": "an unknown copy is resolved, and no worker has been woken",
}
"""Steps of durable work, each with what has been done by then."""

WRITES: Final[Mapping[str, str]] = {
    "accept": "a send is taken in",
    "create": "a broadcast gets its row",
    "add": "chunks are loaded",
    "change": "a broadcast is sealed, started, paused, gone on with or stopped",
    "withdraw": "units are not offered any more",
    "claim": "units are taken over",
    "leaving": "hand-overs are about to begin",
    "answered": "the answers of hand-overs are kept",
    "release": "units are given back",
    "finish": "units are done",
    "reap": "units are taken from workers that died",
    "drop": "units are taken from a worker that ends",
    "resolve": "unknown copies are resolved",
    "register": "a worker begins",
    "beat": "a worker says that it is alive",
    "leave": "a worker ends",
    "mark": "a worker is marked dead",
}
"""Kinds of write."""
STAGES: Final[Mapping[str, str]] = {
    "began": "the transaction is open",
    "applied": "its statements are done, and not committed",
    "committed": "it is committed, and nobody was told",
}
"""Stages of each."""

POINTS: Final[Mapping[str, str]] = {
    **STEPS,
    **{
        f"write.{name}.{stage}": f"{what}: {how_far}"
        for name, what in WRITES.items()
        for stage, how_far in STAGES.items()
    },
}
"""All of them, each with what has been done by then."""


class _Armed:
    """What the environment asked for when the process began."""

    def __init__(self, wanted: str) -> None:
        self.name, _, count = wanted.partition(":")
        self.left = int(count) if count.isdigit() else 1

    def pass_by(self, name: str) -> None:
        if name != self.name:
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


_armed: Final = _Armed(os.environ.get(VARIABLE, ""))


def point(name: str) -> None:
    """A step of this name has been come to."""
    if _armed.name:
        _armed.pass_by(name)


def write_point(function: str, stage: str) -> None:
    """A write, by the name of the function that does it, has come to this stage."""
    if _armed.name:
        _armed.pass_by(f"write.{function.lstrip('_')}.{stage}")
