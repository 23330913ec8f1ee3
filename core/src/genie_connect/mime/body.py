"""Text bodies: line ends and the transfer encoding (RFC 2045 section 6)."""

from __future__ import annotations

import binascii
from enum import StrEnum
from typing import NamedTuple

from genie_connect.mime.gate import has_long_line

BASE64_LINE_BYTES = 57  # 76 characters, the most that RFC 2045 section 6.8 allows
BASE64_LINE_OCTETS = 76
_QP_LINE_OCTETS = 76  # RFC 2045 section 6.7 (5)
_HIGH = bytes(range(128, 256))


class Encoding(StrEnum):
    """Content-Transfer-Encoding."""

    SEVEN_BIT = "7bit"
    EIGHT_BIT = "8bit"
    QUOTED_PRINTABLE = "quoted-printable"
    BASE64 = "base64"


class Body(NamedTuple):
    """A text body as it stands on the wire, without the line end that closes it."""

    encoding: Encoding
    data: bytes


def encoded_text(text: str, *, eight_bit: bool) -> Body:
    """``text`` with CRLF line ends, in the encoding that leaves it most readable and then smallest."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    data = text.replace("\n", "\r\n").encode()
    ascii_only = text.isascii()
    if (ascii_only or eight_bit) and not has_long_line(data):
        return Body(Encoding.SEVEN_BIT if ascii_only else Encoding.EIGHT_BIT, data)
    if base64_is_smaller(len(data), costly_octets(data)):
        return Body(Encoding.BASE64, base64_lines(data)[:-2])
    return Body(Encoding.QUOTED_PRINTABLE, quoted_printable(data))


def costly_octets(data: bytes) -> int:
    """How many octets of ``data`` take three in quoted-printable."""
    high = 0 if data.isascii() else len(data) - len(data.translate(None, _HIGH))
    return high + data.count(b"=")


def base64_is_smaller(size_bytes: int, costly: int) -> bool:
    """Whether base64, which makes four octets of three and a line end each 76, beats quoted-printable."""
    return 2 * costly > size_bytes * 3 // 8


def quoted_printable(data: bytes) -> bytes:
    """``data``, whose line ends are CRLF, in quoted-printable (RFC 2045 section 6.7)."""
    encoded = binascii.b2a_qp(data, istext=True)
    if len(encoded) <= _QP_LINE_OCTETS:
        return encoded
    if b"\n" not in data:
        # Soft line breaks follow the kind of line end found in the data, and are bare LF where there is none.
        encoded = encoded.replace(b"\n", b"\r\n")
    if b" \r\n" in data or b"\t\r\n" in data or data.endswith((b" ", b"\t")):
        # The blank at the end of a full line becomes =20 without another look at the length, which is then 77.
        encoded = b"\r\n".join([_broken(line) for line in encoded.split(b"\r\n")])
    return encoded


def _broken(line: bytes) -> bytes:
    return line if len(line) <= _QP_LINE_OCTETS else line[:-3] + b"=\r\n" + line[-3:]


def base64_lines(data: bytes) -> bytes:
    """``data`` in base64, each line closed with CRLF. Where pieces are joined, all but the last take whole lines."""
    encoded = binascii.b2a_base64(data, newline=False)
    step = BASE64_LINE_OCTETS
    return b"\r\n".join([encoded[start : start + step] for start in range(0, len(encoded), step)]) + b"\r\n"


def base64_size_bytes(size_bytes: int) -> int:
    """How long ``base64_lines`` makes that many bytes; an empty file still takes its line end."""
    lines, rest = divmod(size_bytes, BASE64_LINE_BYTES)
    size = lines * (BASE64_LINE_OCTETS + 2) + ((rest + 2) // 3 * 4 + 2 if rest else 0)
    return size or 2
