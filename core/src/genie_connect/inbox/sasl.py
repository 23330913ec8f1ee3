"""Server sides of the SASL mechanisms: generators that yield challenges and return credentials."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType

import attrs

_XOAUTH2 = re.compile(rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01")


class SaslFault(ValueError):
    """A client response that breaks the mechanism's format."""


@attrs.frozen(kw_only=True)
class Credentials:
    """What a client offered to prove who it is."""

    username: str
    password: str = attrs.field(repr=False)


Exchange = Generator[bytes, bytes, Credentials]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslFault("the credentials are not UTF-8") from None


def _plain(initial: bytes | None) -> Exchange:
    # RFC 4616: [authzid] NUL authcid NUL passwd.
    response = (yield b"") if initial is None else initial
    parts = response.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise SaslFault("PLAIN wants [authzid] NUL username NUL password")
    if parts[0] not in (b"", parts[1]):
        raise SaslFault("acting for another user is not supported")
    return Credentials(username=_text(parts[1]), password=_text(parts[2]))


def _login(initial: bytes | None) -> Exchange:
    username = (yield b"Username:") if initial is None else initial
    password = yield b"Password:"
    return Credentials(username=_text(username), password=_text(password))


def _xoauth2(initial: bytes | None) -> Exchange:
    response = (yield b"") if initial is None else initial
    match = _XOAUTH2.fullmatch(response)
    if match is None:
        raise SaslFault("XOAUTH2 wants user=...^Aauth=Bearer token^A^A")
    return Credentials(username=_text(match[1]), password=_text(match[2]))


MECHANISMS: Mapping[str, Callable[[bytes | None], Exchange]] = MappingProxyType(
    {"PLAIN": _plain, "LOGIN": _login, "XOAUTH2": _xoauth2}
)

# XOAUTH2 reports a refusal in one more challenge, which the client answers with an empty line before it sees 535.
REFUSAL_CHALLENGES: Mapping[str, bytes] = MappingProxyType(
    {"XOAUTH2": b'{"status":"401","schemes":"bearer","scope":"https://mail.example.test/"}'}
)


def decode_response(line: str) -> bytes:
    """Decode one base64 line strictly; "=" is an empty initial response (RFC 4954 section 4); raises SaslFault."""
    if line == "=":
        return b""
    try:
        return base64.b64decode(line.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SaslFault("the response is not base64") from None


def encode_challenge(challenge: bytes) -> str:
    """Encode one challenge for a 334 reply."""
    return base64.b64encode(challenge).decode("ascii")
