"""A message put together: its header, and below it the parts (RFC 5322)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs

from genie_connect.errors import UnsafeMessage, ValidationError
from genie_connect.mime import header
from genie_connect.mime.body import BASE64_LINE_BYTES, base64_lines, base64_size_bytes, encoded_text
from genie_connect.mime.gate import check_message_id, check_wire
from genie_connect.mime.parts import BODIES, HeaderField, Piece, block, boundary_token, joined, nested, text_part
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.headers import STRUCTURED
from genie_connect.model.merge import Texts, plain_texts, template_of

_CHUNK_BYTES = 1024 * BASE64_LINE_BYTES
MIME_VERSION = ("MIME-Version", "MIME-Version: 1.0\r\n")


@attrs.frozen(kw_only=True, eq=False)
class Composed:
    """A message as it goes over the wire, files still unread. ``check_wire`` has seen every byte that is in memory.

    ``needs_8bit`` asks for BODY=8BITMIME (RFC 6152), ``needs_smtputf8`` for SMTPUTF8 (RFC 6531).
    """

    size_bytes: int
    needs_8bit: bool
    needs_smtputf8: bool
    _head_size_bytes: int = attrs.field(repr=False)
    _pieces: tuple[Piece, ...] = attrs.field(repr=False)

    @property
    def head(self) -> bytes:
        """The header block with the blank line that ends it."""
        return self._first[: self._head_size_bytes]

    @property
    def in_memory(self) -> bool:
        """Whether ``chunks`` neither reads nor encodes a file."""
        return all(isinstance(piece, bytes) for piece in self._pieces)

    @property
    def in_one_piece(self) -> bytes | None:
        """All of it where it is in memory and in one piece, as a message without files is."""
        first = self._pieces[0]
        return first if len(self._pieces) == 1 and isinstance(first, bytes) else None

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

    def below(self, fields: bytes) -> Composed:
        """The same message below these header fields, which are whole lines. Raises ``UnsafeMessage``.

        For what comes last and ``check_header`` knows nothing of: a signature, or Bcc for whoever takes it out again.
        """
        check_wire(fields)
        if not fields.endswith(b"\r\n") or b"\r\n\r\n" in fields:
            raise UnsafeMessage("header fields that are none")
        return Composed(
            size_bytes=len(fields) + self.size_bytes,
            needs_8bit=self.needs_8bit,
            needs_smtputf8=self.needs_smtputf8,
            head_size_bytes=len(fields) + self._head_size_bytes,
            pieces=(fields + self._first, *self._pieces[1:]),
        )

    def as_bytes(self) -> bytes:
        """The whole message in memory. Raises what reading its files raises."""
        return b"".join([piece if isinstance(piece, bytes) else b"".join(_file_lines(piece)) for piece in self._pieces])

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
    message = batch.message
    if delivery.merge is None:
        texts = plain_texts(message)
    else:
        texts = template_of(message).texts(delivery.merge, delivery.headers)
    bodies = {
        subtype: body
        for subtype, body in zip(BODIES, (texts.text, texts.amp, texts.html), strict=True)
        if body is not None
    }
    token = boundary_token(delivery.message_id, bodies.values())
    parts = {subtype: text_part(subtype, encoded_text(body, eight_bit=eight_bit)) for subtype, body in bodies.items()}
    content = nested(parts, message.attachments, token)
    shown = (batch.sender, *delivery.to, *delivery.cc, *message.reply_to)
    smtputf8 = any(address.needs_smtputf8 for address in shown)
    head = block((*_fields(batch, delivery, texts, date), MIME_VERSION, *content.fields))
    pieces = joined((head, *content.closed_pieces()))
    for piece in pieces:
        if isinstance(piece, bytes):
            check_wire(piece, eight_bit=content.eight_bit or smtputf8)
    return Composed(
        size_bytes=sum([piece_size_bytes(piece) for piece in pieces]),
        needs_8bit=content.eight_bit,
        needs_smtputf8=smtputf8,
        head_size_bytes=len(head),
        pieces=pieces,
    )


def _fields(batch: Batch, delivery: Delivery, texts: Texts, date: datetime) -> Iterator[HeaderField]:
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
    if texts.subject:
        yield "Subject", header.unstructured("Subject", texts.subject)
    yield "Date", f"Date: {header.date(date)}\r\n"
    check_message_id(delivery.message_id)
    yield "Message-ID", f"Message-ID: {delivery.message_id}\r\n"
    own = {name.lower(): (name, value) for name, value in (*texts.headers.items(), *delivery.headers.items())}
    for lower, (name, value) in own.items():
        write = header.kept if lower in STRUCTURED else header.unstructured
        yield name, write(name, value)


def piece_size_bytes(piece: Piece) -> int:
    """How long the piece is on the wire."""
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
