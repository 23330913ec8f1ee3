"""Events told to another application: each posted, signed by Standard Webhooks, until it is taken.

::

    async with EventForwarder("https://app.example/hooks/mail", Secret("env:HOOK_SECRET")) as forwarder:
        host.observers.add(forwarder)

What waits to be tried again is kept in memory: it is gone with the process. The events themselves are in the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from genie_connect.clock import Clock, SystemClock
from genie_connect.errors import ConfigurationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http.client import HttpClient, Limits, open_client
from genie_connect.http.errors import TransportError
from genie_connect.model.codec import unstructure
from genie_connect.model.event import Event
from genie_connect.model.secret import Secret
from genie_connect.webhooks.signatures import sign, signing_key

_logger = logging.getLogger("genie_connect.webhooks")
RETRIES_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""The waits between tries that the specification names: more than a day in all."""
MOST_WAITING: Final = 10_000
MOST_AT_ONCE: Final = 8
GONE: Final = 410
LIMITS: Final = Limits(connect_s=10.0, read_s=20.0, total_s=30.0, max_response_bytes=100_000)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class EventForwarder:
    """An observer that posts each event to a URL. To be entered with ``async with`` and added to a host's observers.

    The body is ``{"type": "mail.bounced", "timestamp": ..., "data": {"connection": ..., "event": ...}}``, or a
    CloudEvents 1.0 object with ``cloudevents=True``; ``raw`` payloads and inbound files go along with ``whole=True``
    only. The ``webhook-id`` is the same in each try. A 2xx answer ends it, 410 ends all, anything else is tried again.
    ``previous_secret`` signs as well while secrets rotate.

    Raises ``ConfigurationError`` for a URL that is not https (loopback may be http), or a secret that is none.
    """

    def __init__(
        self,
        url: str,
        secret: Secret,
        *,
        previous_secret: Secret | None = None,
        cloudevents: bool = False,
        whole: bool = False,
        retries_s: Sequence[float] = RETRIES_S,
        most_waiting: int = MOST_WAITING,
        client: HttpClient | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = _checked(url)
        self._keys = [_key(each) for each in (secret, previous_secret) if each is not None]
        self._cloudevents = cloudevents
        self._whole = whole
        self._retries_s = tuple(retries_s)
        self._most_waiting = most_waiting
        self._client = client
        self._clock = clock or SystemClock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._gone = False
        self.posted = 0
        """How many events were taken by the other side."""
        self.dropped = 0
        """How many were given up: after the last try, after a 410, or because too many waited."""

    async def __aenter__(self) -> Self:
        if self._client is None:
            parts = urlsplit(self._url)
            self._client = await open_client(f"{parts.scheme}://{parts.netloc}", limits=LIMITS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    @hookimpl
    def event_received(self, connection: str, event: Event) -> None:
        """Post it, soon. Called on the host's loop."""
        if self._gone or len(self._tasks) >= self._most_waiting:
            self._drop(event, "the other side is gone" if self._gone else "too many events wait")
            return
        task = asyncio.get_running_loop().create_task(self._deliver(connection, event), name="event forwarder")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait until nothing waits any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _deliver(self, connection: str, event: Event) -> None:
        webhook_id = "evt_" + hashlib.sha256(f"{connection}/{event.id}".encode()).hexdigest()[:32]
        body = json.dumps(self._content(webhook_id, connection, event), ensure_ascii=False, separators=(",", ":"))
        for wait_s in (0.0, *self._retries_s):
            if wait_s:
                await self._clock.sleep(wait_s)
            if self._gone:
                break
            async with self._places:
                status = await self._post(webhook_id, body.encode("utf-8", "replace"))
            if 200 <= status <= 299:
                self.posted += 1
                return
            if status == GONE:
                self._gone = True
                _logger.warning("%s answered 410: it wants no more events", urlsplit(self._url).hostname)
        self._drop(event, "it was never taken")

    async def _post(self, webhook_id: str, body: bytes) -> int:
        if self._client is None:
            raise AssertionError("an event forwarder has to be entered")
        # Signed anew in each try, or the window of the other side would close before the last one.
        signed = sign(self._keys, webhook_id=webhook_id, timestamp_s=int(self._clock.now().timestamp()), body=body)
        kind = "application/cloudevents+json" if self._cloudevents else "application/json"
        parts = urlsplit(self._url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = await self._client.request("POST", target, headers={"content-type": kind, **signed}, content=body)
        except TransportError as error:
            _logger.info("an event could not be posted to %s: %s", parts.hostname, error)
            return 0
        return answer.status

    def _content(self, webhook_id: str, connection: str, event: Event) -> Mapping[str, Any]:
        plain = dict(unstructure(event))
        if not self._whole:
            plain.pop("raw", None)
            if plain.get("inbound"):
                plain["inbound"] = {name: value for name, value in plain["inbound"].items() if name != "files"}
        data = {"connection": connection, "event": plain}
        name, time = f"mail.{event.kind}", event.time.isoformat()
        if not self._cloudevents:
            return {"type": name, "timestamp": time, "data": data}
        return {
            "specversion": "1.0",
            "id": webhook_id,
            "source": f"/genie-connect/connections/{connection}",
            "type": name,
            "time": time,
            "datacontenttype": "application/json",
            "data": data,
        }

    def _drop(self, event: Event, why: str) -> None:
        self.dropped += 1
        _logger.error("the event %s was not forwarded: %s", event.id, why)


def _checked(url: str) -> str:
    hint = "write it as https://app.example/hooks/mail"
    try:
        parts = urlsplit(url)
        host, plain = parts.hostname, parts.username is None and not parts.fragment
    except ValueError:
        raise ConfigurationError("the URL for events is none", hint=hint) from None
    if not host or not plain:
        raise ConfigurationError("the URL for events is none, or holds a user name or fragment", hint=hint)
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise ConfigurationError("the URL for events is not https", hint="only loopback may be http")
    return url


def _key(secret: Secret) -> bytes:
    try:
        return signing_key(secret.reveal())
    except ValueError as error:
        raise ConfigurationError(f"the secret for events {error}", hint="make one: whsec_ and base64") from None
