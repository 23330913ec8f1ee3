"""A message put together: which parts, in which order, under which header (RFC 2045, 2046).

::

    mixed
    ├── alternative
    │   ├── text/plain
    │   └── related
    │       ├── text/html
    │       └── inline images
    └── files

Levels with a single part are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import attrs

from genie_connect.errors import UnsafeMessage, ValidationError
from genie_connect.mime import header
from genie_connect.mime.body import BASE64_LINE_BYTES, Encoding, base64_lines, base64_size_bytes, encoded_text
from genie_connect.mime.gate import check_header, check_wire
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.headers import STRUCTURED
from genie_connect.model.message import Message

_CHUNK_BYTES = 1024 * BASE64_LINE_BYTES
_MESSAGE_ID = re.compile(r"<[!-;=?A-~]{1,400}@[!-;=?A-~]{1,400}>\Z")
_MIME_VERSION = ("MIME-Version", "MIME-Version: 1.0\r\n")

_Header = tuple[str, str]
_Piece = bytes | Attachment


@attrs.frozen(kw_only=True, eq=False)
class Composed:
    """A message as it goes over the wire, files still unread.

    ``needs_8bit`` asks for BODY=8BITMIME (RFC 6152), ``needs_smtputf8`` for SMTPUTF8 (RFC 6531).
    """

    size_bytes: int
    needs_8bit: bool
    needs_smtputf8: bool
    _head_size_bytes: int = attrs.field(repr=False)
    _pieces: tuple[_Piece, ...] = attrs.field(repr=False)

    @property
    def head(self) -> bytes:
        """The header block with the blank line that ends it."""
        return self._first[: self._head_size_bytes]

    @property
    def in_memory(self) -> bool:
        """Whether ``chunks`` neither reads nor encodes a file."""
        return all(isinstance(piece, bytes) for piece in self._pieces)

    def chunks(self) -> Iterator[bytes]:
        """The bytes, line ends CRLF, dots not doubled. Each chunk begins at a line and ends in CRLF.

        Files are read now: raises ``OSError`` where one cannot be read, ``ValidationError`` where it has changed.
        """
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from _file_lines(piece)

    def body_chunks(self) -> Iterator[bytes]:
        """What follows ``head``, like ``chunks``."""
        chunks = self.chunks()
        yield next(chunks)[self._head_size_bytes :]
        yield from chunks

    def signed(self, signature: bytes) -> Composed:
        """The same message below these header fields, which are whole lines. Raises ``UnsafeMessage``."""
        check_wire(signature)
        if not signature.endswith(b"\r\n") or b"\r\n\r\n" in signature:
            raise UnsafeMessage("a signature that is no header field")
        return Composed(
            size_bytes=len(signature) + self.size_bytes,
            needs_8bit=self.needs_8bit,
            needs_smtputf8=self.needs_smtputf8,
            head_size_bytes=len(signature) + self._head_size_bytes,
            pieces=(signature + self._first, *self._pieces[1:]),
        )

    def as_bytes(self) -> bytes:
        """The whole message in memory."""
        return b"".join(self.chunks())

    @property
    def _first(self) -> bytes:
        first = self._pieces[0]
        if not isinstance(first, bytes):
            raise TypeError("a message begins with its header, not with a file")
        return first


def compose(batch: Batch, delivery: Delivery, *, date: datetime, eight_bit: bool = False) -> Composed:
    """The bytes of one copy of the message.

    The same arguments give the same bytes, so that every attempt sends the same message. With ``eight_bit`` text may
    stand as UTF-8 where its lines are short enough; else everything is ASCII. Raises ``UnsafeMessage`` rather than
    give bytes that break out of their place.
    """
    content = _content(batch.message, delivery, eight_bit)
    shown = (batch.sender, *delivery.to, *delivery.cc, *batch.message.reply_to)
    smtputf8 = any(address.needs_smtputf8 for address in shown)
    head = _block((*_fields(batch, delivery, date), _MIME_VERSION, *content.fields))
    pieces = _joined((head, *content.closed_pieces()))
    for piece in pieces:
        if isinstance(piece, bytes):
            check_wire(piece, eight_bit=content.eight_bit or smtputf8)
    return Composed(
        size_bytes=sum([_size_bytes(piece) for piece in pieces]),
        needs_8bit=content.eight_bit,
        needs_smtputf8=smtputf8,
        head_size_bytes=len(head),
        pieces=pieces,
    )


class _Part(NamedTuple):
    """A MIME part: its Content- fields, the same as bytes with the blank line, and what stands below them.

    ``pieces`` lacks the CRLF that RFC 2046 section 5.1.1 counts with the delimiter that follows.
    """

    fields: tuple[_Header, ...]
    block: bytes
    pieces: tuple[_Piece, ...]
    eight_bit: bool = False

    def closed_pieces(self) -> tuple[_Piece, ...]:
        """The pieces of a part that is the whole message, which ends in a line end."""
        last = self.pieces[-1]
        closed = isinstance(last, Attachment) or not last or last.endswith(b"\r\n")
        return self.pieces if closed else (*self.pieces, b"\r\n")


def _block(fields: Iterable[_Header]) -> bytes:
    """A header block with the blank line that ends it."""
    names, lines = zip(*fields, strict=True)
    head = "".join(lines).encode()
    check_header(head, names)
    return head + b"\r\n"


def _fields(batch: Batch, delivery: Delivery, date: datetime) -> Iterator[_Header]:
    message = batch.message
    yield "From", header.address_list("From", (batch.sender,))
    if delivery.to:
        yield "To", header.address_list("To", delivery.to)
    if delivery.cc:
        yield "Cc", header.address_list("Cc", delivery.cc)
    if not delivery.to and not delivery.cc:
        # RFC 5322 section 3.6 does without, but filters count a missing To against the sender.
        yield "To", "To: undisclosed-recipients:;\r\n"
    if message.reply_to:
        yield "Reply-To", header.address_list("Reply-To", message.reply_to)
    if message.subject:
        yield "Subject", header.unstructured("Subject", message.subject)
    yield "Date", f"Date: {header.date(date)}\r\n"
    if not _MESSAGE_ID.match(delivery.message_id):
        raise UnsafeMessage("a Message-ID that is not one")
    yield "Message-ID", f"Message-ID: {delivery.message_id}\r\n"
    own = {name.lower(): (name, value) for name, value in (*message.headers.items(), *delivery.headers.items())}
    for lower, (name, value) in own.items():
        write = header.kept if lower in STRUCTURED else header.unstructured
        yield name, write(name, value)


def _content(message: Message, delivery: Delivery, eight_bit: bool) -> _Part:
    boundaries = _Boundaries(delivery.message_id, message)
    bodies: list[_Part] = []
    if message.text is not None:
        bodies.append(_text("plain", message.text, eight_bit))
    if message.html is not None:
        html = _text("html", message.html, eight_bit)
        images = [_file(image) for image in message.inline_images]
        bodies.append(_multipart("related", [html, *images], boundaries) if images else html)
    if len(bodies) > 1:
        bodies = [_multipart("alternative", bodies, boundaries)]
    files = [_file(file) for file in message.files]
    return _multipart("mixed", [*bodies, *files], boundaries) if files else bodies[0]


def _text_head(subtype: str, encoding: Encoding) -> tuple[tuple[_Header, ...], bytes]:
    fields = (
        ("Content-Type", f"Content-Type: text/{subtype}; charset=utf-8\r\n"),
        ("Content-Transfer-Encoding", f"Content-Transfer-Encoding: {encoding.value}\r\n"),
    )
    return fields, _block(fields)


# The same for every message, so they are made once.
_TEXT_HEADS = {
    (subtype, encoding): _text_head(subtype, encoding) for subtype in ("plain", "html") for encoding in Encoding
}


def _text(subtype: str, text: str, eight_bit: bool) -> _Part:
    body = encoded_text(text, eight_bit=eight_bit)
    fields, block = _TEXT_HEADS[subtype, body.encoding]
    return _Part(fields, block, (body.data,), body.encoding is Encoding.EIGHT_BIT)


def _file(attachment: Attachment) -> _Part:
    filename = attachment.filename
    disposition = "inline" if attachment.inline else "attachment"
    fields = [
        ("Content-Type", header.content_type(attachment.content_type, filename)),
        ("Content-Transfer-Encoding", "Content-Transfer-Encoding: base64\r\n"),
        ("Content-Disposition", header.content_disposition(disposition, filename)),
    ]
    if attachment.content_id is not None:
        fields.append(("Content-ID", f"Content-ID: <{attachment.content_id}>\r\n"))
    return _Part(tuple(fields), _block(fields), (attachment,))


class _Boundaries:
    """Delimiters that stand nowhere in the content, and are the same each time the copy is composed.

    ``=_`` occurs neither in quoted-printable nor in base64, so only a body that goes as it stands could hold one. Who
    wrote it cannot know the random part of the Message-ID; and should a body hold one all the same, the next is taken.
    """

    def __init__(self, message_id: str, message: Message) -> None:
        bodies = [body for body in (message.text, message.html) if body is not None]
        token = message_id
        while True:
            token = hashlib.sha256(token.encode()).hexdigest()[:32]
            if not any(token in body for body in bodies):
                break
        self._token = token

    def of(self, subtype: str) -> str:
        # The subtype stands first: with the token first, one delimiter could be the beginning of another.
        return f"=_{subtype[0]}_{self._token}"


def _multipart(subtype: str, parts: Sequence[_Part], boundaries: _Boundaries) -> _Part:
    boundary = boundaries.of(subtype)
    delimiter = f"--{boundary}\r\n".encode()
    pieces: list[_Piece] = []
    for part in parts:
        pieces += (delimiter, part.block, *part.pieces)
        if isinstance(pieces[-1], bytes):
            pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--".encode())
    root = '; type="text/html"' if subtype == "related" else ""  # RFC 2387 section 3.1
    fields = [("Content-Type", f'Content-Type: multipart/{subtype}{root};\r\n boundary="{boundary}"\r\n')]
    eight_bit = any(part.eight_bit for part in parts)
    if eight_bit:
        # RFC 2045 section 6.4: a multipart is labelled like the widest of its parts.
        fields.append(("Content-Transfer-Encoding", "Content-Transfer-Encoding: 8bit\r\n"))
    return _Part(tuple(fields), _block(fields), tuple(pieces), eight_bit)


def _joined(pieces: Iterable[_Piece]) -> tuple[_Piece, ...]:
    """The pieces with neighbouring bytes made one."""
    joined: list[_Piece] = []
    run: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            run.append(piece)
        else:
            joined += (b"".join(run), piece)
            run = []
    if run:
        joined.append(b"".join(run))
    return tuple(joined)


def _size_bytes(piece: _Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else base64_size_bytes(piece.size_bytes)


def _file_lines(attachment: Attachment) -> Iterator[bytes]:
    seen = 0
    for chunk in attachment.chunks(_CHUNK_BYTES):
        seen += len(chunk)
        yield base64_lines(chunk)
    if seen != attachment.size_bytes:
        raise ValidationError.single("content", f"{attachment.filename!r} changed while it was read")
    if not seen:
        yield b"\r\n"
