"""Values enter in their one form in JSON, and in no other."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

import attrs
import pytest

from genie_connect.errors import ValidationError
from genie_connect.model.codec import structure


class Colour(StrEnum):
    """Text that is also an enum."""

    RED = "red"


class Size(IntEnum):
    """A number that is also an enum."""

    BIG = 2


@attrs.frozen
class Plain:
    """One field of each type that cattrs would convert by itself."""

    text: str = ""
    count: int = 0
    share: float = 0.0
    on: bool = False
    colour: Colour = Colour.RED
    size: Size = Size.BIG


@pytest.mark.parametrize(
    "data",
    [
        {"text": 5},
        {"text": None},
        {"count": "5"},
        {"count": True},
        {"count": 5.0},
        {"share": "0.5"},
        {"share": True},
        {"on": "false"},
        {"on": 1},
        {"colour": "blue"},
        {"colour": []},
        {"size": 7},
        {"size": "2"},
    ],
)
def test_nothing_is_converted_silently(data: dict[str, Any]) -> None:
    """A value of the wrong type is a problem that names its field, never another value."""
    with pytest.raises(ValidationError) as caught:
        structure(Plain, data)
    assert [problem.path for problem in caught.value.problems] == list(data)


def test_each_type_takes_its_own_form() -> None:
    """Enums become members, not text or numbers."""
    plain = structure(Plain, {"text": "a", "count": 1, "share": 1, "on": True, "colour": "red", "size": 2})
    assert plain == Plain("a", 1, 1.0, True, Colour.RED, Size.BIG)
    assert type(plain.colour) is Colour
    assert type(plain.size) is Size
