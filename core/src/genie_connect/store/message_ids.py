"""Message-IDs of a broadcast's copies: made again whenever needed, and kept nowhere.

``<unit.position.mac@domain>``, numbers in hexadecimal. The same copy has the same one in every attempt, whichever
process makes it, and an event that carries it says which copy it means. The keyed hash makes it one that nobody else
can guess: without it, whoever can count could report bounces for copies of other people.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple

SALT_BYTES: Final = 16
_MAC_BYTES: Final = 8
_FORM: Final = re.compile(r"<?([0-9a-f]{1,16})\.([0-9a-f]{1,8})\.([0-9a-f]{16})@[^<>@\s]+>?\Z")


class Copy(NamedTuple):
    """What a Message-ID of this form names. Nothing is proven by that: see ``MessageIds.made``."""

    unit: int
    position: int
    mac: str


def new_salt() -> bytes:
    """The key of a broadcast's Message-IDs."""
    return secrets.token_bytes(SALT_BYTES)


class MessageIds:
    """The Message-IDs of one broadcast. ``salt`` is its key, ``domain`` the sender's (RFC 5322 section 3.6.4)."""

    def __init__(self, salt: bytes, domain: str) -> None:
        # Taking in the key costs more than the rest: once, then a copy for each.
        self._keyed = hashlib.blake2b(key=salt, digest_size=_MAC_BYTES)
        self._end = f"@{domain}>"

    def of(self, unit: int, position: int) -> str:
        """The Message-ID of a copy, between angle brackets."""
        name = f"{unit:x}.{position:x}"
        mac = self._keyed.copy()
        mac.update(name.encode())
        return f"<{name}.{mac.hexdigest()}{self._end}"

    def made(self, copy: Copy) -> bool:
        """Whether a Message-ID that was read is one of these."""
        mac = self._keyed.copy()
        mac.update(f"{copy.unit:x}.{copy.position:x}".encode())
        return hmac.compare_digest(mac.hexdigest(), copy.mac)


def parse(message_id: str) -> Copy | None:
    """Which copy a Message-ID names, with or without its angle brackets; ``None`` where it is of another form."""
    found = _FORM.match(message_id.strip())
    if found is None:
        return None
    return Copy(int(found[1], 16), int(found[2], 16), found[3])
