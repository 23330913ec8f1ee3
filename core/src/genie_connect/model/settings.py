"""Settings of a connection: one class is the source of validation, schema, redacted repr and docs.

::

    @settings
    class AcmeSettings:
        api_key: Secret = setting(title="API key", secret=True, help="Acme > Account > Keys")
        region: Literal["eu", "us"] = setting(title="Region", default="eu")

Types that can be used: ``str``, ``int``, ``float``, ``bool``, ``Secret``, ``Address``, ``Literal``, ``StrEnum``,
``tuple[T, ...]``, and each of them ``| None``. Nothing is converted silently: ``"false"`` is not a boolean, ``"587"``
is not a number.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, TypeVar, Union, dataclass_transform

import attrs

from genie_connect.errors import Problem, SettingsError, ValidationError
from genie_connect.model import text
from genie_connect.model.address import Address
from genie_connect.model.secret import MASK, Secret
from genie_connect.model.validation import Rejected, external_name, settle

_KEY = "genie_connect.setting"
C = TypeVar("C")


@attrs.frozen(kw_only=True)
class SettingInfo:
    """What is known of a setting beside its type."""

    title: str
    help: str = ""
    group: str = "basic"
    secret: bool = False
    example: Any = None
    placeholder: str = ""
    minimum: float | None = None
    maximum: float | None = None
    max_length: int = 1000
    titles: Mapping[str, str] = attrs.field(factory=dict)
    check: Callable[[Any], str | None] | None = None
    show_if: Mapping[str, Any] = attrs.field(factory=dict)


def setting(
    *,
    title: str,
    help: str = "",  # noqa: A002  # the word every form uses
    group: str = "basic",
    default: Any = attrs.NOTHING,
    secret: bool = False,
    example: Any = None,
    placeholder: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    max_length: int = 1000,
    titles: Mapping[str, str] | None = None,
    check: Callable[[Any], str | None] | None = None,
    show_if: Mapping[str, Any] | None = None,
) -> Any:
    """A field of a settings class.

    ``titles`` names the choices of a ``Literal`` or enum for people. ``check`` gets the converted value and returns
    what is wrong with it, or ``None``. ``group`` is ``basic``, ``auth``, ``webhooks`` or ``advanced``. ``show_if`` maps
    another setting to the value at which this one matters.
    """
    info = SettingInfo(
        title=title,
        help=help,
        group=group,
        secret=secret,
        example=example,
        placeholder=placeholder,
        minimum=minimum,
        maximum=maximum,
        max_length=max_length,
        titles=dict(titles or {}),
        check=check,
        show_if=dict(show_if or {}),
    )
    return attrs.field(default=default, metadata={_KEY: info})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
def settings(cls: type[C]) -> type[C]:
    """Make a settings class: frozen, keyword-only, every field checked, secrets hidden.

    A method ``rules(self)`` may yield a ``Problem`` for each combination that cannot work; it runs once all fields
    are good.
    """

    def finish(self: Any) -> None:
        try:
            settle(self, getattr(self, "rules", None))
        except ValidationError as error:
            raise SettingsError(error.problems) from None

    namespace: Any = cls
    namespace.__attrs_post_init__ = finish
    namespace.__repr__ = _redacted_repr
    return attrs.frozen(kw_only=True, repr=False, field_transformer=_with_converters)(cls)


def structure_settings(cls: type[C], data: Mapping[str, Any], *, connector: str = "") -> C:
    """Settings from plain data. Raises ``SettingsError`` with every problem found, unknown keys among them."""
    if not isinstance(data, Mapping):
        raise SettingsError([Problem("", f"must be a table, not {type(data).__name__}")], connector=connector)
    known = {external_name(field.name): field for field in attrs.fields(cls)}  # type: ignore[arg-type]  # any attrs class
    unknown = [str(key) for key in data if key not in known]
    problems = [Problem(key, "is not a setting of this connector", _nearest(key, known)) for key in unknown]
    arguments: dict[str, Any] = {}
    for name, field in known.items():
        if name in data:
            arguments[field.name] = data[name]
        elif field.default is attrs.NOTHING:
            arguments[field.name] = Rejected((Problem("", "is missing", f"give {info_of(field).title}"),))
    try:
        result = cls(**arguments)
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems], connector=connector) from None
    if problems:
        raise SettingsError(problems, connector=connector)
    return result


def is_settings(cls: object) -> bool:
    """Whether it is a class made with ``@settings``."""
    return isinstance(cls, type) and attrs.has(cls) and vars(cls).get("__repr__") is _redacted_repr


def info_of(field: attrs.Attribute[Any]) -> SettingInfo:
    """What is known of a setting; raises ``TypeError`` for a field that ``setting`` did not make."""
    info = field.metadata.get(_KEY)
    if not isinstance(info, SettingInfo):
        raise TypeError(f"the field {field.name!r} must be made with setting(...)")
    return info


WEBHOOKS: Final = "webhooks"
"""The group of what a connection needs to read its provider's webhooks."""


