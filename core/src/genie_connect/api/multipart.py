"""Requests of the type multipart/form-data (RFC 7578)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import attrs

from genie_connect.api.call import Call
from genie_connect.api.job import Copy
from genie_connect.model.frozen import FrozenMap


@attrs.frozen(kw_only=True)
class FilePart:
    """A file in a form."""

    name: str
    filename: str
    content_type: str
    content: bytes = attrs.field(repr=False)


def multipart_call(
    path: str, fields: Iterable[tuple[str, str]], files: Iterable[FilePart], copies: Sequence[Copy]
) -> Call:
    """A POST of a form; a name may stand in it several times."""
    parts = [(f'form-data; name="{_quoted(name)}"', "", value.encode()) for name, value in fields]
    parts += [
        (
            f'form-data; name="{_quoted(each.name)}"; filename="{_quoted(each.filename)}"',
            each.content_type,
            each.content,
        )
        for each in files
    ]
    boundary = _boundary(content for _, _, content in parts)
    pieces: list[bytes] = []
    for disposition, content_type, content in parts:
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
        head += f"Content-Type: {content_type}\r\n\r\n" if content_type else "\r\n"
        pieces += [head.encode(), content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    headers = FrozenMap({"content-type": f"multipart/form-data; boundary={boundary}", "accept": "application/json"})
    return Call(copies=tuple(copies), path=path, content=b"".join(pieces), headers=headers)


def _quoted(value: str) -> str:
    # As browsers do it (WHATWG HTML, multipart/form-data encoding algorithm).
    return value.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def _boundary(contents: Iterable[bytes]) -> str:
    # A digest of the whole cannot stand in the whole; and the same form has the same bytes.
    digest = hashlib.sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8, "big") + content)
    return f"genie-{digest.hexdigest()[:40]}"
