"""What every client sees to before anything is connected to: the URL is of the origin, nothing ends a line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from genie_connect.http.errors import NotSent
from genie_connect.http.target import Origin

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+\Z")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*\Z")
# No answer may be compressed: what it unpacks to is not bounded by what was read.
_ALWAYS: Final = {"accept-encoding": "identity", "user-agent": "genie-connect"}


def prepare(origin: Origin, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The absolute URL and all header fields of a request. Raises ``NotSent``, which quotes neither."""
    if not _NAME.match(method):
        raise NotSent("refused_locally", "the method holds what HTTP does not allow")
    try:
        target = origin.resolve(url)
    except ValueError as error:
        raise NotSent("refused_locally", f"the URL {error}") from None
    for name, value in headers.items():
        if not _NAME.match(name) or not _VALUE.match(value):
            # Named but not quoted: the value may be the API key.
            raise NotSent("refused_locally", f"the header field {name!r:.60} holds what HTTP does not allow")
    return target, {**_ALWAYS, **headers}
