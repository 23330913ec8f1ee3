"""Forms in which providers post inbound mail: multipart or URL-encoded, fields and files by name.

Header fields of the mail may stand among them, so whoever wrote it chose some of the names: a name that comes twice
is its first one, and nothing that is signed is read here without saying which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.webhooks.bodies import MAX_INBOUND_BYTES, Part, json_text, multipart_parts, plain_body

MAX_FIELDS: Final = 1_000
_ENCODED: Final = "application/x-www-form-urlencoded"


class Form:
    """A posted form. What is missing is ``None``, and what cannot be read is left out."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        self._first: dict[str, Part] = {}
        for part in parts:
            self._first.setdefault(part.name, part)

    @classmethod
    def of(cls, request: WebhookRequest) -> Form:
        """The form in a body. Raises ``WebhookRejected`` where there is none."""
        if is_form(request, multipart=True):
            return cls(multipart_parts(request))
        raw = plain_body(request, max_bytes=MAX_INBOUND_BYTES)
        if not is_form(request):
            raise WebhookRejected("the body is no form", status=415, field="content-type")
        try:
            text = raw.decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS)
        except ValueError:
            raise WebhookRejected("the form is malformed, or has too many fields", status=400, field="body") from None
        return cls(tuple([Part(name=name, content=value.encode("utf-8", "replace")) for name, value in pairs]))

    def part(self, name: str) -> Part | None:
        """The first part of a name."""
        return self._first.get(name)

    def text(self, name: str, charset: str = "utf-8") -> str | None:
        """A field as text."""
        part = self._first.get(name)
        if part is None:
            return None
        try:
            return part.content.decode(charset, "replace")
        except LookupError:
            return part.text

    def last(self, name: str) -> str | None:
        """The last field of a name."""
        return next((part.text for part in reversed(self.parts) if part.name == name), None)

    def json(self, name: str) -> Any:
        """The JSON in a field; ``None`` where it is none."""
        part = self._first.get(name)
        if part is None:
            return None
        try:
            return json_text(part.content, field=name)
        except WebhookRejected:
            return None

    def mapping(self, name: str) -> Mapping[str, Any]:
        """The JSON object in a field; an empty one where it is none."""
        value = self.json(name)
        return value if isinstance(value, dict) else {}


def is_form(request: WebhookRequest, *, multipart: bool = False) -> bool:
    """Whether the body says that it is a form: a URL-encoded, or a multipart one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == ("multipart/form-data" if multipart else _ENCODED)
