"""DKIM as a receiver sees it: keys for connectors to sign with, and whether what arrived is what was signed (RFC 6376).

Written from the RFC and apart from the core, so that the two cannot be wrong in the same way. Needs ``cryptography``
(extra ``tls`` of this distribution).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_FIELD: Final = re.compile(rb"([^\s:]+)[ \t]*:((?:[^\r\n]|\r\n[ \t])*)\r\n")
_SIGNATURE: Final = re.compile(r"((?:^|;)\s*b\s*=)[^;]*")
_RSA_BITS: Final = 2048
_ED25519_BYTES: Final = 32


@attrs.frozen(kw_only=True)
class SigningKey:
    """A private key in PEM, and the domain and the selector that its public half is published under.

    ``reference`` leads to a file that has the key, as settings name one; ``published`` is its public half in base64.
    """

    domain: str
    selector: str
    private_key: str = attrs.field(repr=False)
    reference: str = ""
    published: str
    public: RSAPublicKey | Ed25519PublicKey = attrs.field(repr=False, eq=False)


@attrs.frozen(kw_only=True)
class Signature:
    """A signature as it came: its tags, the names in its ``h=``, and what is wrong with it, if anything is."""

    tags: Mapping[str, str]
    names: tuple[str, ...]
    fault: str


@cache
def signing_keys(domain: str = "example.com") -> tuple[SigningKey, SigningKey]:
    """An RSA key and an Ed25519 key, made once. Raises ``ModuleNotFoundError``."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    made = []
    for selector, key in (
        ("kit-rsa", generate_private_key(65537, _RSA_BITS)),
        ("kit-ed", Ed25519PrivateKey.generate()),
    ):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public = key.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        # RFC 8463 section 4: the 32 bytes alone.
        published = base64.b64encode(der[-_ED25519_BYTES:] if selector == "kit-ed" else der).decode()
        made.append(SigningKey(domain=domain, selector=selector, private_key=pem, published=published, public=public))
    first, second = made
    return first, second


def signatures(wire: bytes, keys: Sequence[SigningKey]) -> list[Signature]:
    """Every signature of a message, from the top, as a receiver finds it who knows these keys."""
    head, separator, body = wire.partition(b"\r\n\r\n")
    fields = [(found[1], found[2]) for found in _FIELD.finditer(head + b"\r\n")]
    if not separator:
        body = b""
    return [_looked_at(fields, index, body, keys) for index, (name, _) in enumerate(fields) if name.lower() == _DKIM]


_DKIM: Final = b"dkim-signature"


def _looked_at(fields: Sequence[tuple[bytes, bytes]], index: int, body: bytes, keys: Sequence[SigningKey]) -> Signature:
    value = fields[index][1].decode("ascii", "replace")
    pairs = (part.partition("=") for part in value.split(";") if part.strip())
    tags = {name.strip(): re.sub(r"\s+", "", text) for name, _, text in pairs}
    names = tuple(name.lower() for name in tags.get("h", "").split(":"))
    return Signature(tags=tags, names=names, fault=_fault(fields, index, body, tags, names, keys))


def _fault(
    fields: Sequence[tuple[bytes, bytes]],
    index: int,
    body: bytes,
    tags: Mapping[str, str],
    names: Sequence[str],
    keys: Sequence[SigningKey],
) -> str:
    missing = [tag for tag in ("v", "a", "b", "bh", "d", "h", "s") if not tags.get(tag)]
    if missing or tags["v"] != "1":
        return f"it has no tag {missing[0]}=" if missing else f"its version is {tags['v']}"
    key = next((key for key in keys if (key.domain, key.selector) == (tags["d"], tags["s"])), None)
    if key is None:
        return f"no key is published for {tags['s']} of {tags['d']}"
    of_head, _, of_body = tags.get("c", "simple/simple").partition("/")
    shown = _body(body, relaxed=of_body == "relaxed")
    if "l" in tags:
        shown = shown[: int(tags["l"])]
    if base64.b64encode(hashlib.sha256(shown).digest()).decode() != tags["bh"]:
        return "the body is not the one that was signed"
    data = _signed(fields, index, names, relaxed=of_head == "relaxed")
    return "" if _verifies(key, tags, data) else "the header is not the one that was signed"


def _body(body: bytes, *, relaxed: bool) -> bytes:
    """Sections 3.4.3 and 3.4.4."""
    lines = body.split(b"\r\n")
    if relaxed:
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if relaxed else b"\r\n"
    return b"\r\n".join(lines) + b"\r\n"


def _signed(fields: Sequence[tuple[bytes, bytes]], index: int, names: Sequence[str], *, relaxed: bool) -> bytes:
    """What is hashed of the header: section 3.7, with the fields of one name counted from the bottom (5.4.2)."""
    waiting = list(fields)
    signature = fields[index]
    chosen = []
    for wanted in names:
        place = next(
            (place for place in range(len(waiting) - 1, -1, -1) if waiting[place][0].lower() == wanted.encode()), None
        )
        if place is not None:
            chosen.append(waiting.pop(place))
    bare = (signature[0], _SIGNATURE.sub(r"\1", signature[1].decode("latin-1")).encode("latin-1"))
    return b"\r\n".join(_written(field, relaxed=relaxed) for field in (*chosen, bare))


def _written(field: tuple[bytes, bytes], *, relaxed: bool) -> bytes:
    """Sections 3.4.1 and 3.4.2."""
    name, value = field
    if not relaxed:
        return name + b":" + value
    unfolded = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b""))
    return name.lower() + b":" + unfolded.strip(b" ")


def _verifies(key: SigningKey, tags: Mapping[str, str], data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        signature = base64.b64decode(tags["b"], validate=True)
        if isinstance(key.public, RSAPublicKey):
            if tags["a"] != "rsa-sha256":
                return False
            key.public.verify(signature, data, PKCS1v15(), SHA256())
        else:
            if tags["a"] != "ed25519-sha256":
                return False
            # RFC 8463 section 3: what is signed is the hash.
            key.public.verify(signature, hashlib.sha256(data).digest())
    except (InvalidSignature, ValueError):
        return False
    return True
