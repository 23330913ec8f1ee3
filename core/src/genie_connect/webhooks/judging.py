"""Bounce class and reason of an event, from the provider's word for it and from what the receiving server said.

The provider knows whether it tried again and the server knows why, so both are asked. In doubt the kinder one counts: a
bounce is hard where nobody says otherwise, and what a server says against us is never held against people.
"""

from __future__ import annotations

from typing import Final

import attrs

from genie_connect.model.event import BounceClass, EventKind, Reason
from genie_connect.replies import meaning_of

REFUSED: Final = frozenset({EventKind.BOUNCED, EventKind.DEFERRED, EventKind.REJECTED})
"""The kinds that somebody has refused: of others a reply says no more."""
_VAGUE: Final = frozenset({Reason.OTHER, Reason.PERMANENT, Reason.TEMPORARY})
_OPEN: Final = frozenset({None, BounceClass.HARD, BounceClass.UNDETERMINED})


@attrs.frozen(kw_only=True)
class Judgement:
    """What an event says of a refusal."""

    bounce: BounceClass | None = None
    reason: Reason | None = None
    code: int | None = None
    enhanced: str | None = None


def judged(
    kind: EventKind,
    reply: str,
    *,
    bounce: BounceClass | None = None,
    reason: Reason | None = None,
    code: int | None = None,
    enhanced: str | None = None,
) -> Judgement:
    """What the reply of a server adds to what the provider said of a refusal; the other arguments are the provider's.

    ``kind`` is one of ``REFUSED``.
    """
    said = meaning_of(reply, code=code, enhanced=enhanced)
    found = _class(bounce, said.bounce) if kind is EventKind.BOUNCED else bounce
    why = reason if said.reason in _VAGUE else said.reason
    if why is None and found is not BounceClass.HARD and said.reason is not Reason.OTHER:
        why = said.reason
    return Judgement(bounce=found, reason=why, code=said.code, enhanced=said.enhanced)


def _class(provider: BounceClass | None, server: BounceClass) -> BounceClass | None:
    if server in (BounceClass.SOFT, BounceClass.BLOCKED):
        return server
    if server is BounceClass.HARD and provider in _OPEN:
        return server
    return provider
