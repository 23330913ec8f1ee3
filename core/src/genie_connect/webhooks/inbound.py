"""Messages that somebody sent to us, from MIME or from a provider's fields, whatever stands in them.

A message from outside is hostile until shown otherwise: nothing here raises, what cannot be read is left out, and what
it says of itself (types, names, addresses) is cleaned and never believed.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from itertools import islice
from typing import Any, Final

from genie_connect.model.address import Address
from genie_connect.model.event import Event, EventKind
from genie_connect.model.inbound import InboundFile, InboundMessage
from genie_connect.model.text import clean_reply
from genie_connect.webhooks.mime_bounds import ShortFields, bounded

MAX_PARTS: Final = 500
MAX_HEADERS: Final = 500
MAX_ADDRESSES: Final = 1_000
MAX_VALUE: Final = 8_000
MAX_DECODED: Final = 16_000
"""Characters of header fields whose encoded-words are decoded in one message: the library below needs a millisecond and
more for a thousand of them. What comes after stands as it came."""
# What the standard library's parser raises, one or the other, for what is malformed.
_PARSER_ERRORS: Final = (
    MessageError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    RecursionError,
)
_FOLD: Final = re.compile(r"\r?\n[ \t]*")
_MESSAGE_ID: Final = re.compile(r"<[^<>\s]{1,900}>")
_UNSAFE_NAME: Final = re.compile(r'[\\/:*?"<>|]')


def parse_mime(
    raw: bytes,
    *,
    envelope_from: str | None = None,
    envelope_to: Iterable[str] = (),
    spam: bool | None = None,
    spam_score: float | None = None,
    reply_text: str | None = None,
) -> InboundMessage:
    """A message as it came over the wire."""
    message = parsed_mime(raw)
    headers = tuple(_headers(message))
    text, html, files = _bodies(message)
    return inbound_message(
        headers,
        text=text,
        html=html,
        files=files,
        envelope_from=envelope_from,
        envelope_to=envelope_to,
        spam=spam,
        spam_score=spam_score,
        reply_text=reply_text,
    )


def inbound_message(
    headers: Iterable[tuple[str, str]],
    *,
    text: str | None = None,
    html: str | None = None,
    files: Iterable[InboundFile] = (),
    envelope_from: str | None = None,
    envelope_to: Iterable[str] = (),
    spam: bool | None = None,
    spam_score: float | None = None,
    reply_text: str | None = None,
) -> InboundMessage:
    """A message whose header fields and bodies the provider has told apart already."""
    fields = tuple(headers)[:MAX_HEADERS]
    first: dict[str, str] = {}
    for name, value in fields:
        first.setdefault(name.lower(), value)
    senders = addresses_of(first.get("from", ""))
    return InboundMessage(
        sender=senders[0] if senders else None,
        to=addresses_of(first.get("to", "")),
        cc=addresses_of(first.get("cc", "")),
        reply_to=addresses_of(first.get("reply-to", "")),
        subject=clean_reply(first.get("subject", "")),
        date=_date(first.get("date", "")),
        message_id=_first(_MESSAGE_ID.findall(first.get("message-id", ""))),
        in_reply_to=_first(_MESSAGE_ID.findall(first.get("in-reply-to", ""))),
        references=tuple(_MESSAGE_ID.findall(first.get("references", ""))),
        text=text,
        html=html,
        reply_text=reply_text,
        headers=fields,
        files=tuple(files),
        envelope_from=_bare(envelope_from),
        envelope_to=tuple([bare for each in envelope_to if (bare := _bare(each)) is not None]),
        spam=spam,
        spam_score=spam_score,
    )


def addresses_of(value: str) -> tuple[Address, ...]:
    """The addresses of a header field, without those that are none."""
    found: list[Address] = []
    try:
        pairs = getaddresses([value])[:MAX_ADDRESSES]
    except _PARSER_ERRORS:
        return ()
    for name, email in pairs:
        address = _address(name, email)
        if address is not None:
            found.append(address)
    return tuple(found)


def arrived(message: InboundMessage, *, id: str, time: datetime, provider_id: str | None = None) -> Event:  # noqa: A002
    """The event of a message. It has no raw payload: the message holds what was in it, and once is enough.

    ``recipient`` is whom it was received for. What a provider posts without an id has one of ``digest_of``.
    """
    for_whom = message.envelope_to or tuple([address.email for address in message.to])
    return Event(
        id=id,
        kind=EventKind.INBOUND,
        time=time,
        recipient=for_whom[0] if for_whom else None,
        provider_id=provider_id,
        inbound=message,
    )


def digest_of(*contents: bytes) -> str:
    """An id made of what was posted: the same when it is posted again."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8, "big") + content)
    return f"sha256:{digest.hexdigest()}"


def header_pairs(given: object) -> tuple[tuple[str, str], ...]:
    """Header fields in the shapes of providers, cleaned: ``[{"name", "value"}]``, ``[[name, value]]``, an object with a
    text or a list of texts for each name, or a block of lines. What is neither is left out.
    """
    pairs = islice(_pairs(given), MAX_HEADERS)
    texts = ((name, value) for name, value in pairs if isinstance(name, str) and isinstance(value, str))
    return tuple(header_texts(texts))


def file_of_base64(name: str, content: object, content_type: str = "", content_id: str | None = None) -> InboundFile:
    """A file whose content is base64; an empty one where it is not."""
    try:
        decoded = binascii.a2b_base64(content) if isinstance(content, str) else b""
    except ValueError:
        decoded = b""
    return file_named(name, decoded, content_type, content_id)


