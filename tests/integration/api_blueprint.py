"""What an API Blueprint says of the fields of an object, as JSON Schema: MSON, as far as SparkPost uses it."""

from __future__ import annotations

import re
from typing import Any

import attrs

_HEADING = re.compile(r"^#+ ", re.MULTILINE)
_FIELD = re.compile(r"^( *)\+ (?:(\w+) )?\(([^)]+)\)", re.MULTILINE)
_INDENT = 4
_TYPES = {"string", "boolean", "object", "array"}


@attrs.define
class _Field:
    """``+ name (type, required)``, and the fields set in below it; one of several types has no name."""

    depth: int
    name: str | None
    types: list[str]
    below: list[_Field] = attrs.Factory(list)

    @property
    def required(self) -> bool:
        return "required" in self.types[1:]

    def schema(self) -> dict[str, Any]:
        kind, _, of = self.types[0].partition("[")
        if kind == "enum":
            return {"anyOf": [each.schema() for each in self.below]}
        assert kind in _TYPES, kind
        if of:
            return {"type": kind, "items": {"type": of.rstrip("]")}}
        return object_of(self.below) if kind == "object" and self.below else {"type": kind}


def object_of(fields: list[_Field]) -> dict[str, Any]:
    """An object of these fields and no others."""
    named = {field.name: field for field in fields if field.name}
    required = [name for name, field in named.items() if field.required]
    made: dict[str, Any] = {"type": "object", "additionalProperties": False}
    made["properties"] = {name: field.schema() for name, field in named.items()}
    return made | ({"required": required} if required else {})


def fields_under(blueprint: str, heading: str) -> list[_Field]:
    """The fields of the first list below a heading."""
    _, found, rest = blueprint.partition(f"\n{heading}\n")
    assert found, heading
    end = _HEADING.search(rest)
    listed = rest[: end.start() if end else None].partition("+ Data Structure")[2].partition("\n+ ")[0]
    top: list[_Field] = []
    open_: list[_Field] = []
    for indent, name, types in _FIELD.findall(listed):
        field = _Field(len(indent) // _INDENT, name or None, [each.strip() for each in types.split(",")])
        while open_ and open_[-1].depth >= field.depth:
            open_.pop()
        (open_[-1].below if open_ else top).append(field)
        open_.append(field)
    assert top, heading
    return top
