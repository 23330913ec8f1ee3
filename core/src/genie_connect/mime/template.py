"""A message compiled once, and spliced for each of its copies.

``compile_message(batch).compose(delivery, date=...)`` gives the bytes of ``compose(batch, delivery, date=...)``, at a
fraction of the cost: what is the same in all copies is written, encoded and checked once. The rest is written for each
copy and checked there: To and Cc, Date, Message-ID, the delimiters, the recipient's own header fields, and what merge
fields stand in. Attachments are encoded once and shared by all copies; big files are still read as they leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from operator import itemgetter
from typing import NamedTuple, Protocol, TypeAlias

from genie_connect.mime.body import Body, Encoding, base64_lines
from genie_connect.mime.composer import Composed, compose, piece_size_bytes
from genie_connect.mime.gate import check_wire
from genie_connect.mime.parts import BODIES, TOKEN_CHARACTERS, Piece, joined, nested, next_token, text_part
from genie_connect.mime.spliced_head import Copy, HeadSplicer
from genie_connect.mime.spliced_text import Slots, SplicedText
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.frozen import EMPTY
from genie_connect.model.merge import Template, escaped, literal_template_of, template_of, value_of

STREAMED_FROM_BYTES = 1024 * 1024
"""Files of this size and above are not kept in memory but read for each copy."""

# The model lets no NUL in, so these stand nowhere else.
_HEAD_MARK, _TOKEN_MARK = b"\x00head\x00", b"\x00token\x00"
_BODY_MARKS = {subtype: f"\x00{subtype}\x00".encode() for subtype in BODIES}
_MARK = re.compile(rb"(\x00[a-z-]+\x00)")
_SOME_TOKEN = b"0" * TOKEN_CHARACTERS


def compile_message(batch: Batch) -> CompiledMessage:
    """The message of a batch, ready for its copies.

    Reads attached files of less than ``STREAMED_FROM_BYTES``: raises ``OSError`` and ``ValidationError`` as reading
    them does, and ``ValidationError`` where the message has braces that are no merge field.
    """
    return CompiledMessage(batch)


class Composer(Protocol):
    """What writes the copies of one batch."""

    def __call__(self, delivery: Delivery, *, date: datetime, eight_bit: bool = False) -> Composed:
        """The bytes of one copy, as ``compose`` gives them; it raises what that raises."""
        ...


def composer_of(batch: Batch, *, copies: int) -> Composer:
    """What writes so many copies at the least cost. Raises what ``compile_message`` raises, unless it is one."""
    return partial(compose, batch) if copies == 1 else compile_message(batch).compose


class CompiledMessage:
    """Everything that the copies of a message have in common."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._attachments = _encoded(batch.message.attachments)
        if any(delivery.merge is not None for delivery in batch.deliveries):
            self._filled_in  # noqa: B018  # parsed now, so that what is wrong with the message shows now

    def compose(self, delivery: Delivery, *, date: datetime, eight_bit: bool = False) -> Composed:
        """The bytes of one copy, those that ``genie_connect.mime.compose`` gives.

        Raises ``ValidationError`` for merge data that is missing or does not fit its place, ``UnsafeMessage`` rather
        than give bytes that break out of theirs.
        """
        splicer = self._as_it_stands if delivery.merge is None else self._filled_in
        return splicer.compose(delivery, date, eight_bit)

    @cached_property
    def _as_it_stands(self) -> _Splicer:
        return _Splicer(self._batch, literal_template_of(self._batch.message), self._attachments)

    @cached_property
    def _filled_in(self) -> _Splicer:
        return _Splicer(self._batch, template_of(self._batch.message), self._attachments)


_Own: TypeAlias = Sequence[bytes]
"""What a copy puts into a run: head, token, and the bodies that the message has."""


class _Run(NamedTuple):
    """Bytes with places for what is a copy's own."""

    pattern: bytes
    pick: Callable[[_Own], bytes | tuple[bytes, ...]]

    @classmethod
    def of(cls, piece: bytes, marks: Sequence[bytes]) -> _Run:
        """The run that ``piece`` becomes, the marks in it being the places. Raises ``UnsafeMessage``."""
        parts = _MARK.split(piece)
        check_wire(b"".join(parts[::2]))
        numbers = [marks.index(mark) for mark in parts[1::2]]
        parts[::2] = [part.replace(b"%", b"%%") for part in parts[::2]]
        parts[1::2] = [b"%b"] * len(numbers)
        return cls(b"".join(parts), itemgetter(*numbers) if numbers else _nothing)


def _nothing(_: _Own) -> tuple[()]:
    return ()


class _Frame(NamedTuple):
    """How the parts nest, for one choice of encodings of the bodies.

    ``content_head`` is how the header ends, with some token, and ``open_end`` says that a body ends the message.
    """

    encodings: Sequence[Encoding]
    names: tuple[str, ...]
    content_head: bytes
    pieces: tuple[_Run | Piece, ...]
    shared_size_bytes: int
    eight_bit: bool
    open_end: bool


_Bodies: TypeAlias = tuple[_Frame, str, Sequence[bytes]]
"""The frame of a copy, what makes its delimiters its own, and its bodies."""


