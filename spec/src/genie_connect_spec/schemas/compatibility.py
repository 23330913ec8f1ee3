"""What a newer schema takes away from those who rely on the older one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_NARROWING: Final = ("minLength", "minimum", "minItems")
_WIDENING: Final = ("maxLength", "maximum", "maxItems")


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every way in which data that fits one of them may no longer do so, or lacks what was promised.

    A property, a type or a choice may not go, and nothing may become required. What is added harms nobody.
    """
    return list(_breaks(old, new, old, new, ""))


def _breaks(
    old: Mapping[str, Any], new: Mapping[str, Any], old_root: Mapping[str, Any], new_root: Mapping[str, Any], path: str
) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    where = path or "the whole"
    lost = _kinds(old, old_root) - _kinds(new, new_root) if _kinds(new, new_root) else frozenset()
    if lost:
        yield f"{where}: is no longer {', '.join(sorted(lost))}"
    for choice in old.get("enum", ()):
        if "enum" in new and choice not in new["enum"]:
            yield f"{where}: {choice!r} is no longer a choice"
    if "enum" in new and "enum" not in old and "properties" not in old and old.get("type"):
        yield f"{where}: has become a choice"
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            yield f"{path}.{name}: has become required".lstrip(".")
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{where}: no longer takes other fields"
    for name, value in old.get("properties", {}).items():
        below = f"{path}.{name}".lstrip(".")
        if name not in new.get("properties", {}):
            yield f"{below}: is gone"
        else:
            yield from _breaks(value, new["properties"][name], old_root, new_root, below)
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
            yield from _breaks(old[key], new[key], old_root, new_root, f"{path}[]")
    yield from _limits(old, new, where)


def _limits(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Iterator[str]:
    for key in _NARROWING:
        if key in new and new[key] > old.get(key, float("-inf")):
            yield f"{where}: {key} has grown to {new[key]}"
    for key in _WIDENING:
        if key in new and new[key] < old.get(key, float("inf")):
            yield f"{where}: {key} has shrunk to {new[key]}"


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    if not reference:
        return schema
    found: Mapping[str, Any] = root["$defs"][reference.rpartition("/")[2]]
    return found


def _kinds(schema: Mapping[str, Any], root: Mapping[str, Any]) -> frozenset[str]:
    """The types that it takes; none where it takes all."""
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        return frozenset().union(*(_kinds(each, root) for each in schema["anyOf"]))
    given = schema.get("type", ())
    return frozenset({given} if isinstance(given, str) else given)
