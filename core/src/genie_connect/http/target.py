"""One origin, and which URLs belong to it."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

import attrs

DEFAULT_PORTS = {"http": 80, "https": 443}
# What RFC 3986 allows in path and query. Blanks, controls and backslashes are read differently by different parsers.
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*\Z")
_HOST = re.compile(r"[A-Za-z0-9.:_-]+\Z")


@attrs.frozen(kw_only=True)
class Origin:
    """Scheme, host and port of a base URL, and the path that stands before all others."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @classmethod
    def of(cls, base_url: str) -> Origin:
        """The origin of a base URL. Raises ``ValueError`` with what is wrong with it, without quoting it."""
        parts = _split(base_url)
        if parts.query or parts.fragment or "?" in base_url or "#" in base_url:
            raise ValueError("has a query or fragment; give scheme, host, port and path only")
        prefix = parts.path.rstrip("/")
        if prefix and not _allowed(prefix):
            raise ValueError("has a path with characters that do not belong in one")
        return cls(scheme=parts.scheme, host=_host(parts), port=_port(parts), prefix=prefix)

    @property
    def url(self) -> str:
        """The base URL in one spelling."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"

    def resolve(self, url: str) -> str:
        """The absolute URL of a path below the base URL, or of a URL of this origin.

        Raises ``ValueError`` for any other, however it is dressed up: a URL may come out of a provider's answer.
        """
        if url.startswith("/"):
            if url.startswith("//") or not _allowed(url):
                raise ValueError("is not a path below the base URL")
            return self.url + url
        parts = _split(url)
        if (parts.scheme, _host(parts), _port(parts)) != (self.scheme, self.host, self.port):
            raise ValueError("leads to another origin")
        query = f"?{parts.query}" if parts.query else ""
        path = (parts.path or "/") + query
        if not _allowed(path):
            raise ValueError("has characters that do not belong in a URL")
        return attrs.evolve(self, prefix="").url + path


def url_problem(value: str) -> str | None:
    """What is wrong with a base URL: the check of a setting that is one."""
    try:
        Origin.of(value)
    except ValueError as error:
        return str(error)
    return None


def _split(url: str) -> SplitResult:
    if not url.isascii() or any(character <= " " or character in "\\\x7f" for character in url):
        raise ValueError("holds a blank, a control or a non-ASCII character")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("is not an http:// or https:// URL")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password; give those as settings of their own")
    return parts


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not _HOST.match(host):
        raise ValueError("names no host")
    return host


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number from 1 to 65535") from None
    if port == 0:
        raise ValueError("has a port that is not a number from 1 to 65535")
    return port or DEFAULT_PORTS[parts.scheme]


def _allowed(path: str) -> bool:
    # Dot segments would climb out of the prefix once somebody normalises them (RFC 3986 section 5.2.4).
    segments = path.partition("?")[0].lower().replace("%2e", ".").split("/")
    return _PATH.match(path) is not None and "." not in segments and ".." not in segments