def in_group(cls: type[Any], group: str) -> dict[str, attrs.Attribute[Any]]:
    """The settings of a group that may be left out, by name."""
    optional = [field for field in attrs.fields(cls) if field.default is not attrs.NOTHING]
    return {field.name: field for field in optional if info_of(field).group == group}


def derived(
    name: str,
    fields: Mapping[str, attrs.Attribute[Any]],
    of: type[Any],
    *,
    base: type[Any] | None = None,
    rules: Callable[[Any], Iterable[Problem]] | None = None,
) -> type[Any]:
    """A settings class with some fields ``of`` another one, and those of ``base``."""
    hints = field_types(of)
    namespace: dict[str, Any] = {
        field: attrs.field(default=known.default, metadata=dict(known.metadata)) for field, known in fields.items()
    }
    namespace |= {"__annotations__": {field: hints[field] for field in fields}, "__module__": of.__module__}
    namespace["__doc__"] = f"Settings, with those of {of.__name__} for webhooks."
    if rules is not None:
        namespace["rules"] = rules
    return settings(type(name, () if base is None else (base,), namespace))


def lonely_predecessors(instance: Any) -> Iterable[Problem]:
    """A ``previous_...`` secret that stands there without the one that took its place."""
    names = attrs.fields_dict(type(instance))
    for name in names:
        current = name.removeprefix("previous_")
        known = current != name and current in names
        if known and getattr(instance, name) is not None and getattr(instance, current) is None:
            yield Problem(name, "is given without a current one", f"give {current}")


def redacted(instance: Any) -> dict[str, Any]:
    """The settings as plain data, secrets masked; references to secrets stay readable."""
    return {external_name(field.name): plain(getattr(instance, field.name)) for field in attrs.fields(type(instance))}


def field_types(cls: type[Any]) -> dict[str, Any]:
    """The type of each setting, annotations resolved."""
    return {name: hint for name, hint in typing.get_type_hints(cls).items() if name in attrs.fields_dict(cls)}


