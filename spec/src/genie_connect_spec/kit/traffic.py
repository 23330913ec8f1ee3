"""Whether a text or a file is in what left, however the protocol wraps it up.

JSON, form and MIME are opened, base64 and quoted-printable decoded, one inside the other, until nothing more comes out.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import email
import email.header
import email.policy
import email.utils
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_QUOTED: Final = re.compile(r"\\(.)")
_QUOTED_BYTES: Final = re.compile(rb"\\(.)")
_LONGER_THAN_IN_MIME: Final = 200
"""Bytes in a line that is the whole body of one request of several; in a message, base64 has 76 (RFC 2045)."""
_MAX_DEPTH: Final = 6
_MAX_QUOTED_BYTES: Final = 20_000
_MIME_HEADER: Final = re.compile(rb"(?im)^(mime-version|content-type|subject):")


def holds(content: bytes, needle: str | bytes) -> bool:
    """Whether it is in there, as it is or wrapped up."""
    wanted = needle.encode() if isinstance(needle, str) else needle
    return wanted in content or any(wanted in layer for layer in layers(content))


def missing(content: bytes, needles: Iterable[str | bytes]) -> list[str | bytes]:
    """Those that are not in there."""
    return [needle for needle in needles if not holds(content, needle)]


@lru_cache(maxsize=64)
def layers(content: bytes) -> tuple[bytes, ...]:
    """The content, and everything that can be unwrapped from it."""
    found: dict[bytes, None] = {}
    _unwrap(content, found, 0)
    return tuple(found)


def fields(content: bytes) -> dict[str, str]:
    """The fields of what left and their texts: those of the JSON or the form in the body, or else of the header."""
    head, _, body = content.partition(b"\r\n\r\n")
    for text in (body, content):
        if text[:1] in (b"{", b"["):
            with contextlib.suppress(ValueError):
                return dict(_leaves(json.loads(text), ""))
    if b"=" in body[:200] and b"\n" not in body and b" " not in body:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    message = email.message_from_bytes(head + b"\r\n\r\n", policy=email.policy.compat32)
    return {name.lower(): _decoded(str(value)) for name, value in message.items()}


def _leaves(data: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, f"{path}/{key}")
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _leaves(value, f"{path}/{number}")
    elif isinstance(data, str):
        yield path, data


def _unwrap(content: bytes, found: dict[bytes, None], depth: int) -> None:
    if content in found or depth > _MAX_DEPTH or not content:
        return
    found[content] = None
    for unwrap in (_long_lines, _body, _json, _form, _mime, _base64, _unquoted):
        for inner in unwrap(content):
            _unwrap(inner, found, depth + 1)


def _body(content: bytes) -> Iterator[bytes]:
    match = _HEADER_END.search(content)
    if match:
        yield content[match.end() :]


def _json(content: bytes) -> Iterator[bytes]:
    if content[:1] not in (b"{", b"["):
        return
    try:
        data = json.loads(content)
    except ValueError:
        return
    yield from (text.encode("utf-8", "replace") for text in _strings(data))


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from _strings(value)
    elif isinstance(data, list):
        for value in data:
            yield from _strings(value)


def _form(content: bytes) -> Iterator[bytes]:
    head = content[:200]
    if b"=" not in head or b"\n" in head or b" " in head or b"{" in head:
        return
    for name, value in parse_qsl(content.decode("utf-8", "replace")):
        yield name.encode()
        yield value.encode("utf-8", "replace")


def _mime(content: bytes) -> Iterator[bytes]:
    if not _MIME_HEADER.search(content[:20_000]):
        return
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    for part in message.walk():
        for name, value in part.items():
            yield _header(name, str(value))
        filename = part.get_filename()
        if filename:
            yield _decoded(email.utils.collapse_rfc2231_value(filename)).encode("utf-8", "replace")
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            yield payload


def _header(name: str, value: str) -> bytes:
    """A header field without folding, quoting and encoded words."""
    unfolded = _decoded(re.sub(r"\r?\n(?=[ \t])", "", value))
    unquoted = _QUOTED.sub(r"\1", unfolded)
    return f"{name}: {unfolded}\r\n{unquoted}".encode("utf-8", "replace")


def _decoded(value: str) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except (LookupError, UnicodeError, binascii.Error):
        return value


def _unquoted(content: bytes) -> Iterator[bytes]:
    """Without the backslashes of quoted strings, as a mailbox has them (RFC 5322 section 3.2.4)."""
    if b"\\" in content and b'"' in content and len(content) < _MAX_QUOTED_BYTES:
        yield _QUOTED_BYTES.sub(rb"\1", content)


def _long_lines(content: bytes) -> Iterator[bytes]:
    lines = content.split(b"\r\n")
    if len(lines) > 1:
        long = (line for line in lines if len(line) > _LONGER_THAN_IN_MIME)
        yield from (line for line in long if line[:1] == b"{" or _BASE64.fullmatch(line))


def _base64(content: bytes) -> Iterator[bytes]:
    compact = content.replace(b"\r\n", b"").replace(b"\n", b"") if len(content) < 5_000_000 else content
    for text in (content, compact) if compact != content else (content,):
        match = _BASE64.fullmatch(text)
        if match and len(text.rstrip(b"=")) % 4 != 1:
            padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
            try:
                yield base64.b64decode(padded.translate(bytes.maketrans(b"-_", b"+/")), validate=True)
            except (binascii.Error, ValueError):
                continue
    if b"%" in content[:2000] and len(content) < 10_000:
        yield unquote_plus(content.decode("latin-1")).encode("utf-8", "replace")
