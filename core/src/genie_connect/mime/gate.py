"""The last look at bytes that leave.

What the model refuses cannot get here, and what the writer makes cannot be wrong; this is for the day when one of the
two has a bug. It knows nothing of how the bytes were made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from genie_connect.errors import UnsafeMessage

MAX_LINE_OCTETS = 998  # RFC 5322 section 2.1.1, without CRLF
# What stands before the first colon of each line that is no continuation, or the whole line where it has none.
_FIELD = re.compile(rb"\r\n([^ \t\r][^:\r]*:?)")
_HIDDEN = frozenset([b"bcc:", b"resent-bcc:"])
_BLANK_LINE = re.compile(rb"\r\n[ \t]*\r\n")
_MESSAGE_ID = re.compile(r"<[!-;=?A-~]{1,400}@[!-;=?A-~]{1,400}>\Z")
_SINGLE_LINES = re.compile(r"[ -~]+\r\n(?:\x00[ -~]+\r\n)*\Z")
_NAMES = re.compile(rb"[!-9;-~]+:(?:\n[!-9;-~]+:)*\Z")  # RFC 5322 section 2.2


def check_wire(data: bytes, *, eight_bit: bool = False) -> None:
    """Raise ``UnsafeMessage`` unless ``data``, which begins and ends with a line, can be written to a wire.

    There must be no NUL, no CR or LF alone, no line over 998 octets, and, unless ``eight_bit``, only ASCII.
    """
    if b"\x00" in data:
        raise UnsafeMessage("a NUL")
    without_line_ends = data.replace(b"\r\n", b"")
    if b"\n" in without_line_ends or b"\r" in without_line_ends:
        raise UnsafeMessage("a CR or LF that stands alone")
    if len(data) > MAX_LINE_OCTETS and has_long_line(data):
        raise UnsafeMessage(f"a line of more than {MAX_LINE_OCTETS} octets")
    if not eight_bit and not data.isascii():
        raise UnsafeMessage("an octet above 127")


def has_long_line(data: bytes) -> bool:
    """Whether a line of ``data``, whose line ends are CRLF, has more than 998 octets."""
    start, end = 0, len(data)
    while end - start > MAX_LINE_OCTETS:
        # The last line end in the window: every line before it is short enough, and a big body takes few steps.
        found = data.rfind(b"\n", start, start + MAX_LINE_OCTETS + 2)
        if found < 0:
            return True
        start = found + 1
    return False


def check_header(head: bytes, names: Sequence[str]) -> None:
    """Raise ``UnsafeMessage`` unless ``head`` holds exactly the fields ``names`` in this order, each once and no Bcc.

    ``head`` is a header block without the blank line that ends it; ``check_wire`` has to see it as well.
    """
    if not head.endswith(b"\r\n") or _BLANK_LINE.search(head):
        raise UnsafeMessage("a header block that ends too soon")
    # Joined, so that one comparison and one search do for all of them; no name holds a colon or a line feed.
    found = b"\n".join(_FIELD.findall(b"\r\n" + head))
    if found != (":\n".join(names) + ":").encode() or not _NAMES.match(found):
        raise UnsafeMessage("other header fields than were set")
    lower = set(found.lower().split(b"\n"))
    if len(lower) != len(names):
        raise UnsafeMessage("a header field twice")
    if not lower.isdisjoint(_HIDDEN):
        raise UnsafeMessage("a Bcc field")


def are_single_lines(fields: Sequence[str]) -> bool:
    """Whether each of these header fields is plainly one short line of ASCII, so that it can be nothing but one field.

    A quick look at what differs from copy to copy, where the rest has been checked. ``False`` proves nothing.
    """
    # Joined, so that one look does for all of them; what joins them can stand in none.
    together = "\x00".join(fields)
    return len(together) <= MAX_LINE_OCTETS and _SINGLE_LINES.match(together) is not None


def check_message_id(message_id: str) -> None:
    """Raise ``UnsafeMessage`` unless this is one short Message-ID between angle brackets."""
    if not _MESSAGE_ID.match(message_id):
        raise UnsafeMessage("a Message-ID that is not one")
