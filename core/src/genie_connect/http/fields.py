"""The header fields of an answer, read alike whichever library took it in."""

from __future__ import annotations

from collections.abc import Iterable

from genie_connect.model.frozen import FrozenMap


def fields_that_came(raw: Iterable[tuple[bytes, bytes]]) -> FrozenMap[str]:
    """Names in lower case; the values of one name joined by commas (RFC 9110 section 5.3)."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("ascii", "replace").lower(), _text(raw_value)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return FrozenMap(fields)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        # RFC 9110 section 5.5: what is not ASCII was ISO-8859-1 once. A lone surrogate could not be written anywhere.
        return value.decode("iso-8859-1")
