"""What reference pages say of the code: hooks, errors, classes, functions and commands."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

import attrs
import click

import genie_connect
from docs.tables import markdown, table
from genie_connect import errors
from genie_connect.cli.app import app
from genie_connect.cli.exit_codes import MEANINGS
from genie_connect.hookspecs import REQUIRED_HOOKS, ConnectorSpec
from genie_connect.model.validation import external_name


def hooks(spec: type[Any]) -> str:
    rows = []
    for name, function in _functions(spec):
        arguments = ", ".join(list(inspect.signature(function).parameters)[1:])
        required = ("required" if name in REQUIRED_HOOKS else "optional",) if spec is ConnectorSpec else ()
        rows.append((f"`{name}({arguments})`", *required, markdown(function.__doc__)))
    columns = ("Hook", "", "What it does") if spec is ConnectorSpec else ("Hook", "When")
    return table(columns, rows)


def _functions(cls: type[Any]) -> list[tuple[str, Any]]:
    return [
        (name, value) for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")
    ]


def error_tree() -> str:
    tree = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    return f"```text\n{inspect.cleandoc(tree)}\n```"


def error_table() -> str:
    rows = []
    for name in sorted(errors.__all__):
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, Exception):
            fields = [field for field in inspect.signature(cls).parameters if field not in ("message", "hint", "plan")]
            extra = ["plan"] if name == "NoConnection" else fields
            rows.append(
                (f"`{name}`", f"`{cls.code}`", ", ".join(f"`{field}`" for field in extra), markdown(cls.__doc__))
            )
    return table(("Class", "`code`", "Fields beside `message` and `hint`", "Meaning"), rows)


def fields(cls: type[Any]) -> str:
    hints = get_type_hints(cls)
    rows = [
        (f"`{external_name(field.name)}`", _type(hints[field.name]), _default(field))
        for field in attrs.fields(cls)
        if not field.name.startswith("_")
    ]
    return table(("Field", "Type in JSON", "Default"), rows)


_JSON_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "datetime": "time with zone, `2026-11-23T10:00:00+00:00`",
    "Address": "address, `Ada <ada@example.com>`",
    "NoneType": "null",
    "Any": "anything",
    "Outcomes": "object: outcome by recipient",
    "Plan": "object: plan",
}


def _type(hint: Any) -> str:
    arguments = getattr(hint, "__args__", ())
    origin = getattr(hint, "__origin__", None)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is not None:
        return f"object: {_type(arguments[0])} by name"
    if arguments:
        if "FileContent" in {getattr(item, "__name__", "") for item in arguments}:
            return "base64 text"
        return " or ".join(dict.fromkeys(_type(item) for item in arguments))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    name = getattr(hint, "__name__", str(hint))
    return _JSON_TYPES.get(name, f"object: {name.lower()}")


def _default(field: attrs.Attribute[Any]) -> str:
    default = field.default
    if default is attrs.NOTHING:
        return "required"
    if default is None or isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # Factory is a class at run time
        return "null" if default is None else "empty"
    if isinstance(default, enum.Enum):
        return f"`{default.value}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "empty" if default in ((), "") or default == {} else f"`{default}`"


def commands() -> str:
    root = click.Context(app, info_name="genie-connect")
    sections = [_options(app, root, "Options of every command")]
    for name in app.list_commands(root):
        command = app.get_command(root, name)
        if command is not None:
            sections += _command(command, click.Context(command, parent=root, info_name=name), 2)
    return "\n\n".join(sections)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    description = inspect.cleandoc(command.help or "").replace("\b\n", "")
    yield f"{'#' * level} `{context.command_path}`\n\n```text\n{context.command_path} {usage}\n```\n\n{description}"
    options = _options(command, context, "")
    if options:
        yield options
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _command(below, click.Context(below, parent=context, info_name=name), level + 1)


def _options(command: click.Command, context: click.Context, title: str) -> str:
    records = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
    ]
    if not records:
        return ""
    rows = [(f"`{names}`", " ".join(text.split())) for names, text in records]
    return (f"## {title}\n\n" if title else "") + table(("Option", "Meaning"), rows)


def exit_codes() -> str:
    return table(("Code", "Meaning"), [(f"`{code.value}`", meaning) for code, meaning in MEANINGS])


def api() -> str:
    return "\n\n".join(_entry(name, getattr(genie_connect, name)) for name in sorted(genie_connect.__all__))


def _entry(name: str, thing: Any) -> str:
    parts = [f"## `{name}`"]
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        parts.append(markdown(thing.__doc__))
        parts.append("Values: " + ", ".join(f"`{member.value}`" for member in thing) + ".")
    elif inspect.isclass(thing):
        if not issubclass(thing, Exception):
            parts.append(f"```text\n{name}{_signature(thing)}\n```")
        parts += _paragraphs(thing)
        members = [f"- {_member(member, value)}" for member, value in _public(thing)]
        parts.append("\n".join(members))
    elif callable(thing) and not isinstance(thing, type):
        if inspect.isfunction(thing):
            parts.append(f"```text\n{name}{_signature(thing)}\n```")
            parts += _paragraphs(thing)
        else:
            parts.append("The pluggy marker for functions that implement a hook.")
    return "\n\n".join(part for part in parts if part)


def _paragraphs(thing: Any) -> list[str]:
    """The paragraphs of a docstring, without its examples."""
    whole = inspect.cleandoc(thing.__doc__ or "").split("\n\n")
    return [markdown(paragraph) for paragraph in whole if not paragraph.startswith((" ", "::"))]


def _public(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, value in vars(cls).items():
        if not name.startswith("_") and (
            isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
        ):
            yield name, value


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        return f"`{name}`: {markdown(value.__doc__)}"
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    asynchronous = "await " if inspect.iscoroutinefunction(function) else ""
    return f"`{asynchronous}{name}{_signature(function, bound=True)}`: {markdown(function.__doc__)}"


def _signature(thing: Any, *, bound: bool = False) -> str:
    signature = inspect.signature(thing)
    parameters = list(signature.parameters.values())
    if bound and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    shown = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=inspect.Parameter.empty if parameter.default is inspect.Parameter.empty else _Shown(parameter),
        )
        for parameter in parameters
        if not parameter.name.startswith("_")
    ]
    return str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty))


class _Shown:
    """A default as it is to be read: no memory address, no module path."""

    def __init__(self, parameter: inspect.Parameter) -> None:
        default = parameter.default
        if isinstance(default, enum.Enum):
            self._text = f"{type(default).__name__}.{default.name}"
        elif isinstance(default, str | int | float | tuple | None):
            self._text = repr(default)
        else:
            self._text = getattr(default, "__name__", "...")

    def __repr__(self) -> str:
        return self._text
