"""Files that travel with a message.

The content is bytes, a file the caller opened by calling ``from_path``, or a stream the caller drained into one with
``from_stream``. Data never names a file or a URL: a JSON message that could, would let whoever writes it read the
host's disk (nodemailer GHSA-p6gq-j5cr-w38f).
"""

from __future__ import annotations

import mimetypes
import os
import re
import tempfile
from collections.abc import AsyncIterable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from genie_connect.errors import Problem, ValidationError
from genie_connect.model import text
from genie_connect.model.validation import attempt, settle

MAX_FILENAME_BYTES = 255
CHUNK_BYTES = 57 * 1024  # a multiple of 57, so that each chunk is whole base64 lines
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}\Z")
# RFC 2392: what stands between the angle brackets; a dot-atom pair or a single token.
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+(?:@[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)?\Z")


@attrs.frozen(eq=False)
class FileContent:
    """Content that stays on disk until it leaves. It can be read again, for an attempt on another connection."""

    path: Path
    size_bytes: int
    modified_ns: int

    def chunks(self, size_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The content in pieces.

        Raises ``ValidationError`` if the file is no longer what it was when the message was made.
        """
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns) != (self.size_bytes, self.modified_ns):
                raise ValidationError.single("content", "the file was changed after it was attached")
            while chunk := file.read(size_bytes):
                yield chunk

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes | FileContent):
            return _all_bytes(self) == _all_bytes(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.size_bytes)


def _to_filename(value: str) -> str:
    return attempt(_filename, value)


def _to_content(value: bytes | bytearray | memoryview | BinaryIO | FileContent) -> bytes | FileContent:
    return attempt(_content, value)


def _to_content_type(value: str) -> str:
    return attempt(_content_type, value)


def _to_content_id(value: str | None) -> str | None:
    return attempt(_content_id, value)


@attrs.frozen(kw_only=True, repr=False)
class Attachment:
    """A file beside the text, or, with a ``content_id``, an image inside the HTML (``<img src="cid:...">``).

    ``content_type`` is guessed from the file name where it is not given.
    """

    filename: str = attrs.field(converter=_to_filename)
    content: bytes | FileContent = attrs.field(converter=_to_content)
    content_type: str = attrs.field(default="", converter=_to_content_type)
    content_id: str | None = attrs.field(default=None, converter=_to_content_id)

    def __attrs_post_init__(self) -> None:
        if self.content_type == "" and isinstance(self.filename, str):
            object.__setattr__(self, "content_type", mimetypes.guess_type(self.filename)[0] or DEFAULT_TYPE)
        settle(self, self._rules)

    def _rules(self) -> Iterable[Problem]:
        if self.content_type.lower().startswith(("multipart/", "message/")):
            # A part of those types has a structure that readers descend into; RFC 2046 forbids encoding it.
            fix = "send it as application/octet-stream"
            yield Problem("content_type", f"{self.content_type} cannot be attached as a plain file", fix)

    @classmethod
    def from_path(
        cls, path: str | os.PathLike[str], *, filename: str = "", content_type: str = "", content_id: str | None = None
    ) -> Attachment:
        """A file on disk, read when it leaves. Raises ``OSError`` where it cannot be read now."""
        path = Path(path)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
        content = FileContent(path.absolute(), status.st_size, status.st_mtime_ns)
        return cls(filename=filename or path.name, content=content, content_type=content_type, content_id=content_id)

    @classmethod
    async def from_stream(
        cls,
        stream: AsyncIterable[bytes],
        *,
        filename: str,
        directory: str | os.PathLike[str],
        content_type: str = "",
        content_id: str | None = None,
    ) -> Attachment:
        """A stream, drained into a new file in ``directory``, since an attempt on another connection reads it again.

        The file belongs to the caller, who removes it when the message is done with.
        """
        handle, name = tempfile.mkstemp(dir=directory, prefix="attachment-")
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in stream:
                    file.write(chunk)
        except BaseException:
            # Nobody else knows its name.
            os.unlink(name)  # noqa: PTH108
            raise
        return cls.from_path(name, filename=filename, content_type=content_type, content_id=content_id)

    @property
    def inline(self) -> bool:
        """Whether the HTML shows it, so that it is not listed as a file."""
        return self.content_id is not None

    @property
    def size_bytes(self) -> int:
        """Size before any encoding for transport."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size_bytes

    def chunks(self, size_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The content in pieces of at most ``size_bytes``."""
        if isinstance(self.content, FileContent):
            yield from self.content.chunks(size_bytes)
            return
        for start in range(0, len(self.content), size_bytes):
            yield self.content[start : start + size_bytes]

    def read(self) -> bytes:
        """The whole content."""
        return _all_bytes(self.content)

    def __repr__(self) -> str:
        return f"Attachment({self.filename!r}, {self.content_type}, {self.size_bytes} bytes)"


DEFAULT_TYPE = "application/octet-stream"


def _all_bytes(content: bytes | FileContent) -> bytes:
    return content if isinstance(content, bytes) else b"".join(content.chunks())


def _filename(value: object) -> str:
    name = text.one_line(value, reordering=True, limit=1000)
    # Only the last part: where a reader saves the file is the reader's decision.
    name = name.replace("\\", "/").rpartition("/")[2].strip(" ")
    if name in ("", ".", ".."):
        raise ValidationError.single("", f"{value!r} is not a file name")
    if len(name.encode()) > MAX_FILENAME_BYTES:
        raise ValidationError.single("", f"has more than {MAX_FILENAME_BYTES} bytes", "shorten it")
    return name


def _content(value: object) -> bytes | FileContent:
    if isinstance(value, bytes | FileContent):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str | os.PathLike):
        fix = "give bytes, or open a file yourself with Attachment.from_path"
        raise ValidationError.single("", "must be bytes; a path or URL is never read", fix)
    if isinstance(value, BinaryIO) or hasattr(value, "read"):
        data = value.read()
        if isinstance(data, bytes):
            return data
    raise ValidationError.single("", f"must be bytes or a file opened for reading bytes, not {type(value).__name__}")


def _content_type(value: object) -> str:
    if value == "":
        return ""
    content_type = text.one_line(value, limit=255)
    if not _CONTENT_TYPE.match(content_type):
        raise ValidationError.single("", f"{content_type!r} is not a content type", "write it as image/png")
    return content_type.lower()


def _content_id(value: object) -> str | None:
    if value is None:
        return None
    content_id = text.one_line(value, limit=250)
    if content_id.startswith("<") and content_id.endswith(">"):
        content_id = content_id[1:-1]
    if not _CONTENT_ID.match(content_id) or "=?" in content_id:
        fix = 'write it as in <img src="cid:logo">: logo'
        raise ValidationError.single("", f"{content_id!r} is not a Content-ID", fix)
    return content_id
