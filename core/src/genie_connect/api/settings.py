"""The settings that every API connection has, beside those of its provider."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from genie_connect.errors import Problem
from genie_connect.http.client import Library
from genie_connect.http.target import Origin
from genie_connect.model.settings import lonely_predecessors, setting, settings


def _url_problem(value: str | None) -> str | None:
    try:
        Origin.of(value or "")
    except ValueError as error:
        return str(error)
    return None


def credential(*, title: str, help: str, example: str | None = None) -> Any:  # noqa: A002  # what a setting calls it
    """A setting that has to be given and is secret: a key, a token, a password."""
    return setting(title=title, help=help, group="auth", secret=True, example=example)


@settings
class ApiSettings:
    """Settings of an API connection; a provider's class inherits from it and is made with ``@settings`` as well.

    The base URL belongs to the connector, which knows its provider's regions. Another one gets the key and the mail of
    this connection, so it takes two settings to get there, except on this machine.
    """

    timeout_s: float = setting(
        title="Time-out (seconds)",
        help="For one request, from connecting to the last byte of the answer.",
        group="advanced",
        default=60.0,
        minimum=0.1,
        maximum=600,
    )
    http_client: Library = setting(
        title="HTTP client",
        help="aiohttp needs the extra 'aiohttp' of genie-connect, and takes less of this machine for each request.",
        group="advanced",
        default=Library.HTTPX2,
        titles={"httpx2": "httpx2", "aiohttp": "aiohttp"},
    )
    base_url: str | None = setting(
        title="Another base URL",
        help="For tests against a server on this machine, or for a gateway of your own.",
        group="advanced",
        default=None,
        check=_url_problem,
    )
    send_key_to_another_host: bool = setting(
        title="Send the key to another host",
        help="Needed for a base_url that is not on this machine; it must be https.",
        group="advanced",
        default=False,
    )

    def rules(self) -> Iterable[Problem]:
        """What the settings cannot be together."""
        yield from lonely_predecessors(self)
        if self.http_client is Library.AIOHTTP and find_spec("aiohttp") is None:
            fix = "pip install 'genie-connect[aiohttp]', or choose httpx2"
            yield Problem("http_client", "is aiohttp, which is not installed", fix)
        if self.base_url is None:
            return
        origin = Origin.of(self.base_url)
        if is_loopback(origin.host):
            return
        if not self.send_key_to_another_host:
            fix = "leave base_url out, or set send_key_to_another_host = true if you trust it"
            yield Problem("base_url", f"leads to {origin.host}, which would get the key and the mail", fix)
        elif origin.scheme != "https":
            yield Problem("base_url", f"would send the key to {origin.host} in the clear", "use https")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
