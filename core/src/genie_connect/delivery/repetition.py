"""Repeating a hand-over that had no answer, so that the provider recognises it: the same batch, under the same key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from genie_connect.model.capability import CapabilityTable, Level

KEY_KEPT_S: Final = 900.0
"""For so long a provider is trusted to recognise a key where its connector does not say (``key_kept_s``).

Those that say so keep keys for a day. A worker that dies is replaced within a minute, and a lost answer asked for again
within two, so little is gained by trusting the others for longer.
"""


def key_kept_s(table: CapabilityTable) -> float | None:
    """For how many seconds the provider recognises an idempotency key; ``None`` where it honours none."""
    if table["send.idempotency"].level is not Level.YES:
        return None
    limit = table.limit("send.idempotency", "key_kept_s")
    return KEY_KEPT_S if limit is None else float(limit)


def batch_key(key: str, recipients: Iterable[str]) -> str:
    """The key of a batch of the send ``key``.

    The same recipients give the same bytes and the same key; others must not, or the provider would answer with the
    first ones' result.
    """
    digest = hashlib.sha256("\n".join(recipients).encode()).hexdigest()
    return f"{key}-{digest[:16]}"


def send_key(batch_key: str) -> str:
    """The key of the send to which a batch with this key belongs."""
    return batch_key.rpartition("-")[0]
