"""JSON Schema 2020-12 and a docs table from a settings class."""

from __future__ import annotations

import typing
from typing import Any

import attrs

from genie_connect.model.address import Address
from genie_connect.model.secret import Secret
from genie_connect.model.settings import (
    SettingInfo,
    choices_of,
    field_types,
    info_of,
    plain,
    without_none,
)
from genie_connect.model.validation import external_name

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Address: {"type": "string"},
    Secret: {"type": "string"},
}


def json_schema(cls: type[Any], *, title: str = "") -> dict[str, Any]:
    """The schema of a settings class, with ``x-`` hints for forms (order, group, titles of choices, show-if)."""
    types = field_types(cls)
    fields = attrs.fields(cls)
    properties = {
        external_name(field.name): _property(field, types[field.name], order) for order, field in enumerate(fields)
    }
    required = [external_name(field.name) for field in fields if field.default is attrs.NOTHING]
    schema: dict[str, Any] = {"$schema": DIALECT, "type": "object"}
    if title:
        schema["title"] = title
    schema["properties"] = properties
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def settings_table(cls: type[Any]) -> str:
    """A Markdown table of the settings, for the connector's docs page."""
    types = field_types(cls)
    lines = ["| Setting | Type | Default | Meaning |", "|---|---|---|---|"]
    for field in attrs.fields(cls):
        info = info_of(field)
        kind = _kind_in_words(types[field.name], info)
        default = "required" if field.default is attrs.NOTHING else _default_in_words(field.default)
        meaning = f"{info.title}. {info.help}".strip().replace("|", "\\|")
        lines.append(f"| `{external_name(field.name)}` | {kind} | {default} | {meaning} |")
    return "\n".join(lines)


def _property(field: attrs.Attribute[Any], hint: Any, order: int) -> dict[str, Any]:
    info = info_of(field)
    inner, optional = without_none(hint)
    schema = _type_schema(inner, info)
    if optional:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    schema["title"] = info.title
    if info.help:
        schema["description"] = info.help
    if info.secret or inner is Secret:
        schema |= {"writeOnly": True, "format": "password"}
    if field.default is not attrs.NOTHING and not isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        schema["default"] = plain(field.default)
    if info.example is not None:
        schema["examples"] = [info.example]
    schema |= _hints(info)
    schema["x-order"] = order
    return schema


def _type_schema(hint: Any, info: SettingInfo) -> dict[str, Any]:
    choices = choices_of(hint)
    if choices:
        schema: dict[str, Any] = {"type": "string", "enum": list(choices)}
        if info.titles:
            schema["x-enum-titles"] = dict(info.titles)
        return schema
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _type_schema(typing.get_args(hint)[0], info)}
    schema = dict(_SCALARS[hint])
    if schema["type"] == "string" and hint is not Secret:
        schema |= {"minLength": 1, "maxLength": info.max_length}
    if info.minimum is not None:
        schema["minimum"] = info.minimum
    if info.maximum is not None:
        schema["maximum"] = info.maximum
    return schema


def _hints(info: SettingInfo) -> dict[str, Any]:
    hints: dict[str, Any] = {"x-group": info.group}
    if info.placeholder:
        hints["x-placeholder"] = info.placeholder
    if info.show_if:
        hints["x-show-if"] = dict(info.show_if)
    return hints


def _kind_in_words(hint: Any, info: SettingInfo) -> str:
    inner, _ = without_none(hint)
    choices = choices_of(inner)
    if choices:
        return " or ".join(f"`{choice}`" for choice in choices)
    if typing.get_origin(inner) is tuple:
        return "list of " + _kind_in_words(typing.get_args(inner)[0], info)
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", Secret: "secret"}
    return words.get(inner, "address")


def _default_in_words(default: Any) -> str:
    if default is None or default == ():
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else plain(default)}`"