def _pairs(given: object) -> Iterator[tuple[object, object]]:
    if isinstance(given, str):
        yield from parsed_mime(given.encode("utf-8", "surrogatepass").lstrip(b"\r\n") + b"\r\n\r\n").raw_items()
    elif isinstance(given, Mapping):
        for name, values in given.items():
            for value in values if isinstance(values, list) else [values]:
                yield name, value
    elif isinstance(given, list):
        for each in given:
            if isinstance(each, Mapping):
                yield each.get("name", each.get("Name")), each.get("value", each.get("Value"))
            elif isinstance(each, list) and len(each) == 2:
                yield each[0], each[1]


def file_named(name: str, content: bytes, content_type: str = "", content_id: str | None = None) -> InboundFile:
    """A file whose name leads nowhere: no folder, no control, not empty."""
    kind = clean_reply(content_type.partition(";")[0], limit=120).lower() or "application/octet-stream"
    bare = _UNSAFE_NAME.sub("_", clean_reply(name, limit=200)).lstrip(".").strip() or "unnamed"
    inner = clean_reply(content_id or "", limit=250).strip("<>") or None
    return InboundFile(filename=bare, content=content, content_type=kind, content_id=inner)


def parsed_mime(raw: bytes) -> Message[Any, Any]:
    """A message whose header fields stand as they came. Raises nothing."""
    raw = bounded(raw)
    policy = ShortFields()
    try:
        return message_from_bytes(raw, policy=policy)
    except _PARSER_ERRORS:
        # Parts within parts, a thousand deep, or a boundary in numbered and unnumbered pieces: not written to be read.
        return BytesHeaderParser(policy=policy).parsebytes(raw)


def _headers(message: Message[Any, Any]) -> Iterator[tuple[str, str]]:
    return header_texts((name, str(value)) for name, value in islice(message.raw_items(), MAX_HEADERS))


def header_texts(fields: Iterable[tuple[str, str]], *, limit: int = MAX_VALUE) -> Iterator[tuple[str, str]]:
    """What header fields say: unfolded, with their encoded-words decoded where they can be, cleaned."""
    left = MAX_DECODED
    for name, value in fields:
        # Encoded, a character takes twelve at the most.
        text = _utf8(_FOLD.sub(" ", value[: 12 * limit]))
        if "=?" in text and len(text) <= left:
            left -= len(text)
            text = _decoded(text)
        yield clean_reply(name, limit=100), clean_reply(text, limit=limit)


def _utf8(value: str) -> str:
    """Bytes that are no ASCII stand in the text as lone surrogates."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _decoded(value: str) -> str:
    try:
        return str(make_header(decode_header(value)))
    except _PARSER_ERRORS:
        return value


def _bodies(message: Message[Any, Any]) -> tuple[str | None, str | None, list[InboundFile]]:
    text: str | None = None
    html: str | None = None
    files: list[InboundFile] = []
    for part in _leaves(message):
        kind = part.get_content_type()
        named = _filename(part)
        is_file = named is not None or part.get_content_disposition() == "attachment"
        if kind == "text/plain" and text is None and not is_file:
            text = _text(part)
        elif kind == "text/html" and html is None and not is_file:
            html = _text(part)
        else:
            files.append(file_named(named or "", content_of(part), kind, str(part.get("content-id") or "").strip()))
    return text, html, files


def _leaves(message: Message[Any, Any]) -> Iterator[Message[Any, Any]]:
    """The parts that hold something, not descending into messages that are attached."""
    stack: list[Message[Any, Any]] = [message]
    seen = 0
    while stack and seen < MAX_PARTS:
        part = stack.pop()
        seen += 1
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            stack += reversed(parts_within(part))
        else:
            yield part


def parts_within(part: Message[Any, Any]) -> list[Message[Any, Any]]:
    """The parts of one that holds some."""
    # Of one that holds text get_payload would decode it, by whatever charset it names, and raise what that raises.
    payload = part.get_payload() if part.is_multipart() else []
    return [each for each in payload if isinstance(each, Message)]


def _filename(part: Message[Any, Any]) -> str | None:
    try:
        name = part.get_filename()
    except _PARSER_ERRORS:
        return "unnamed"
    return None if name is None else _decoded(str(name))


def content_of(part: Message[Any, Any]) -> bytes:
    """What a part holds, its transfer encoding undone. Raises nothing: what cannot be read is not there."""
    try:
        if part.is_multipart():
            return b"".join([inner.as_bytes() for inner in parts_within(part)])
        content = part.get_payload(decode=True)
    except _PARSER_ERRORS:
        return b""
    return content if isinstance(content, bytes) else b""


def _text(part: Message[Any, Any]) -> str:
    raw = content_of(part)
    try:
        charset = part.get_content_charset() or "utf-8"
        decoded = raw.decode(charset, "replace")
    except _PARSER_ERRORS:
        decoded = raw.decode("utf-8", "replace")
    return decoded.replace("\r\n", "\n").replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _date(value: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except _PARSER_ERRORS:
        return None


def _address(name: str, email: str) -> Address | None:
    for shown in (name, ""):
        try:
            bare = Address.parse(email)
            return Address(name=shown, local=bare.local, domain=bare.domain)
        except ValueError:
            continue
    return None


def _bare(value: str | None) -> str | None:
    found = _address("", value.strip().strip("<>")) if value else None
    return None if found is None else found.email


def _first(found: list[str]) -> str | None:
    return found[0] if found else None
