"""The recipients of a unit in few bytes: a format byte, then JSON in columns, compressed where that is worth it.

Names of merge fields are the same in each row, and values of one column resemble each other. So columns compress to
half of what rows take: about 10 bytes for an address and a first name. Recipients were checked when they were taken
in; reading them back checks the form only.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from genie_connect.errors import StoreError

COLUMNS_1: Final = b"\x01"
PLAIN_1: Final = b"\x02"
"""The formats of this version: compressed, and as it is. A later one takes another byte and still reads these."""
_WORTH_IT: Final = 200
"""Bytes. What is shorter, as the one address of most sends is, hardly shrinks, and to compress it takes longer."""
_LEVEL: Final = 6
_NOTHING: Final[Mapping[str, str]] = {}
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Packed(NamedTuple):
    """A recipient as it is kept: ``address`` may have a name; values are text."""

    address: str
    merge: Mapping[str, str] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    metadata: Mapping[str, str] = _NOTHING


def pack(recipients: Sequence[Packed]) -> bytes:
    """The bytes to be stored."""
    content: dict[str, Any] = {"a": [recipient.address for recipient in recipients]}
    columns = (
        ("m", [recipient.merge for recipient in recipients]),
        ("h", [recipient.headers for recipient in recipients]),
        ("d", [recipient.metadata for recipient in recipients]),
    )
    content |= {name: _columns(rows) for name, rows in columns if any(rows)}
    return _packed(content)


def pack_addresses(addresses: Sequence[str]) -> bytes:
    """The same for recipients who have an address alone."""
    return _packed({"a": addresses})


def _packed(content: Mapping[str, Any]) -> bytes:
    data = _encode(content).encode("utf-8", "surrogatepass")
    return PLAIN_1 + data if len(data) < _WORTH_IT else COLUMNS_1 + zlib.compress(data, _LEVEL)


def unpack(data: bytes) -> list[Packed]:
    """What ``pack`` stored. Raises ``StoreError`` for anything else."""
    content = _content(data)
    addresses: list[str] = content["a"]
    size = len(addresses)
    rows = [_rows(content.get(name), size) for name in ("m", "h", "d")]
    return list(map(Packed, addresses, *rows))


def addresses(data: bytes) -> list[str]:
    """The addresses alone, in their order. Raises ``StoreError`` as ``unpack`` does."""
    found: list[str] = _content(data)["a"]
    return found


def email(address: str) -> str:
    """The bare address of one that may have a name: ``Ada <ada@example.com>``."""
    return address.rpartition("<")[2][:-1] if address.endswith(">") else address


def _columns(rows: Sequence[Mapping[str, str]]) -> list[Any]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [names, *([row.get(name) for row in rows] for name in names)]


def _rows(columns: list[Any] | None, size: int) -> list[Mapping[str, str]]:
    if columns is None:
        return [_NOTHING] * size
    names: list[str] = columns[0]
    made = [dict(zip(names, values, strict=True)) for values in zip(*columns[1:], strict=True)]
    # An empty value is a value; only what was not given is left out.
    if any(None in column for column in columns[1:]):
        return [{name: value for name, value in row.items() if value is not None} for row in made]
    return list(made)


def _content(data: bytes) -> dict[str, Any]:
    read = _FORMATS.get(data[:1])
    if read is None:
        raise StoreError(
            "the recipients of a unit are in a form that this version does not know",
            hint="update genie-connect here; a newer version wrote them",
        )
    try:
        return read(data[1:])
    except (zlib.error, ValueError):
        raise StoreError(
            "the recipients of a unit cannot be read: their bytes are damaged", hint="restore the store from a back-up"
        ) from None


def _columns_1(data: bytes) -> dict[str, Any]:
    return _plain_1(zlib.decompress(data))


def _plain_1(data: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(data.decode("utf-8", "surrogatepass"))
    return content


_FORMATS: Final[Mapping[bytes, Callable[[bytes], dict[str, Any]]]] = {COLUMNS_1: _columns_1, PLAIN_1: _plain_1}
