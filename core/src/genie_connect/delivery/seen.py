"""Which mailboxes a broadcast has had already, in so little memory that ten million are no burden.

A set of the addresses themselves takes 115 bytes for each; this takes 27 bytes where they are a million, and 14 where
they are ten. Each is kept as 12 bytes of a keyed hash, of which two choose the bucket and ten stand in it, one behind
the other; C code searches a bucket of a few hundred bytes faster than Python computes where to look.

Two addresses with the same 12 bytes would be taken for one mailbox, and one of them would get nothing. Among ten
million addresses that happens with a probability below 1e-15, and nobody can bring it about, since the key is random.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from typing import Final

_BUCKET_BYTES: Final = 2
_REST_BYTES: Final = 10
_DIGEST_BYTES: Final = _BUCKET_BYTES + _REST_BYTES


class Seen:
    """Keys that have been added. Nothing can be taken out again."""

    def __init__(self) -> None:
        self._buckets: defaultdict[bytes, bytearray] = defaultdict(bytearray)
        # The state of the hash with its key in it; to copy it is cheaper than to begin anew.
        self._keyed = hashlib.blake2b(digest_size=_DIGEST_BYTES, key=secrets.token_bytes(16))
        self._count = 0

    def add(self, key: str) -> bool:
        """Take note of a key; whether it is new."""
        keyed = self._keyed.copy()
        keyed.update(key.encode())
        digest = keyed.digest()
        bucket, rest = self._buckets[digest[:_BUCKET_BYTES]], digest[_BUCKET_BYTES:]
        place = bucket.find(rest)
        while place % _REST_BYTES and place >= 0:
            # The end of one and the beginning of the next look like it.
            place = bucket.find(rest, place + 1)
        if place >= 0:
            return False
        bucket += rest
        self._count += 1
        return True

    def __len__(self) -> int:
        return self._count
