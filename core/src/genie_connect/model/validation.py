"""How a value that enters is checked: every field is looked at, and all problems are reported at once.

A converter that cannot convert does not raise. It leaves a ``Rejected`` in the field, and ``settle``, called when all
fields have been converted, raises one error with everything that was found. So a message with a bad recipient, a bad
header and a bad file name is refused once, with three problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, cast

import attrs

from genie_connect.errors import Problem, ValidationError

T = TypeVar("T")
R = TypeVar("R")


@attrs.frozen
class Rejected:
    """Stands in a field whose value was refused, until ``settle`` turns it into an error."""

    problems: tuple[Problem, ...]


def attempt(convert: Callable[[T], R], value: T) -> R:
    """``convert(value)``, or a ``Rejected`` in its place where that raises ``ValidationError``."""
    if isinstance(value, Rejected):
        return cast("R", value)
    try:
        return convert(value)
    except ValidationError as error:
        return cast("R", Rejected(error.problems))


def settle(instance: Any, rules: Callable[[], Iterable[Problem]] | None = None) -> None:
    """Raise one ``ValidationError`` for all refused fields of ``instance``, and for the rules between fields.

    ``rules`` runs only where all fields are good, since it would otherwise read a value that is not there.
    """
    kind: Any = type(instance)
    names, values_of = _fields_of(kind)
    values = values_of(instance)
    problems: list[Problem] = []
    if Rejected in map(type, values):
        for name, value in zip(names, values, strict=True):
            if type(value) is Rejected:
                problems.extend(problem.under(external_name(name)) for problem in value.problems)
    if not problems and rules is not None:
        problems.extend(rules())
    if problems:
        raise ValidationError(problems, what=type(instance).__name__.lower())


@cache
def _fields_of(kind: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of the fields that are given, and what reads them all at once."""
    names = tuple(field.name for field in attrs.fields(kind) if field.init)
    get = attrgetter(*names)
    return names, get if len(names) > 1 else lambda instance: (get(instance),)


def external_name(name: str) -> str:
    """The name of a field in JSON and in errors: ``from_`` is ``from``."""
    return name.rstrip("_")


def each(convert: Callable[[Any], R], values: Any, *, noun: str) -> tuple[R, ...]:
    """Convert every item, all problems kept, each under its index. A single string is one item, not its letters."""
    if values is None:
        return ()
    if isinstance(values, str) or not isinstance(values, Iterable) or isinstance(values, Mapping):
        values = [values]
    items: list[R] = []
    problems: list[Problem] = []
    for index, value in enumerate(values):
        if isinstance(value, Rejected):
            problems.extend(problem.under(f"[{index}]") for problem in value.problems)
            continue
        try:
            items.append(convert(value))
        except ValidationError as error:
            problems.extend(error.under(f"[{index}]"))
        except TypeError:
            problems.append(Problem(f"[{index}]", f"must be {noun}, not {type(value).__name__}"))
    if problems:
        raise ValidationError(problems)
    return tuple(items)
