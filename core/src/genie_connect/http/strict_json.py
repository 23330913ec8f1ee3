"""JSON from somebody else: decoded, or refused with ``ValueError``, and nothing in between."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final

MAX_BYTES = 1_000_000
MAX_DEPTH = 64


def strict_json(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The value of ``raw``.

    Raises ``ValueError`` for what is too big or too deep, is not UTF-8, repeats a key (readers differ on which one
    counts), or holds NaN, an infinity or a lone surrogate.
    """
    if len(raw) > max_bytes:
        raise ValueError(f"has more than {max_bytes} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    try:
        value = _decode(text)
    except (ValueError, RecursionError):
        value = _looked_at(text)  # which says what is wrong
    pairs, depth = _measured(value)
    if raw.translate(None, _BLANKS).count(b'":') != pairs:
        value = _looked_at(text)
    if depth > max_depth:
        raise ValueError("is nested too deeply")
    if b"\\u" in raw:
        _check_surrogates(value)
    return value


def _looked_at(text: str) -> Any:
    """The value, each object of which was looked at for a key that stands twice."""
    try:
        return _decode_pairs(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("repeats a key")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"holds {name}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("holds a number that is too big")
    return number


# One for all: json.loads with arguments makes a new one each time.
_decode: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite).decode
_decode_pairs: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite
).decode
_BLANKS: Final = b" \t\r\n"


def _measured(value: Any) -> tuple[int, int]:
    """How many pairs all objects hold together, and how deeply they are nested.

    A pair is written with ``":`` once the blanks are gone. So where the text has no more of these than the value has
    pairs, no key was written twice; it has more, too, where a text holds an escaped quote before a colon.
    """
    level = [value] if isinstance(value, dict | list) else []
    pairs = depth = 0
    while level:
        depth += 1
        below: list[Any] = []
        for node in level:
            # The decoder makes these very types, and there may be thousands of values.
            items: Iterable[Any] = node
            if type(node) is dict:
                pairs += len(node)
                items = node.values()
            below += [item for item in items if type(item) is dict or type(item) is list]
        level = below
    return pairs, depth


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds half a surrogate pair") from None
