"""What a webhook's body holds, read strictly and within bounds. Each raises ``WebhookRejected``, and nothing else."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.http.strict_json import MAX_BYTES, strict_json
from genie_connect.model.frozen import FrozenMap

MAX_FIELDS: Final = 100
MAX_PARTS: Final = 200
MAX_PART_HEAD_BYTES: Final = 4_000
MAX_INBOUND_BYTES: Final = 50_000_000
"""Inbound messages come with their attachments; the largest that a provider takes has 40 MB, before base64."""
_NO_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_PARAMETER: Final = re.compile(r';\s*(name|filename)=(?:"([^"\r\n]*)"|([^\s;"]*))', re.IGNORECASE)


@attrs.frozen(kw_only=True, repr=False)
class Part:
    """One part of a multipart form: ``filename`` and ``content_type`` are empty where it is plain text."""

    name: str
    filename: str = ""
    content_type: str = ""
    content: bytes

    def __repr__(self) -> str:
        return f"Part({self.name!r}, {len(self.content)} bytes)"

    @property
    def text(self) -> str:
        """As text, whatever its bytes are."""
        return self.content.decode("utf-8", "replace")


def plain_body(request: WebhookRequest, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The body, where it is not encoded and not too big. What is compressed may hold any amount."""
    encoding = request.headers.get("content-encoding")
    if encoding and encoding.strip().lower() not in ("", "identity"):
        raise WebhookRejected("the body is encoded", status=415, field="content-encoding", hint="send it as it is")
    if len(request.body) > max_bytes:
        raise WebhookRejected(f"the body has more than {max_bytes} bytes", status=413, field="body")
    return request.body


def json_body(request: WebhookRequest, *, max_bytes: int = MAX_BYTES) -> Any:
    """The JSON value in the body (``strict_json``)."""
    raw = plain_body(request, max_bytes=max_bytes)
    return json_text(raw, field="body", max_bytes=max_bytes)


def json_text(raw: bytes, *, field: str, max_bytes: int = MAX_BYTES) -> Any:
    """The JSON value in a field of a body."""
    try:
        return strict_json(raw, max_bytes=max_bytes)
    except ValueError as error:
        raise WebhookRejected(f"the JSON {_named(error)}", status=400, field=field) from None


def form_fields(request: WebhookRequest, *, max_bytes: int = MAX_BYTES) -> FrozenMap[str]:
    """The fields of a URL-encoded form. A name that stands twice is refused: readers differ on which one counts."""
    raw = plain_body(request, max_bytes=max_bytes)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise WebhookRejected("the body is no form", status=415, field="content-type")
    try:
        pairs = _pairs(raw)
    except ValueError:
        raise WebhookRejected(
            f"the form is malformed, or has more than {MAX_FIELDS} fields", status=400, field="body"
        ) from None
    fields = FrozenMap(pairs)
    if len(fields) != len(pairs):
        raise WebhookRejected("the form repeats a field", status=400, field="body")
    return fields


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    """What ``parse_qsl`` reads, and that takes a third of a second for a megabyte in escapes. Raises ``ValueError``."""
    if not raw.isascii() or raw.count(b"&") >= MAX_FIELDS:
        raise ValueError
    parts = [part.partition(b"=") for part in raw.split(b"&") if part]
    return [(_unquoted(name), _unquoted(value)) for name, _, value in parts]


def _unquoted(part: bytes) -> str:
    """One side of a pair. Quoted-printable has the same escapes with another sign, and is decoded in C."""
    text = part.replace(b"+", b" ")
    if b"%" in text:
        text = _NO_ESCAPE.sub(b"%25", text).replace(b"\r", b"%0D").replace(b"\n", b"%0A")
        text = binascii.a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))
    return text.decode("utf-8")


def multipart_parts(request: WebhookRequest, *, max_bytes: int = MAX_INBOUND_BYTES) -> tuple[Part, ...]:
    """The parts of a multipart form (RFC 7578), in their order."""
    raw = plain_body(request, max_bytes=max_bytes)
    given = request.headers.get("content-type", "")
    found = _BOUNDARY.search(given) if given.lower().startswith("multipart/form-data") else None
    if found is None:
        raise WebhookRejected("the body is no multipart form", status=415, field="content-type")
    boundary = b"--" + (found[1] or found[2]).encode("utf-8", "surrogatepass")
    return tuple(_parts(raw, boundary))


def _parts(raw: bytes, boundary: bytes) -> Iterator[Part]:
    if not raw.startswith(boundary):
        raise WebhookRejected("the form does not begin with its boundary", status=400, field="body")
    start, count = len(boundary), 0
    while not raw.startswith(b"--", start):
        end = raw.find(b"\r\n" + boundary, start)
        if not raw.startswith(b"\r\n", start) or end < 0:
            raise WebhookRejected("the form does not end with its boundary", status=400, field="body")
        count += 1
        if count > MAX_PARTS:
            raise WebhookRejected(f"the form has more than {MAX_PARTS} parts", status=400, field="body")
        yield _part(raw, start + 2, end)
        start = end + 2 + len(boundary)


def _part(raw: bytes, start: int, end: int) -> Part:
    head_end = raw.find(b"\r\n\r\n", start, min(end, start + MAX_PART_HEAD_BYTES))
    if head_end < 0:
        raise WebhookRejected("a part of the form has no head, or a long one", status=400, field="body")
    head: dict[str, str] = {}
    for line in raw[start:head_end].decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        head[name.strip().lower()] = value.strip()
    disposition = {
        parameter[1].lower(): parameter[2] or parameter[3] or ""
        for parameter in _PARAMETER.finditer(head.get("content-disposition", ""))
    }
    if not disposition.get("name"):
        raise WebhookRejected("a part of the form has no name", status=400, field="body")
    return Part(
        name=disposition["name"],
        filename=disposition.get("filename", ""),
        content_type=head.get("content-type", ""),
        content=raw[head_end + 4 : end],
    )


def _named(error: ValueError) -> str:
    # json's own words quote nothing, but say "Expecting value: line 1 column 1": no sentence.
    text = str(error)
    return text if text.startswith(("has ", "is ", "repeats ", "holds ")) else "is malformed"
