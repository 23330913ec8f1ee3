"""JSON in and out for every value of the model, on cattrs.

cattrs converts generously by default (``"false"`` becomes ``True``, ``"abc"`` a tuple of letters). What enters here is
taken strictly instead: each value has its one form in JSON, unknown keys are refused, and all problems of an object are
reported at once, each with its path.
"""

from __future__ import annotations

import base64
import binascii
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, Union

import attrs

from genie_connect.errors import Problem, ValidationError
from genie_connect.model.address import Address
from genie_connect.model.attachment import FileContent
from genie_connect.model.batch import Batch, Cleared, Delivery
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import Outcome, Outcomes
from genie_connect.model.secret import MASK, Secret
from genie_connect.model.validation import Rejected, external_name

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")
_PLAIN = frozenset({str, int, float, bool, type(None)})
"""What is the same in JSON, of these very types."""
_COLLECTIONS = frozenset({tuple, FrozenMap})
_TIME_FORM = "write it as 2026-11-23T10:00:00+00:00"


def structure(cls: type[T], data: Any) -> T:
    """A value of ``cls`` from what ``json.loads`` gives. Raises ``ValidationError`` with every problem found.

    ``Batch`` and ``Delivery`` are not made from data: their recipients must pass the suppression gate.
    """
    return _converter().structure(data, cls)


def unstructure(value: Any) -> Any:
    """Plain data that ``json.dumps`` takes. Secrets come out masked."""
    return _converter().unstructure(value)


def unstructure_said(value: Any) -> dict[str, Any]:
    """The same of an attrs value, without the fields that are empty.

    ``structure`` makes the same value of it where whatever may be empty is so by default.
    """
    convert = _converter().unstructure
    cls: Any = type(value)
    said: dict[str, Any] = {}
    for key, name, hint in _written(cls):
        item = getattr(value, name)
        kind = type(item)
        if kind is str:
            said[key] = item
        elif item is not None and (item or kind not in _COLLECTIONS):
            said[key] = item if kind in _PLAIN else convert(item, unstructure_as=hint)
    return said


