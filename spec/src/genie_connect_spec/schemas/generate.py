"""A schema from a class of the model, as ``genie_connect.model.codec`` writes and reads it."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from typing import Any, Final, Union

import attrs

from genie_connect.contract import ConnectorInfo
from genie_connect.model.address import Address
from genie_connect.model.attachment import FileContent
from genie_connect.model.batch import Batch, Cleared
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.diagnosis import Diagnosis, Step
from genie_connect.model.event import Event
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Outcomes
from genie_connect.model.receipt import Receipt
from genie_connect.model.schema import DIALECT
from genie_connect.model.validation import external_name

VALUES: Final[dict[str, type[Any]]] = {
    "message": Message,
    "batch": Batch,
    "outcome": Outcome,
    "receipt": Receipt,
    "event": Event,
    "capability-table": CapabilityTable,
    "diagnosis": Diagnosis,
    "step": Step,
    "connector-info": ConnectorInfo,
}
"""What has a schema, by the name of its file."""
STRICT: Final = frozenset({"message"})
"""What a program writes for us to read: a field that we do not know is a mistake. What we write may get more fields."""

_ADDRESS: Final = {"type": "string", "description": "local@domain, or with a name: Ada <ada@example.com>"}
_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    datetime: {"type": "string", "format": "date-time"},
    Address: _ADDRESS,
    Cleared: _ADDRESS,
    Any: {},
}
_SETTINGS: Final = {"type": "object", "description": "the JSON Schema of the connector's settings"}


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by the name of its file."""
    made = {name: _whole(name, cls) for name, cls in VALUES.items()}
    return {**made, "settings-hints": _hints()}


def _whole(name: str, cls: type[Any]) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    own = _object(cls, definitions, strict=name in STRICT)
    definitions.pop(cls.__name__, None)
    schema: dict[str, Any] = {"$schema": DIALECT, "title": cls.__name__, **own}
    if definitions:
        schema["$defs"] = dict(sorted(definitions.items()))
    return schema


def _object(cls: type[Any], definitions: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in _fields(cls):
        name = external_name(field.name)
        hint = hints[field.name]
        properties[name] = _SETTINGS if hint == type[Any] else _of(hint, definitions, strict=strict)
        if field.default is attrs.NOTHING:
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if strict:
        schema["additionalProperties"] = False
    return schema


def _fields(cls: type[Any]) -> Iterator[attrs.Attribute[Any]]:
    return (field for field in attrs.fields(cls) if not field.name.startswith("_"))


def _of(hint: Any, definitions: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if hint == bytes | FileContent:
        return dict(_PLAIN[bytes])
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(each, definitions, strict=strict) for each in typing.get_args(hint)]}
    inner: Callable[[], dict[str, Any]] = lambda: _of(typing.get_args(hint)[0], definitions, strict=strict)  # noqa: E731
    if origin is tuple:
        several = {"type": "array", "items": inner()}
        # One address may stand where several can.
        return {"anyOf": [several, dict(_ADDRESS)]} if strict and typing.get_args(hint)[0] is Address else several
    if origin is FrozenMap:
        return {"type": "object", "additionalProperties": inner()}
    if hint is Outcomes:
        return {"type": "object", "additionalProperties": _named(Outcome, definitions, strict=strict)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    return _named(hint, definitions, strict=strict)


def _named(cls: type[Any], definitions: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}  # in case that it holds itself
        definitions[cls.__name__] = _object(cls, definitions, strict=strict)
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _hints() -> dict[str, Any]:
    """What a form finds beside the type in the schema of a setting."""
    text = {"type": "string"}
    return {
        "$schema": DIALECT,
        "title": "Hints of a setting",
        "type": "object",
        "properties": {
            "title": text,
            "description": text,
            "default": {},
            "examples": {"type": "array"},
            "writeOnly": {"const": True, "description": "it is a secret, and never shown"},
            "format": {"type": "string"},
            "minimum": {"type": "number"},
            "maximum": {"type": "number"},
            "x-order": {"type": "integer", "minimum": 0},
            "x-group": {"enum": ["basic", "auth", "webhooks", "advanced"]},
            "x-placeholder": text,
            "x-show-if": {"type": "object", "description": "another setting, and the value at which this one matters"},
            "x-enum-titles": {"type": "object", "additionalProperties": text},
        },
        "required": ["title", "x-order", "x-group"],
    }
