"""What workers and the ledger tell each other about a unit: values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from genie_connect.model.outcome import Outcome
from genie_connect.store import bitmap
from genie_connect.store.schema import UnitKind


@attrs.frozen(kw_only=True)
class Offered:
    """A unit that may be claimed. ``not_before`` is seconds since 1970; a higher ``priority`` goes first."""

    unit: int
    kind: UnitKind
    priority: int
    not_before: float


class Earlier(NamedTuple):
    """What the last attempt said of a position that is to be tried again, and how often it was tried."""

    outcome: Outcome
    tries: int
    attempt_id: str | None


@attrs.frozen(kw_only=True)
class SendContent:
    """What a send consists of. ``message`` is as it was given, ``plan`` JSON, ``only`` the connection it keeps to."""

    message_id: str
    message: bytes = attrs.field(repr=False)
    plan: str | None = None
    only: str | None = None
    key: str | None = None
    at_least_once: bool = False


@attrs.frozen(kw_only=True)
class Claim:
    """A unit as a worker holds it from now on. What it writes, it writes in the name of ``owner`` and ``epoch``.

    ``recipients`` are packed (``packing``). ``done`` is the bitmap of who needs nothing more: the others are to be
    tried. ``tries`` counts the passes that ended with somebody put off, ``due`` is when the first was to be. Times are
    seconds since 1970.
    """

    unit: int
    epoch: int
    owner: str
    kind: UnitKind
    broadcast: int | None = None
    number: int = 0
    size: int
    recipients: bytes = attrs.field(repr=False)
    done: int = attrs.field(default=0, repr=False)
    tries: int = 0
    priority: int = 0
    due: float = 0.0
    expires: float | None = None
    earlier: Mapping[int, Earlier] = attrs.field(factory=dict, repr=False)
    send: SendContent | None = None

    @property
    def open(self) -> int:
        """The bitmap of who is to be tried."""
        return bitmap.full(self.size) & ~self.done


@attrs.frozen(kw_only=True)
class HandOver:
    """A hand-over that is about to begin. ``positions`` is the bitmap of who may leave by it."""

    attempt_id: str
    connection: str
    key: str
    positions: int
    started: float


class Answer(NamedTuple):
    """What a hand-over, or the lack of one, brought for a position.

    ``done`` says that nothing more is to be tried. Without it, a position ``deferred`` or ``rejected`` has certainly
    not left and is to be tried again; one ``unknown`` is about to be repeated under the same key, and stays in doubt.
    """

    position: int
    outcome: Outcome
    done: bool = True