@cache
def _converter() -> Converter:
    # Imported and made on first use: a quarter of the core's start, and a process that only sends may never need it.
    from cattrs import Converter

    converter = Converter(prefer_attrib_converters=True)
    for primitive, noun in ((str, "text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(primitive, _exactly(primitive, noun))
    for enum in (Enum, StrEnum, IntEnum):
        # cattrs dispatches along the method resolution order, where str and int come before Enum itself.
        converter.register_structure_hook(enum, _enum)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(bytes, _bytes)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(Address, lambda data, _: Address.parse(data))
    converter.register_structure_hook_func(lambda hint: hint is Any, lambda data, _: data)
    converter.register_structure_hook_func(lambda hint: hint == bytes | FileContent, _bytes)
    converter.register_structure_hook_factory(_is_tuple, _tuple(converter))
    converter.register_structure_hook_factory(_is_optional, _optional(converter))
    converter.register_structure_hook_factory(_is_frozen_map, _frozen_map(converter))
    converter.register_structure_hook(Outcomes, _outcomes(converter))
    converter.register_structure_hook_factory(_is_object, _attrs(converter))
    for cleared in (Cleared, Delivery, Batch):
        converter.register_structure_hook(cleared, _refuse_cleared)
    converter.register_unstructure_hook(bytes, _base64)
    converter.register_unstructure_hook(FileContent, lambda content: _base64(b"".join(content.chunks())))
    converter.register_unstructure_hook_func(lambda hint: hint == bytes | FileContent, _content)
    converter.register_unstructure_hook(datetime, lambda time: time.astimezone(UTC).isoformat())
    converter.register_unstructure_hook(Address, str)
    converter.register_unstructure_hook(Cleared, lambda cleared: str(cleared.address))
    converter.register_unstructure_hook(Secret, lambda secret: secret.reference or MASK)
    converter.register_unstructure_hook_func(
        lambda hint: hint is FrozenMap or _is_frozen_map(hint),
        lambda items: {key: converter.unstructure(item) for key, item in items.items()},
    )
    converter.register_unstructure_hook(
        Outcomes, lambda outcomes: {email: converter.unstructure(outcome) for email, outcome in outcomes.items()}
    )
    converter.register_unstructure_hook_factory(_is_object, _to_dict(converter))
    return converter


def _exactly(primitive: type, noun: str) -> Callable[[Any, Any], Any]:
    def check(data: Any, _: Any) -> Any:
        if not isinstance(data, primitive) or (isinstance(data, bool) and primitive is not bool):
            raise ValidationError.single("", f"must be {noun}, not {_json_name(data)}")
        return data

    return check


def _number(data: Any, _: Any) -> float:
    if not isinstance(data, int | float) or isinstance(data, bool):
        raise ValidationError.single("", f"must be a number, not {_json_name(data)}")
    return float(data)


def _bytes(data: Any, _: Any) -> bytes:
    if not isinstance(data, str):
        raise ValidationError.single("", f"must be base64 text, not {_json_name(data)}")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ValidationError.single("", "is not base64", "encode the bytes; a path or URL is never read") from None


def _time(data: Any, _: Any) -> datetime:
    try:
        time = datetime.fromisoformat(data)
    except (TypeError, ValueError):
        raise ValidationError.single("", f"{data!r:.40} is not a time", _TIME_FORM) from None
    if time.tzinfo is None:
        raise ValidationError.single("", "has no time zone", _TIME_FORM)
    return time.astimezone(UTC)


def _enum(data: Any, hint: Any) -> Any:
    try:
        return hint(data)
    except ValueError:
        choices = ", ".join(str(member.value) for member in hint)
        raise ValidationError.single("", f"{data!r:.40} is not one of the choices", f"use {choices}") from None


def _is_tuple(hint: Any) -> bool:
    origin: object = typing.get_origin(hint)
    return origin is tuple


def _is_object(hint: Any) -> bool:
    return attrs.has(hint) and hint is not Address


def _tuple(converter: Converter) -> Callable[[Any], Callable[[Any, Any], Any]]:
    def factory(hint: Any) -> Callable[[Any, Any], Any]:
        item = typing.get_args(hint)[0]

        def convert(data: Any, _: Any) -> tuple[Any, ...]:
            if item is Address and isinstance(data, str):
                data = [data]
            if not isinstance(data, list | tuple):
                raise ValidationError.single("", f"must be a list, not {_json_name(data)}")
            return tuple(_gather(((f"[{index}]", value, item) for index, value in enumerate(data)), converter).values())

        return convert

    return factory


def _is_optional(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType) and type(None) in typing.get_args(hint)


def _optional(converter: Converter) -> Callable[[Any], Callable[[Any, Any], Any]]:
    def factory(hint: Any) -> Callable[[Any, Any], Any]:
        inner = typing.get_args(hint)[0]
        return lambda data, _: None if data is None else converter.structure(data, inner)

    return factory


def _is_frozen_map(hint: Any) -> bool:
    return typing.get_origin(hint) is FrozenMap


def _frozen_map(converter: Converter) -> Callable[[Any], Callable[[Any, Any], Any]]:
    def factory(hint: Any) -> Callable[[Any, Any], Any]:
        item = typing.get_args(hint)[0]

        def convert(data: Any, _: Any) -> FrozenMap[Any]:
            if not isinstance(data, Mapping):
                raise ValidationError.single("", f"must be an object, not {_json_name(data)}")
            return FrozenMap(_gather(((key, value, item) for key, value in data.items()), converter))

        return convert

    return factory


def _outcomes(converter: Converter) -> Callable[[Any, Any], Outcomes]:
    def convert(data: Any, _: Any) -> Outcomes:
        if not isinstance(data, Mapping):
            raise ValidationError.single("", f"must be an object, not {_json_name(data)}")
        # The recipient is the key; the object repeats it only where somebody wrote it there.
        whole = {email: {"recipient": email, **value} for email, value in data.items()}
        return Outcomes(_gather(((email, value, Outcome) for email, value in whole.items()), converter))

    return convert


def _attrs(converter: Converter) -> Callable[[Any], Callable[[Any, Any], Any]]:
    def factory(cls: Any) -> Callable[[Any, Any], Any]:
        hints = typing.get_type_hints(cls)
        fields = {external_name(field.name): field for field in attrs.fields(cls) if field.init}

        def convert(data: Any, _: Any) -> Any:
            if isinstance(data, cls):
                return data
            if not isinstance(data, Mapping):
                raise ValidationError.single("", f"must be an object, not {_json_name(data)}")
            arguments: dict[str, Any] = {}
            unknown = [str(key) for key in data if key not in fields]
            problems = [Problem(key, "is not a field", f"the fields are {', '.join(fields)}") for key in unknown]
            for name, field in fields.items():
                if name in data:
                    arguments[field.name] = _one(converter, data[name], hints[field.name])
                elif field.default is attrs.NOTHING:
                    arguments[field.name] = Rejected((Problem("", "is missing"),))
            raise_all(cls, arguments, problems)
            return cls(**arguments)

        return convert

    return factory


def raise_all(cls: Any, arguments: dict[str, Any], problems: list[Problem]) -> None:
    """Raise for what structuring refused, together with what the class itself refuses in the other fields."""
    refused = {name: value for name, value in arguments.items() if isinstance(value, Rejected)}
    if not refused and not problems:
        return
    for name, value in refused.items():
        problems.extend(problem.under(external_name(name)) for problem in value.problems)
    good = {name: value for name, value in arguments.items() if name not in refused}
    stand_ins = dict.fromkeys(refused, Rejected(()))
    try:
        cls(**good, **stand_ins)
    except ValidationError as error:
        problems.extend(error.problems)
    except (TypeError, ValueError, AttributeError):
        pass  # a class without field checks of its own cannot be made with stand-ins, and has nothing to add
    raise ValidationError(problems, what=cls.__name__.lower())


def _one(converter: Converter, data: Any, hint: Any) -> Any:
    try:
        return converter.structure(data, hint)
    except ValidationError as error:
        return Rejected(error.problems)


def _gather(items: Iterable[tuple[str, Any, Any]], converter: Converter) -> dict[str, Any]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for path, data, hint in items:
        value = _one(converter, data, hint)
        if isinstance(value, Rejected):
            problems.extend(problem.under(path) for problem in value.problems)
        values[path] = value
    if problems:
        raise ValidationError(problems)
    return values


def _refuse_cleared(data: Any, _: Any) -> Any:
    raise ValidationError.single("", "is not made from data: its recipients must pass the suppression gate")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _content(content: bytes | FileContent) -> str:
    return _base64(content if isinstance(content, bytes) else b"".join(content.chunks()))


@cache
def _written(cls: Any) -> tuple[tuple[str, str, Any], ...]:
    """The fields that are written: their names in JSON and in the class, and the hint of those that need it."""
    hints = typing.get_type_hints(cls)
    return tuple(
        (external_name(field.name), field.name, hint if _is_frozen_map(hint) else None)
        for field in attrs.fields(cls)
        if not field.name.startswith("_")
        for hint in (hints[field.name],)
    )


def _to_dict(converter: Converter) -> Callable[[Any], Callable[[Any], dict[str, Any]]]:
    def factory(cls: Any) -> Callable[[Any], dict[str, Any]]:
        names = _written(cls)

        def convert(value: Any) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for key, name, as_hint in names:
                item = getattr(value, name)
                kind = type(item)
                if kind in _PLAIN:
                    made[key] = item
                elif kind is tuple and not item:
                    made[key] = []
                elif kind is FrozenMap and not item:
                    made[key] = {}
                else:
                    made[key] = converter.unstructure(item, unstructure_as=as_hint)
            return made

        return convert

    return factory


def _json_name(data: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(data), "a number" if isinstance(data, int | float) else type(data).__name__)