def without_none(hint: Any) -> tuple[Any, bool]:
    """The type without ``None``, and whether ``None`` was in it."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [item for item in typing.get_args(hint) if item is not type(None)]
        if len(rest) != 1:
            raise TypeError(f"{hint} is not a type that a setting can have")
        return rest[0], True
    return hint, False


def choices_of(hint: Any) -> tuple[str, ...]:
    """The choices of a ``Literal`` or string enum in their order, or nothing."""
    if typing.get_origin(hint) is Literal:
        return tuple(str(choice) for choice in typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return tuple(member.value for member in hint)
    return ()


def _with_converters(cls: type[Any], fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    resolved: dict[str, Any] = {}

    def converter(name: str, info: SettingInfo) -> Callable[[Any], Any]:
        def convert(value: Any) -> Any:
            if type(value) is Rejected:
                return value
            # Annotations may be text, which only resolves once the whole module is there.
            if not resolved:
                resolved.update(typing.get_type_hints(cls))
            try:
                return _checked(value, resolved[name], info)
            except ValidationError as error:
                return Rejected(error.problems)

        return convert

    # What a class of settings has of its own stands before what it shares with others.
    own_first = sorted(fields, key=lambda field: field.inherited)  # type: ignore[attr-defined]  # the stubs lack it
    return [field.evolve(converter=converter(field.name, info_of(field))) for field in own_first]


def _checked(value: Any, hint: Any, info: SettingInfo) -> Any:
    inner, optional = without_none(hint)
    if optional and value is None:
        return None
    result = _typed(value, inner, info)
    if isinstance(result, int | float) and not isinstance(result, bool):
        low = info.minimum is not None and result < info.minimum
        high = info.maximum is not None and result > info.maximum
        if low or high:
            raise ValidationError.single("", f"is {result}", f"give a number {_range(info)}")
    wrong = info.check(result) if info.check else None
    if wrong:
        raise ValidationError.single("", wrong)
    return result


def _typed(value: Any, hint: Any, info: SettingInfo) -> Any:
    choices = choices_of(hint)
    if choices:
        if not isinstance(value, str) or value not in choices:
            shown = f"{value!r} is" if isinstance(value, str) else f"{type(value).__name__} is"
            raise ValidationError.single("", f"{shown} not one of the choices", f"use {', '.join(choices)}")
        return hint(value) if isinstance(hint, type) else value
    if typing.get_origin(hint) is tuple:
        return _items(value, typing.get_args(hint)[0], info)
    convert = _TYPES.get(hint)
    if convert is None:
        raise TypeError(f"{hint} is not a type that a setting can have")
    return convert(value, info)


def _items(value: Any, hint: Any, info: SettingInfo) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValidationError.single("", f"must be a list, not {type(value).__name__}")
    items: list[Any] = []
    problems: list[Problem] = []
    for index, item in enumerate(value):
        try:
            items.append(_typed(item, hint, info))
        except ValidationError as error:
            problems.extend(error.under(f"[{index}]"))
    if problems:
        raise ValidationError(problems)
    return tuple(items)


def _text(value: Any, info: SettingInfo) -> str:
    if not isinstance(value, str):
        raise ValidationError.single("", f"must be text, not {type(value).__name__}")
    result = text.one_line(value, limit=info.max_length).strip()
    if not result:
        raise ValidationError.single("", "is empty", "leave the setting out, or give a value")
    return result


def _whole(value: Any, info: SettingInfo) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValidationError.single("", f"must be a whole number, not {type(value).__name__}")
    return value


def _number(value: Any, info: SettingInfo) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValidationError.single("", f"must be a number, not {type(value).__name__}")
    if not math.isfinite(value):
        raise ValidationError.single("", f"is {value}, which is no number to reckon with")
    return float(value)


def _boolean(value: Any, info: SettingInfo) -> bool:
    if not isinstance(value, bool):
        raise ValidationError.single("", f"must be true or false, not {type(value).__name__}")
    return value


def _secret(value: Any, info: SettingInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    # No message of this function may quote the value.
    if not isinstance(value, str):
        raise ValidationError.single("", f"must be text, not {type(value).__name__}")
    if not value:
        raise ValidationError.single("", "is empty", "leave the setting out, or give env:NAME, file:PATH or the value")
    if text.line_problem(value, limit=10_000):
        raise ValidationError.single("", "holds a control character or is too long", "put it in a file: file:PATH")
    return Secret(value)


def _address(value: Any, info: SettingInfo) -> Address:
    return Address.parse(value)


_TYPES: dict[Any, Callable[[Any, SettingInfo], Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _boolean,
    Secret: _secret,
    Address: _address,
}


def _range(info: SettingInfo) -> str:
    if info.maximum is None:
        return f"from {info.minimum:g} up" if info.minimum is not None else ""
    if info.minimum is None:
        return f"up to {info.maximum:g}"
    return f"from {info.minimum:g} to {info.maximum:g}"


def _nearest(key: str, known: Iterable[str]) -> str:
    import difflib  # only on the way to an error

    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"


def plain(value: Any) -> Any:
    """One setting's value as plain data, a secret masked."""
    if isinstance(value, Secret):
        return value.reference or MASK
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def _redacted_repr(self: Any) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in redacted(self).items())
    return f"{type(self).__name__}({shown})"
