"""JSON from somebody else: decoded, or refused with ``ValueError``, and nothing in between."""

from __future__ import annotations

import json
import math
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
        value = _decode(raw.decode("utf-8"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    _check_depth(value, max_depth)
    if b"\\u" in raw:
        _check_surrogates(value)
    return value


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
_decode: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite).decode


def _check_depth(value: Any, max_depth: int) -> None:
    level = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            raise ValueError("is nested too deeply")
        # The decoder makes these very types, and there may be thousands of values.
        level = [
            item
            for node in level
            for item in (node.values() if type(node) is dict else node)
            if type(item) in (dict, list)
        ]


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds half a surrogate pair") from None
