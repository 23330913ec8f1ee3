"""What one bounce mail holds: its parts told apart, and what of our message came back with it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from email.message import Message
from itertools import islice
from typing import Any, Final

import attrs

from genie_connect.webhooks.inbound import MAX_HEADERS, content_of, header_texts, parsed_mime, parts_within

MAX_TEXT: Final = 20_000
MAX_PARTS: Final = 50
MAX_BLOCKS: Final = 300
_ID: Final = re.compile(r"<[^<>\s]{3,900}>")
_ID_LINE: Final = re.compile(r"^[> \t]*message-id:\s*(<[^<>\s]{3,900}>)", re.IGNORECASE | re.MULTILINE)
_BETWEEN: Final = re.compile(r"\n[ \t]*\n")
_GLOBAL: Final = "message/global-delivery-status"
_ORIGINALS: Final = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers"}
)


@attrs.frozen(kw_only=True)
class Returned:
    """A bounce mail, taken apart. Header names of blocks are in lower case; ``text`` is what people read."""

    headers: dict[str, str]
    blocks: tuple[dict[str, str], ...] = ()
    feedback: dict[str, str] | None = None
    original: dict[str, str] | None = None
    text: str = ""

    @property
    def message_id(self) -> str | None:
        """The Message-ID of the message that it is about."""
        if self.original and (found := _ID.search(self.original.get("message-id", ""))):
            return found[0]
        # A server that sends no copy may name it as what it answers; others quote its head in their text.
        if found := _ID.search(self.headers.get("in-reply-to", "")):
            return found[0]
        if quoted := _ID_LINE.search(self.text):
            return quoted[1]
        references = _ID.findall(self.headers.get("references", ""))
        return references[-1] if references else None


def take_apart(raw: bytes) -> Returned:
    """A mail as it came. Raises nothing: what cannot be read is not there."""
    message = parsed_mime(raw)
    blocks: list[dict[str, str]] = []
    feedback: dict[str, str] | None = None
    original: dict[str, str] | None = None
    texts: list[str] = []
    for part in _parts(message):
        kind = part.get_content_type()
        if kind in ("message/delivery-status", _GLOBAL):
            blocks += _blocks(part)
        elif kind == "message/feedback-report":
            feedback = next(iter(_blocks(part)), {})
        elif kind in _ORIGINALS:
            original = original or _original(part)
        elif kind == "text/plain" or part is message:
            texts.append(_plain(part))
    return Returned(
        headers=_fields(message),
        blocks=tuple(blocks),
        feedback=feedback,
        original=original,
        text="\n".join(texts)[:MAX_TEXT],
    )


def _parts(message: Message[Any, Any]) -> Iterator[Message[Any, Any]]:
    """The parts, not descending into what came back."""
    stack, seen = [message], 0
    while stack and seen < MAX_PARTS:
        part = stack.pop()
        seen += 1
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            stack += reversed(parts_within(part))
        else:
            yield part


def _fields(message: Message[Any, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    fields = ((str(name), str(value)) for name, value in islice(message.raw_items(), MAX_HEADERS))
    for name, value in header_texts(fields, limit=4_000):
        found.setdefault(name.lower(), value)
    return found


def _blocks(part: Message[Any, Any]) -> list[dict[str, str]]:
    inner = parts_within(part)
    if blocks := [fields for each in inner if (fields := _fields(each))]:
        if part.get_content_type() == _GLOBAL:
            # The parser takes it for a message, whose head is the first block and whose text are all others.
            blocks += _split(_plain(inner[0]))
        return blocks
    # Some servers encode the report, which RFC 3464 does not allow, and so the parser finds no fields in it.
    return _split(_unencoded(b"".join([content_of(each) for each in inner])) if inner else _plain(part))


def _split(text: str) -> list[dict[str, str]]:
    found = _BETWEEN.split(text, MAX_BLOCKS)[:MAX_BLOCKS]
    return [fields for block in found if (fields := _lines(block))]


def _unencoded(content: bytes) -> str:
    try:
        return base64.b64decode(content).decode("utf-8", "replace").replace("\r\n", "\n")
    except ValueError:
        return ""


def _original(part: Message[Any, Any]) -> dict[str, str]:
    if part.is_multipart():
        return _fields(inner[0]) if (inner := parts_within(part)) else {}
    return _lines(_plain(part))


def _lines(block: str) -> dict[str, str]:
    return _fields(parsed_mime(block.strip("\r\n").encode("utf-8", "replace") + b"\n\n"))


def _plain(part: Message[Any, Any]) -> str:
    return content_of(part)[: 4 * MAX_TEXT].decode("utf-8", "replace").replace("\r\n", "\n")
