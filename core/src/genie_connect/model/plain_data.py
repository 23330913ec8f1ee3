"""JSON values that cannot change: what a message holds for a provider, which the core does not understand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from genie_connect.errors import Problem, ValidationError
from genie_connect.model import text
from genie_connect.model.frozen import EMPTY, FrozenMap

MAX_DEPTH = 12
MAX_VALUES = 10_000
"""Of one object, counted through all levels."""


def frozen_object(value: Mapping[str, Any] | None) -> FrozenMap[Any]:
    """A JSON object, objects as ``FrozenMap`` and lists as tuples, with every problem under its path.

    Raises ``ValidationError``.
    """
    if value is None:
        return EMPTY
    if not isinstance(value, Mapping):
        raise ValidationError.single("", f"must be an object, not {type(value).__name__}")
    reader = _Reader()
    frozen = reader.read(value, "", 0)
    if reader.problems:
        raise ValidationError(reader.problems)
    result: FrozenMap[Any] = frozen
    return result


def thawed(value: Any) -> Any:
    """The same as dictionaries and lists, for ``json.dumps``."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thawed(item) for item in value]
    return value


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._values = 0

    def read(self, value: Any, path: str, depth: int) -> Any:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            if self._values <= MAX_VALUES + 1:
                cause = f"is more than {MAX_DEPTH} levels deep or has more than {MAX_VALUES} values"
                self.problems.append(Problem(path, cause))
            return None
        if isinstance(value, Mapping):
            return self._object(value, path, depth)
        if isinstance(value, list | tuple):
            return tuple(self.read(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
        if isinstance(value, str):
            return self._text(value, path)
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        self.problems.append(Problem(path, f"must be a JSON value, not {type(value).__name__}"))
        return None

    def _object(self, value: Mapping[Any, Any], path: str, depth: int) -> FrozenMap[Any]:
        items: dict[str, Any] = {}
        for key, item in value.items():
            below = f"{path}[{str(key)[:80]!r}]"
            if not isinstance(key, str):
                self.problems.append(Problem(below, "is not text, as a key must be"))
                continue
            self._text(key, below)
            items[key] = self.read(item, below, depth + 1)
        return FrozenMap(items)

    def _text(self, value: str, path: str) -> str:
        try:
            return text.body_text(value)
        except ValidationError as error:
            self.problems.extend(error.under(path))
            return ""
