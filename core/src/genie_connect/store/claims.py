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
class HandOver:
    """A hand-over that is about to begin. ``positions`` is the bitmap of who may leave by it.

    Until ``repeat_until`` the provider recognises ``key``: the same batch may go once more. Times are seconds since
    1970.
    """

    attempt_id: str
    connection: str
    key: str
    positions: int
    started: float
    repeat_until: float | None = None


@attrs.frozen(kw_only=True)
class Claim:
    """A unit as a worker holds it from now on. What it writes, it writes in the name of ``owner`` and ``epoch``.

    ``recipients`` are packed (``packing``). ``done`` is the bitmap of who needs nothing more: the others are to be
    tried. ``tries`` counts the passes that ended with somebody put off, ``due`` is when the first was to be. Times are
    seconds since 1970.

    Whoever is in doubt and is to be tried again has an ``earlier`` outcome ``unknown``. ``interrupted`` are hand-overs
    of such, whole, that the provider may still recognise.
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
    interrupted: tuple[HandOver, ...] = ()
    send: SendContent | None = None

    @property
    def open(self) -> int:
        """The bitmap of who is to be tried."""
        return bitmap.full(self.size) & ~self.done


class Answer(NamedTuple):
    """What a hand-over, or the lack of one, brought for a position.

    ``done`` says that nothing more is to be tried. Without it, a position ``deferred`` or ``rejected`` has certainly
    not left and is to be tried again; one ``unknown`` is to be tried again though it may have left. Where another
    attempt than this left it in doubt, ``attempt_id`` says which.
    """

    position: int
    outcome: Outcome
    done: bool = True
    attempt_id: str | None = None