class _Splicer:
    """The message as a template, or as it stands."""

    def __init__(self, batch: Batch, template: Template, attachments: Mapping[Attachment, bytes]) -> None:
        self._message = batch.message
        self._attachments = attachments
        slots = Slots()
        self._head = HeadSplicer(batch.message, batch.sender, template, slots)
        given = zip(BODIES, (template.text, template.amp, template.html), strict=True)
        texts = {subtype: SplicedText(body, slots) for subtype, body in given if body is not None}
        self._subtypes, self._texts = tuple(texts), tuple(texts.values())
        self._marks = (_HEAD_MARK, _TOKEN_MARK, *[_BODY_MARKS[subtype] for subtype in texts])
        self._suspect = "\n".join([text.suspect for text in self._texts])
        self._vary = any(text.varies for text in self._texts)
        self._fields = slots.fields
        self._frames: list[_Frame] = []
        self._same: dict[bool, _Bodies] = {}

    def compose(self, delivery: Delivery, date: datetime, eight_bit: bool) -> Composed:
        merge: Mapping[str, str] = EMPTY if delivery.merge is None else delivery.merge
        values = [value_of(field, merge) for field in self._fields]
        if self._vary:
            bodies = self._own_bodies(values, delivery.message_id, eight_bit)
        else:
            bodies = self._same_bodies(delivery.message_id, eight_bit)
        frame, token, texts = bodies
        head, smtputf8 = self._head.head(Copy(delivery, values, date), frame.names, frame.content_head)
        pieces, size_bytes = _spliced(frame, (head, token.encode(), *texts))
        return Composed(
            size_bytes=size_bytes,
            needs_8bit=frame.eight_bit,
            needs_smtputf8=smtputf8,
            head_size_bytes=len(head) + len(frame.content_head),
            pieces=pieces,
        )

    def _own_bodies(self, values: Sequence[str], message_id: str, eight_bit: bool) -> _Bodies:
        values_in_html = [escaped(value) for value in values]
        lines = [
            text.own_lines(values if subtype == "plain" else values_in_html)
            for subtype, text in zip(self._subtypes, self._texts, strict=True)
        ]
        token = self._next_token(message_id, "\n".join(lines))
        bodies = [text.body(own, eight_bit=eight_bit) for text, own in zip(self._texts, lines, strict=True)]
        frame = self._frame([encoding for encoding, _, _ in bodies])
        check_wire(b"\r\n".join([own for _, _, own in bodies]), eight_bit=frame.eight_bit)
        return frame, token, [body for _, body, _ in bodies]

    def _same_bodies(self, message_id: str, eight_bit: bool) -> _Bodies:
        """The same where the bodies are the same in all copies, and only the delimiters are not."""
        known = self._same.get(eight_bit)
        if known is None:
            known = self._same[eight_bit] = self._own_bodies((), message_id, eight_bit)
        frame, _, texts = known
        return frame, self._next_token(message_id, ""), texts

    def _next_token(self, message_id: str, own_lines: str) -> str:
        token = next_token(message_id)
        while token in own_lines or token in self._suspect:
            token = next_token(token)
        return token

    def _frame(self, encodings: Sequence[Encoding]) -> _Frame:
        for frame in self._frames:
            if frame.encodings == encodings:
                return frame
        frame = self._new_frame(encodings)
        self._frames.append(frame)
        return frame

    def _new_frame(self, encodings: Sequence[Encoding]) -> _Frame:
        texts = {
            subtype: text_part(subtype, Body(encoding, _BODY_MARKS[subtype]))
            for subtype, encoding in zip(self._subtypes, encodings, strict=True)
        }
        content = nested(texts, self._message.attachments, _TOKEN_MARK.decode())
        open_end = content.pieces[-1] in self._marks
        below = content.pieces if open_end else content.closed_pieces()
        head = "".join([line for _, line in content.fields]).encode() + b"\r\n"
        pieces = tuple(self._frame_piece(piece) for piece in joined((_HEAD_MARK, head, *below)))
        return _Frame(
            encodings=encodings,
            names=tuple(name for name, _ in content.fields),
            content_head=head.replace(_TOKEN_MARK, _SOME_TOKEN),
            pieces=pieces,
            shared_size_bytes=sum(0 if isinstance(piece, _Run) else piece_size_bytes(piece) for piece in pieces),
            eight_bit=content.eight_bit,
            open_end=open_end,
        )

    def _frame_piece(self, piece: Piece) -> _Run | Piece:
        return self._attachments.get(piece, piece) if isinstance(piece, Attachment) else _Run.of(piece, self._marks)


def _spliced(frame: _Frame, own: _Own) -> tuple[tuple[Piece, ...], int]:
    pieces: list[Piece] = []
    size_bytes = frame.shared_size_bytes
    for piece in frame.pieces:
        if not isinstance(piece, _Run):
            pieces.append(piece)
            continue
        filled = piece.pattern % piece.pick(own)
        if frame.open_end and not filled.endswith(b"\r\n"):
            filled += b"\r\n"
        size_bytes += len(filled)
        pieces.append(filled)
    return tuple(pieces), size_bytes


def _encoded(attachments: Sequence[Attachment]) -> dict[Attachment, bytes]:
    """What is kept in memory, each content encoded once however often it is attached."""
    by_content: dict[bytes, bytes] = {}
    encoded: dict[Attachment, bytes] = {}
    for attachment in attachments:
        if not isinstance(attachment.content, bytes) and attachment.size_bytes >= STREAMED_FROM_BYTES:
            continue
        content = attachment.read()
        if content not in by_content:
            by_content[content] = base64_lines(content)
            check_wire(by_content[content])
        encoded[attachment] = by_content[content]
    return encoded
