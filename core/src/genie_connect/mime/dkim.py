"""DKIM signatures (RFC 6376), with RSA or Ed25519 (RFC 8463), or one of each.

The body is always signed whole (no ``l=``): what could be appended to a signed message would be shown as ours.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from genie_connect.errors import ValidationError
from genie_connect.mime.canonical import body_hash, relaxed_fields
from genie_connect.mime.dkim_key import DkimKey
from genie_connect.mime.gate import check_header
from genie_connect.mime.header import FOLD_AT


class Oversign(Enum):
    """Whether a further field of a name breaks the signature, where one is present or even where none is."""

    ALWAYS = "always"
    PRESENT = "present"
    NEVER = "never"


SIGNED: Final[Mapping[str, Oversign]] = {
    # A name in h= once more than the field stands there says that there is no further one (section 8.15). What a reader
    # shows, or answers to, is closed in this way even where it is absent: otherwise somebody could take a signed
    # message, add a From or a Subject of their own, and send it on with our signature still good.
    "from": Oversign.ALWAYS,
    "to": Oversign.ALWAYS,
    "cc": Oversign.ALWAYS,
    "reply-to": Oversign.ALWAYS,
    "subject": Oversign.ALWAYS,
    # A second one would be taken for the first by some readers, but who adds what was missing does no harm: relays do.
    "date": Oversign.PRESENT,
    "message-id": Oversign.PRESENT,
    "mime-version": Oversign.PRESENT,
    "content-type": Oversign.PRESENT,
    "content-transfer-encoding": Oversign.PRESENT,
    # RFC 8058 section 4 and RFC 9477 section 3.1 want these signed.
    "list-unsubscribe": Oversign.PRESENT,
    "list-unsubscribe-post": Oversign.PRESENT,
    "cfbl-address": Oversign.PRESENT,
    "cfbl-feedback-id": Oversign.PRESENT,
    "feedback-id": Oversign.PRESENT,
    # A reader only sorts by these.
    "list-id": Oversign.NEVER,
    "in-reply-to": Oversign.NEVER,
    "references": Oversign.NEVER,
}
"""The fields that are signed where they are present."""

# For each: its name as bytes, and how often it stands in h= where it is absent, and beyond its number where present.
_COUNTS: Final = tuple(
    (name.encode(), name, int(over is Oversign.ALWAYS), int(over is not Oversign.NEVER))
    for name, over in SIGNED.items()
)
_FIELD: Final = "DKIM-Signature"
_IDENTITY = re.compile(r"[A-Za-z0-9._+-]{0,64}@(?P<domain>[A-Za-z0-9.-]{1,253})\Z")


class DkimSigner:
    """Signs messages, with one key or with several at once.

    ``identity`` is the ``i=`` tag (``@sub.example.com``), of the domain of every key or below it. With
    ``expires_after_s`` receivers shall not take the signature later than that (``x=``). Raises ``ValidationError``.
    """

    def __init__(
        self, keys: Sequence[DkimKey], *, identity: str | None = None, expires_after_s: int | None = None
    ) -> None:
        if not keys:
            raise ValidationError.single("keys", "is empty", "give at least one key")
        if expires_after_s is not None and expires_after_s < 1:
            raise ValidationError.single("expires_after_s", f"is {expires_after_s}", "give a positive number")
        if identity is not None:
            _check_identity(identity, keys)
        self.keys = tuple(keys)
        self._expires_after_s = expires_after_s
        self._prefixes = [_prefix(key, identity) for key in keys]

    def sign(self, head: bytes, body_chunks: Iterable[bytes], *, now: datetime) -> bytes:
        """The DKIM-Signature fields, which go before ``head``, in the order of the keys.

        ``head`` is the header block, ``body_chunks`` what follows its blank line, both with CRLF line ends. A ``now``
        without a time zone is UTC. Raises ``ValidationError`` where there is no From, and what the chunks raise.
        """
        names, signed = _chosen(relaxed_fields(head))
        body = base64.b64encode(body_hash(body_chunks)).decode()
        tail = f"\r\n {self._times(now)}\r\n{_folded_names(names)}\r\n bh={body};\r\n b="
        fields = []
        for key, prefix in zip(self.keys, self._prefixes, strict=True):
            field = f"{prefix}{tail}".encode()
            # Section 3.7: last comes the field itself, without a value of b=, canonical and without line end. It was
            # written so that only its line ends and its name are not.
            _, _, value = field.replace(b"\r\n", b"").partition(b": ")
            signature = key.sign(signed + b"dkim-signature:" + value)
            field += _folded_signature(base64.b64encode(signature))
            check_header(field, (_FIELD,))
            fields.append(field)
        return b"".join(fields)

    def _times(self, now: datetime) -> str:
        if now.tzinfo is None:
            now = now.replace(tzinfo=UTC)
        seconds = int(now.timestamp())
        expiry = f" x={seconds + self._expires_after_s};" if self._expires_after_s is not None else ""
        return f"t={seconds};{expiry}"


def _check_identity(identity: str, keys: Iterable[DkimKey]) -> None:
    found = _IDENTITY.match(identity)
    if not found:
        raise ValidationError.single("identity", f"{identity!r} is not an identity", "write it as @example.com")
    for key in keys:
        # Section 3.5, i=: anything else makes the signature void.
        if not key.covers(found["domain"]):
            raise ValidationError.single("identity", f"{identity!r} is not of the domain {key.domain} or below it")


def _prefix(key: DkimKey, identity: str | None) -> str:
    lines = [f"{_FIELD}: v=1; a={key.algorithm}; c=relaxed/relaxed;", f" d={key.domain}; s={key.selector};"]
    if len(lines[1]) > FOLD_AT:
        lines[1:] = [f" d={key.domain};", f" s={key.selector};"]
    if identity is not None:
        lines.append(f" i={identity};")
    return "\r\n".join(lines)


def _chosen(fields: Mapping[bytes, list[bytes]]) -> tuple[list[str], bytes]:
    """The names for h=, and the fields in the order in which they are hashed, each with its line end."""
    if b"from" not in fields:
        raise ValidationError.single("from", "is missing, and it must be signed (RFC 6376 section 5.4)")
    names: list[str] = []
    signed: list[bytes] = []
    for key, name, absent, further in _COUNTS:
        found = fields.get(key)
        if found is None:
            names += [name] * absent
            continue
        # Section 5.4.2: fields of one name are counted from the bottom.
        signed += reversed(found)
        names += [name] * (len(found) + further)
    return names, b"\r\n".join([*signed, b""])


def _folded_names(names: Iterable[str]) -> str:
    lines: list[str] = []
    line = " h="
    for name in names:
        if len(line) + len(name) >= FOLD_AT:
            lines.append(line)
            line = " "
        line += name + ":"
    lines.append(line[:-1] + ";")
    return "\r\n".join(lines)


def _folded_signature(encoded: bytes) -> bytes:
    return b"\r\n ".join(_cut(encoded)) + b"\r\n"


def _cut(encoded: bytes) -> Iterator[bytes]:
    first = FOLD_AT - len(" b=")
    yield encoded[:first]
    for start in range(first, len(encoded), FOLD_AT - 1):
        yield encoded[start : start + FOLD_AT - 1]
