"""What every client sees to before it connects: the URL is of the origin, nothing ends a line, there is time left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from genie_connect.http.client import Limits
from genie_connect.http.errors import NotSent
from genie_connect.http.target import Origin

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+\Z")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*\Z")
# No answer may be compressed: what it unpacks to is not bounded by what was read.
_ALWAYS: Final = {"accept-encoding": "identity", "user-agent": "genie-connect"}


class Prepared(NamedTuple):
    """A request that may leave: its absolute URL, all its header fields, and the time for the whole exchange."""

    url: str
    headers: dict[str, str]
    total_s: float


def prepare(
    origin: Origin, limits: Limits, method: str, url: str, headers: Mapping[str, str], timeout_s: float | None
) -> Prepared:
    """The request as it is to leave. Raises ``NotSent``, which quotes neither the URL nor the header fields."""
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
    total_s = limits.total_s if timeout_s is None else min(timeout_s, limits.total_s)
    if total_s <= 0:
        # A kept connection takes the request before anything is waited for, and so before a time-out is noticed.
        raise NotSent("time_out", "there was no time left")
    return Prepared(target, {**_ALWAYS, **headers}, total_s)
