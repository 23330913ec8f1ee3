"""One SMTP reply: code, enhanced status code and text."""

from __future__ import annotations

import attrs


@attrs.frozen
class Reply:
    """A reply the server gives; a text of several lines becomes a multi-line reply (RFC 5321 section 4.2.1).

    `enhanced` is empty where the protocol gives none: the greeting, the EHLO answer, 334 and 354.
    """

    code: int = attrs.field(validator=[attrs.validators.ge(200), attrs.validators.le(599)])
    enhanced: str
    text: str

    def encode(self, *, with_enhanced: bool = True) -> bytes:
        """Return the reply as bytes for the wire, every line ended by CR LF."""
        prefix = f"{self.enhanced} " if self.enhanced and with_enhanced else ""
        lines = self.text.splitlines() or [""]
        last = len(lines) - 1
        return "".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{line}\r\n" for number, line in enumerate(lines)
        ).encode("utf-8")
