"""What a message consists of, as the wire takes it: in one piece where it is small, in blocks where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from genie_connect.mime import Composed
from genie_connect_smtp.stuffing import BLOCK_BYTES, whole_lines

SMALL_BYTES: Final = BLOCK_BYTES
"""Up to this size the content leaves in the same write as what follows it."""


@attrs.frozen(kw_only=True, eq=False)
class Content:
    """What stands between DATA and the end mark; dots not yet stuffed.

    ``data`` is all of it, ending in CRLF. Where that is ``None``, ``chunks`` are read once, while they are sent.
    """

    size_bytes: int
    data: bytes | None = None
    chunks: Iterable[bytes] = ()

    @classmethod
    def of(cls, chunks: Iterable[bytes], size_bytes: int) -> Content:
        """The content from its pieces; small ones are read now. Raises what reading raises, ``UnsendableContent``."""
        if size_bytes > SMALL_BYTES:
            return cls(size_bytes=size_bytes, chunks=chunks)
        data = whole_lines(b"".join(chunks))
        return cls(size_bytes=len(data), data=data)

    @classmethod
    def of_message(cls, composed: Composed) -> Content:
        """The content from a message that was put together here. Raises what reading its files raises."""
        data = composed.in_one_piece
        if data is not None and len(data) <= SMALL_BYTES and data.endswith(b"\r\n"):
            # The composer's gate has looked at every byte of it; looking again takes longer than sending.
            return cls(size_bytes=len(data), data=data)
        return cls.of(composed.chunks(), composed.size_bytes)


NO_CONTENT: Final = Content(size_bytes=0, data=b"")
