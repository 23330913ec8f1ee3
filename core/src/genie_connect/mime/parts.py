"""The parts of a message, and how they nest (RFC 2045, 2046).

::

    mixed
    ├── alternative
    │   ├── text/plain
    │   ├── text/x-amp-html
    │   └── related
    │       ├── text/html
    │       └── inline images
    └── files

Levels with a single part are left out. AMP stands before HTML, since old readers show the last part only
(https://amp.dev/documentation/guides-and-tutorials/email/learn/email-spec/amp-email-structure).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from genie_connect.mime import header
from genie_connect.mime.body import Body, Encoding
from genie_connect.mime.gate import check_header
from genie_connect.model.attachment import Attachment

HeaderField: TypeAlias = tuple[str, str]
"""A name, and the whole field with its line end."""
Piece: TypeAlias = bytes | Attachment
"""Bytes of the wire, or a file that becomes such when it is read."""

TOKEN_CHARACTERS = 32


class Part(NamedTuple):
    """A MIME part: its Content- fields, the same as bytes with the blank line, and what stands below them.

    ``pieces`` lacks the CRLF that RFC 2046 section 5.1.1 counts with the delimiter that follows.
    """

    fields: tuple[HeaderField, ...]
    block: bytes
    pieces: tuple[Piece, ...]
    eight_bit: bool = False

    def closed_pieces(self) -> tuple[Piece, ...]:
        """The pieces of a part that is the whole message, which ends in a line end."""
        last = self.pieces[-1]
        closed = isinstance(last, Attachment) or not last or last.endswith(b"\r\n")
        return self.pieces if closed else (*self.pieces, b"\r\n")


def block(fields: Iterable[HeaderField]) -> bytes:
    """A header block with the blank line that ends it."""
    names, lines = zip(*fields, strict=True)
    head = "".join(lines).encode()
    check_header(head, names)
    return head + b"\r\n"


def _text_head(subtype: str, encoding: Encoding) -> tuple[tuple[HeaderField, ...], bytes]:
    fields = (
        ("Content-Type", f"Content-Type: text/{subtype}; charset=utf-8\r\n"),
        ("Content-Transfer-Encoding", f"Content-Transfer-Encoding: {encoding.value}\r\n"),
    )
    return fields, block(fields)


BODIES: Final = ("plain", "x-amp-html", "html")
"""The subtypes of text bodies, in the order in which they stand."""
# The same for every message, so they are made once.
_TEXT_HEADS = {(subtype, encoding): _text_head(subtype, encoding) for subtype in BODIES for encoding in Encoding}


def text_part(subtype: str, body: Body) -> Part:
    """A text body."""
    fields, head = _TEXT_HEADS[subtype, body.encoding]
    return Part(fields, head, (body.data,), body.encoding is Encoding.EIGHT_BIT)


def file_part(attachment: Attachment) -> Part:
    """A file or an inline image."""
    filename = attachment.filename
    disposition = "inline" if attachment.inline else "attachment"
    fields = [
        ("Content-Type", header.content_type(attachment.content_type, filename)),
        ("Content-Transfer-Encoding", "Content-Transfer-Encoding: base64\r\n"),
        ("Content-Disposition", header.content_disposition(disposition, filename)),
    ]
    if attachment.content_id is not None:
        fields.append(("Content-ID", f"Content-ID: <{attachment.content_id}>\r\n"))
    return Part(tuple(fields), block(fields), (attachment,))


def boundary_token(message_id: str, bodies: Iterable[str]) -> str:
    """What makes the delimiters of a copy its own; the same each time it is composed.

    ``=_`` occurs neither in quoted-printable nor in base64, so only a body that goes as it stands could hold one. Who
    wrote it cannot know the random part of the Message-ID; and should a body hold one all the same, the next is taken.
    """
    token = next_token(message_id)
    while any(token in body for body in bodies):
        token = next_token(token)
    return token


def next_token(seed: str) -> str:
    """The token after ``seed``."""
    return hashlib.sha256(seed.encode()).hexdigest()[:TOKEN_CHARACTERS]


def multipart(subtype: str, parts: Sequence[Part], token: str) -> Part:
    """Parts together."""
    # The subtype stands first: with the token first, one delimiter could be the beginning of another.
    boundary = f"=_{subtype[0]}_{token}"
    delimiter = f"--{boundary}\r\n".encode()
    pieces: list[Piece] = []
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
    return Part(tuple(fields), block(fields), tuple(pieces), eight_bit)


def nested(texts: Mapping[str, Part], attachments: Sequence[Attachment], token: str) -> Part:
    """The content of a message: its bodies by subtype, in the order of ``BODIES``, and its files."""
    bodies = list(texts.values())
    images = [file_part(image) for image in attachments if image.inline] if "html" in texts else []
    if images:
        bodies[-1] = multipart("related", [bodies[-1], *images], token)
    if len(bodies) > 1:
        bodies = [multipart("alternative", bodies, token)]
    files = [file_part(file) for file in attachments if not file.inline]
    return multipart("mixed", [*bodies, *files], token) if files else bodies[0]


def joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The pieces with neighbouring bytes made one."""
    result: list[Piece] = []
    run: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            run.append(piece)
        else:
            result += (b"".join(run), piece)
            run = []
    if run:
        result.append(b"".join(run))
    return tuple(result)
