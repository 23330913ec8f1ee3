"""A request to a provider, and what the provider said in answer to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from genie_connect.api.job import Copy
from genie_connect.errors import ValidationError
from genie_connect.http import Limits, Response, Verdict, strict_json
from genie_connect.model.frozen import EMPTY, FrozenMap

JSON = FrozenMap({"content-type": "application/json", "accept": "application/json"})
# One encoder for all: json.dumps with arguments makes a new one each time.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@attrs.frozen(kw_only=True, eq=False)
class Call:
    """One request and the copies it carries. ``path`` stands below the base URL."""

    copies: tuple[Copy, ...] = attrs.field(repr=False)
    path: str
    content: bytes = attrs.field(default=b"", repr=False)
    headers: FrozenMap[str] = attrs.field(default=JSON, repr=False)
    method: str = "POST"


@attrs.frozen(kw_only=True)
class Result:
    """What a provider said of one copy: taken, with its id, or a verdict and the words it came with.

    ``each`` holds, by address key, those of its recipients of whom it said something else.
    """

    verdict: Verdict | None = None
    provider_id: str | None = None
    code: int | None = None
    text: str | None = None
    suppress: bool = False
    each: Mapping[str, Result] = EMPTY


@attrs.frozen(kw_only=True)
class Said:
    """What stands in an answer that is no success: the provider's own code or word for it, and its text."""

    word: str = ""
    text: str | None = None


def json_call(path: str, body: Any, copies: Sequence[Copy], headers: Mapping[str, str] = EMPTY) -> Call:
    """A POST with a JSON body."""
    all_headers = FrozenMap({**JSON, **headers}) if headers else JSON
    return Call(copies=tuple(copies), path=path, content=_encode(body).encode(), headers=all_headers)


def encoded(value: Any) -> str:
    """JSON as a provider takes it inside another value."""
    return _encode(value)


def decoded(response: Response) -> Any:
    """The JSON of an answer, or ``None`` where it holds none."""
    try:
        return strict_json(response.body, max_bytes=Limits().max_response_bytes)
    except ValueError:
        return None


def object_in(response: Response) -> Mapping[str, Any]:
    """The JSON object of an answer, or an empty one where it holds none."""
    data = decoded(response)
    return data if isinstance(data, dict) else {}


def text_at(data: Any, *path: str | int) -> str | None:
    """The text at a path into JSON that somebody else wrote; numbers become text, anything else is ``None``."""
    for step in path:
        if isinstance(step, str):
            data = data.get(step) if isinstance(data, dict) else None
        else:
            data = data[step] if isinstance(data, list) and len(data) > step else None
    if isinstance(data, bool) or not isinstance(data, str | int):
        return None
    return str(data) or None


def filled(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that hold something: neither ``None`` nor an empty list, object or text."""
    return {name: value for name, value in body.items() if value is not None and value not in ("", [], {}, ())}


def with_options(body: Mapping[str, Any], options: Mapping[str, Any], protected: Collection[str]) -> dict[str, Any]:
    """``body`` with the message's provider options over it: objects are merged, everything else is replaced.

    Raises ``ValidationError`` for an option that names one of the ``protected`` fields of the request, which hold
    recipients, sender and credentials, or recipients anywhere: the suppression list and the connection decide on those.
    """
    if not options:
        return dict(body)
    lower = {name.lower() for name in protected}
    for name, value in options.items():
        if name.lower() in lower or _names_recipients(name, value):
            path, fix = f"provider_options[{name!r}]", "say it in the message"
            raise ValidationError.single(path, "is not for options to change", fix)
    return _merged(body, options)


_RECIPIENTS = frozenset({"to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"})


def _names_recipients(name: str, value: Any) -> bool:
    """Whether a field of recipients stands here or below, also as an entry of a list of header fields."""
    if name.lower() in _RECIPIENTS:
        return True
    if name.lower() == "name" and isinstance(value, str) and value.lower() in _RECIPIENTS:
        return True
    if isinstance(value, Mapping):
        return any(_names_recipients(key, item) for key, item in value.items())
    return isinstance(value, list) and any(_names_recipients("", item) for item in value)


def _merged(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(body)
    for name, value in options.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merged(before, value)
        result[name] = value
    return result
