"""Settings written as TOML; the standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def toml(values: Mapping[tuple[str, ...], Any], comments: Mapping[tuple[str, ...], str] | None = None) -> str:
    """Values by path as TOML tables, each with its comment; what is ``None`` is left out, since TOML has no null."""
    comments = comments or {}
    lines: list[str] = []
    table: tuple[str, ...] = ()
    for path, value in values.items():
        if value is None:
            continue
        if path[:-1] != table:
            table = path[:-1]
            lines += ["", f"[{'.'.join(_key(name) for name in table)}]"]
        comment = f"  # {comments[path]}" if path in comments else ""
        lines.append(f"{_key(path[-1])} = {_value(value)}{comment}")
    return "\n".join(lines).lstrip("\n")


def _key(name: str) -> str:
    return name if _BARE.match(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    # Text, numbers, true and false look the same in TOML as in JSON, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
