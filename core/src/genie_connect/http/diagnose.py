"""The steps of a connector test that every HTTP API shares: resolve, connect, TLS; and diagnoses of what fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs

from genie_connect.clock import Clock
from genie_connect.http.errors import NotSent, TransportError
from genie_connect.http.outcomes import STATUS, verdict_of_error
from genie_connect.http.target import Origin
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.text import clean_reply

_TITLES = {
    "dns": "The host name cannot be resolved",
    "connect": "The server cannot be reached",
    "certificate": "The server's certificate is not trusted",
    "tls": "The TLS handshake failed",
    "time_out": "The server took too long",
    "closed": "The server closed the connection",
    "protocol": "The server does not speak HTTP",
    "oversize": "The answer is too big",
    "pool": "All connections are in use",
    "refused_locally": "The request cannot be made",
    "auth": "The provider gives no token",
    "busy": "The provider gives no token at the moment",
}
_FIXES = {
    "dns": ("check the spelling of the host", "check this machine's name resolution"),
    "connect": ("check host and port", "check that the server runs and no firewall stands between"),
    "certificate": ("use the host name that the certificate is for", "give the CA file of a private authority"),
    "tls": ("use http:// if the server has no TLS, https:// if it has",),
    "time_out": ("try again", "check that no firewall swallows the connection"),
}


def diagnosis_of(error: TransportError, *, field: str = "base_url") -> Diagnosis:
    """Why a request failed and what to do. ``field`` is the setting that leads to the server."""
    fixes = _FIXES.get(error.reason) or (error.hint or verdict_of_error(error).hint or "try again",)
    title = _TITLES.get(error.reason, "The request failed")
    return Diagnosis(code=f"http_{error.reason}", title=title, cause=error.message, fixes=fixes, field=field)


def diagnosis_of_status(status: int, *, field: str | None = None, server_reply: str | None = None) -> Diagnosis:
    """Why a status stands in the way and what to do."""
    verdict = STATUS.get(status)
    hint = (verdict.hint if verdict else None) or "try again; if it stays, ask the provider"
    return Diagnosis(
        code=f"http_{verdict.reason}" if verdict else "http_status",
        title=f"The provider answered {status}",
        cause=clean_reply(server_reply or "") or f"the provider answered with HTTP status {status}",
        evidence=f"HTTP status {status}",
        fixes=(hint,),
        field=field,
        server_reply=clean_reply(server_reply) if server_reply else None,
    )


@attrs.define
class Stopwatch:
    """Milliseconds since it was made."""

    clock: Clock
    started: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.started = self.clock.monotonic()

    @property
    def ms(self) -> float:
        """Milliseconds so far, to a tenth."""
        return round((self.clock.monotonic() - self.started) * 1000, 1)


async def reach(
    base_url: str, *, clock: Clock, remaining_s: Callable[[], float], ca_file: Path | None = None
) -> AsyncIterator[Step]:
    """The steps ``resolve``, ``connect`` and, for https, ``tls``, up to the first failure.

    They use connections of their own, so that each step can be seen; nothing is sent on them.
    """
    origin = Origin.of(base_url)
    watch = Stopwatch(clock)
    addresses: list[str] = []
    try:
        async with asyncio.timeout(remaining_s()):
            found = await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    except TimeoutError:
        yield _failed("resolve", "Resolve the host", watch, _time_out())
        return
    except (OSError, UnicodeError) as error:
        yield _failed("resolve", "Resolve the host", watch, NotSent("dns", _said(error)))
        return
    facts: dict[str, Any] = {"host": origin.host, "addresses": addresses}
    yield _passed("resolve", "Resolve the host", watch, ", ".join(addresses), facts)

    watch = Stopwatch(clock)
    try:
        async with asyncio.timeout(remaining_s()):
            _, writer = await asyncio.open_connection(origin.host, origin.port)
    except TimeoutError:
        yield _failed("connect", "Connect", watch, _time_out())
        return
    except OSError as error:
        yield _failed("connect", "Connect", watch, NotSent("connect", _said(error)))
        return
    try:
        peer = writer.get_extra_info("peername")
        facts = {"address": str(peer[0]), "port": origin.port}
        yield _passed("connect", "Connect", watch, f"{peer[0]} port {origin.port}", facts)
        if origin.scheme == "https":
            yield await _tls_step(writer, origin, clock, remaining_s(), ca_file)
    finally:
        writer.transport.abort()


async def _tls_step(
    writer: asyncio.StreamWriter, origin: Origin, clock: Clock, timeout_s: float, ca_file: Path | None
) -> Step:
    # The same context as the client's; imported here since it brings httpx2 in.
    from genie_connect.http.httpx2_client import tls_context

    watch = Stopwatch(clock)
    try:
        context = tls_context(ca_file)
        async with asyncio.timeout(timeout_s):
            await writer.start_tls(context, server_hostname=origin.host)
    except TimeoutError:
        return _failed("tls", "TLS", watch, _time_out())
    except ssl.SSLCertVerificationError as error:
        return _failed("tls", "TLS", watch, NotSent("certificate", error.verify_message or "it is not trusted"))
    except OSError as error:
        return _failed("tls", "TLS", watch, NotSent("tls", _said(error)))
    connection = writer.get_extra_info("ssl_object")
    certificate = connection.getpeercert() or {}
    facts = {
        "version": connection.version(),
        "cipher": connection.cipher()[0],
        "certificate_expires": certificate.get("notAfter", ""),
    }
    return _passed("tls", "TLS", watch, f"{facts['version']}, certificate trusted", facts)


def _time_out() -> TransportError:
    return NotSent("time_out", "there was no answer in time")


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the handshake failed").replace("_", " ").lower()
    # asyncio folds the errors of several addresses into one without a strerror.
    return clean_reply((error.strerror if isinstance(error, OSError) else None) or str(error))


def _passed(step_id: str, title: str, watch: Stopwatch, summary: str, facts: dict[str, Any]) -> Step:
    return Step(id=step_id, title=title, status=Status.OK, summary=summary, facts=FrozenMap(facts), ms=watch.ms)


def _failed(step_id: str, title: str, watch: Stopwatch, error: TransportError) -> Step:
    diagnosis = diagnosis_of(error)
    return Step(id=step_id, title=title, status=Status.FAIL, summary=diagnosis.title, ms=watch.ms, diagnosis=diagnosis)
