"""Which characters may stand where.

What is written into a header, an envelope or a file name must not be able to end it. So controls are refused as they
stand (RFC 5322 section 2.2), and so are encoded-words (RFC 2047) that would turn into one when somebody decodes them:
CPython's ``email`` did just that on its way to the wire (CVE-2024-6923, CVE-2026-1299).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import quopri
import re

from genie_connect.errors import Problem, ValidationError

MAX_LINE_CHARACTERS = 998
"""RFC 5322 section 2.1.1, without the line break."""

MAX_REPLY = 1_000
"""Characters of a text of another machine that are kept."""

# C0, DEL, C1, line and paragraph separator; lone surrogates, which cannot be written as UTF-8.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Characters that change the reading order of what surrounds them: a file name "exe.fdp" shown as "pdf.exe".
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNENCODABLE = re.compile("[\ud800-\udfff]")
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bBqQ])\?([^?]*)\?=", re.DOTALL)


def describe(character: str) -> str:
    """A character as ``U+000A``, so that an error can name what cannot be shown."""
    return f"U+{ord(character):04X}"


def line_problem(value: str, *, reordering: bool = False, limit: int = MAX_LINE_CHARACTERS) -> Problem | None:
    """What keeps ``value`` from standing on one header line, or ``None``."""
    if len(value) <= limit and value.isascii() and value.isprintable() and "=?" not in value:
        return None  # nothing of what follows; and so it is with nearly every value
    if len(value) > limit:
        return Problem("", f"has {len(value)} characters; the most is {limit}", "shorten it")
    found = _CONTROL.search(value)
    if found:
        return Problem("", f"holds the control character {describe(found.group())}", "remove line breaks and controls")
    if reordering and (found := _REORDERING.search(value)):
        return Problem("", f"holds {describe(found.group())}, which changes the reading order", "remove it")
    if "=?" in value and hides_control(value):
        return Problem("", "holds an encoded-word that hides a control character", "write the text as plain Unicode")
    return None


def one_line(value: object, *, reordering: bool = False, limit: int = MAX_LINE_CHARACTERS) -> str:
    """``value`` if it is text that may stand on one header line; else ``ValidationError``."""
    if not isinstance(value, str):
        raise ValidationError.single("", f"must be text, not {type(value).__name__}")
    problem = line_problem(value, reordering=reordering, limit=limit)
    if problem:
        raise ValidationError([problem])
    return value


def body_text(value: object) -> str:
    """``value`` if it may stand in a text or HTML body: no NUL, and encodable as UTF-8."""
    if not isinstance(value, str):
        raise ValidationError.single("", f"must be text, not {type(value).__name__}")
    if "\x00" in value:
        raise ValidationError.single("", "holds a NUL character", "remove it")
    found = _UNENCODABLE.search(value)
    if found:
        raise ValidationError.single("", f"holds the lone surrogate {describe(found.group())}", "repair the text")
    return value


def hides_control(value: str) -> bool:
    """Whether decoding an encoded-word inside ``value`` would bring out a control character."""
    return any(_decodes_to_control(*match.groups()) for match in _ENCODED_WORD.finditer(value))


def _decodes_to_control(charset: str, encoding: str, payload: str) -> bool:
    try:
        raw = payload.encode("ascii")
        decoded = base64.b64decode(raw + b"==") if encoding in "bB" else quopri.decodestring(raw, header=True)
    except (UnicodeEncodeError, binascii.Error):
        return True  # not a proper encoded-word: what a lenient reader makes of it is anybody's guess
    if any(byte < 0x20 or byte == 0x7F for byte in decoded):
        return True
    try:
        text = codecs.decode(decoded, charset.partition("*")[0])
    except (LookupError, UnicodeError, ValueError):
        return False
    return not isinstance(text, str) or _CONTROL.search(text) is not None


def clean_reply(raw: bytes | str, *, limit: int = MAX_REPLY) -> str:
    """Text that another machine sent, safe to store, log and show: controls gone, length capped."""
    # Cut first: it may be a megabyte, and no character of UTF-8 has more than four bytes.
    text = (raw[: 4 * limit].decode("utf-8", "replace") if isinstance(raw, bytes) else raw)[:limit]
    if text.isprintable():
        return text.strip()  # nothing that controls or reorders is printable
    return _REORDERING.sub("", _CONTROL.sub(" ", text)).strip()
