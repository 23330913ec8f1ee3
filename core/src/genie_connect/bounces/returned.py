"""What one bounce mail holds: its parts told apart, and what of our message came back with it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from email.message import Message
from typing import Any, Final

import attrs

from genie_connect.webhooks.inbound import header_texts, parsed_mime

MAX_TEXT: Final = 20_000
MAX_PARTS: Final = 50
_ID: Final = re.compile(r"<[^<>\s]{3,900}>")
_ID_LINE: Final = re.compile(r"^[>\s]*message-id:\s*(<[^<>\s]{3,900}>)", re.IGNORECASE | re.MULTILINE)
_ORIGINALS: Final = frozenset({"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global"})


@attrs.frozen(kw_only=True)
class Returned:
    """A bounce mail, taken apart. Header names of blocks are in lower case; ``text`` is what people read."""

    headers: dict[str, str]
    kind: str
    report: str
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
        if kind in ("message/delivery-status", "message/global-delivery-status"):
            blocks += _blocks(part)
        elif kind == "message/feedback-report":
            feedback = next(iter(_blocks(part)), {})
        elif kind in _ORIGINALS:
            original = original or _original(part)
        elif kind == "text/plain" or part is message:
            texts.append(_plain(part))
    return Returned(
        headers=_fields(message),
        kind=message.get_content_type(),
        report=str(message.get_param("report-type") or "").lower(),
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
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            stack += [inner for inner in reversed(payload) if isinstance(inner, Message)]
        else:
            yield part


def _fields(message: Message[Any, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in header_texts(((str(name), str(value)) for name, value in message.raw_items()), limit=4_000):
        found.setdefault(name.lower(), value)
    return found


def _blocks(part: Message[Any, Any]) -> list[dict[str, str]]:
    payload = part.get_payload()
    inner = [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []
    if blocks := [fields for each in inner if (fields := _fields(each))]:
        return blocks
    # Some servers encode the report, which RFC 3464 does not allow, and so the parser finds no fields in it.
    text = _unencoded("".join([str(each.get_payload()) for each in inner])) if inner else _plain(part)
    return [fields for block in re.split(r"\n[ \t]*\n", text) if (fields := _lines(block))]


def _unencoded(text: str) -> str:
    try:
        return base64.b64decode(text.encode("ascii")).decode("utf-8", "replace").replace("\r\n", "\n")
    except ValueError:
        return ""


def _original(part: Message[Any, Any]) -> dict[str, str]:
    payload = part.get_payload()
    if isinstance(payload, list):
        return _fields(payload[0]) if payload and isinstance(payload[0], Message) else {}
    return _lines(_plain(part))


def _lines(block: str) -> dict[str, str]:
    return _fields(parsed_mime(block.strip("\r\n").encode("utf-8", "replace") + b"\n\n"))


def _plain(part: Message[Any, Any]) -> str:
    try:
        content = part.get_payload(decode=True)
    except (ValueError, LookupError):
        content = None
    raw = content if isinstance(content, bytes) else str(part.get_payload()).encode("utf-8", "replace")
    return raw[: 4 * MAX_TEXT].decode("utf-8", "replace").replace("\r\n", "\n")
