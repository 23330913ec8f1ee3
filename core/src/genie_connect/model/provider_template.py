"""A template that is kept at the provider, and what is put into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genie_connect.errors import ValidationError
from genie_connect.model import text
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.plain_data import frozen_object
from genie_connect.model.validation import attempt, settle


def _to_id(value: str | int) -> str:
    return attempt(_id, value)


def _id(value: str | int) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value == "":
        raise ValidationError.single("", "is empty", "give the id that the provider shows")
    return text.one_line(value, limit=255)


def _to_version(value: str) -> str:
    return attempt(lambda given: text.one_line(given, limit=255), value)


def _to_data(value: Mapping[str, Any] | None) -> FrozenMap[Any]:
    return attempt(frozen_object, value)


@attrs.frozen(kw_only=True)
class ProviderTemplate:
    """A template by the id or alias that the provider knows it under.

    ``data`` is what it is filled in with: JSON, in the provider's own shape. The merge data of a recipient is laid over
    it, name by name. ``version`` is for providers that keep several. Raises ``ValidationError``.
    """

    id: str = attrs.field(converter=_to_id)
    data: FrozenMap[Any] = attrs.field(default=EMPTY, converter=_to_data)
    version: str = attrs.field(default="", converter=_to_version)

    def __attrs_post_init__(self) -> None:
        settle(self)
