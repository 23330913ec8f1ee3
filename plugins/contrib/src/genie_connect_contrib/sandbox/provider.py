"""The sandbox provider: an email API that keeps what it is sent and misbehaves on request.

::

    async with SandboxProvider(api_key="...") as provider:
        settings = {"base_url": provider.base_url, "api_key": "..."}
        ...
        assert provider.messages[0].subject == "Your order"

Every request carries ``Authorization: Bearer KEY``. Errors are ``{"error": {"code": ..., "message": ...}}``.

===========================  =====================================================================================
POST /v1/messages            one message in one or more copies; a result for each recipient of each copy
GET /v1/messages[/ID]        what was kept, the newest 100 or one
GET /v1/lookup               ``?message_id=`` or ``?attempt=``: the results given so far
GET /v1/account              name and limits
POST /v1/behaviour           a ``Behaviour``, ``{"refuse": {ADDRESS: KIND}}``, ``{"down_s": SECONDS}``; ``{}`` is normal
POST /v1/webhooks            ``{"url": ..., "events": [...]}``: post these events, signed
===========================  =====================================================================================

Documented behaviour, on which the connector relies: 429, and 503 with Retry-After, mean that nothing was kept. With an
``Idempotency-Key`` a repeat of the same bytes has the first answer and keeps nothing twice; the same key with other
bytes is refused with 409. Where a copy has ``merge``, its fields are filled in as ``genie_connect.model.merge`` says,
also in the message's header fields; where one lacks a value, the request is refused with 422 and nothing is kept.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import attrs

from genie_connect.errors import ValidationError
from genie_connect.http import Response, TransportError, open_client, strict_json
from genie_connect.http.target import Origin
from genie_connect.model.codec import structure, unstructure
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.webhooks.signatures import sign, signing_key
from genie_connect_contrib.sandbox.behaviour import NORMAL, Behaviour, Refusal, Reply
from genie_connect_contrib.sandbox.keeping import message_of, result_of, size_bytes, texts_of
from genie_connect_contrib.sandbox.records import Copy, Result, SandboxMessage, Submission
from genie_connect_contrib.sandbox.server import Answer, Call, HttpServer

MAX_RECIPIENTS = 500
MAX_MESSAGE_BYTES = 10_000_000
MAX_REQUEST_BYTES = 20_000_000


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = _json({"error": {"code": code, "message": message}}, status=status)


class SandboxProvider:
    """The provider. ``messages`` is what it kept, oldest first; ``base_url`` is set once it has been entered.

    ``port`` 0 takes a free one. ``webhook_secret`` is made up where none is given. Webhooks are posted to
    ``webhook_hosts`` only, so that the server cannot be used to reach other machines.
    """

    def __init__(
        self,
        *,
        api_key: str,
        host: str = "127.0.0.1",
        port: int = 0,
        webhook_secret: str | None = None,
        webhook_hosts: Iterable[str] = ("127.0.0.1", "localhost", "::1"),
        ssl_context: ssl.SSLContext | None = None,
        max_recipients: int = MAX_RECIPIENTS,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_kept_messages: int = 100_000,
    ) -> None:
        self.messages: list[SandboxMessage] = []
        self.webhook_secret = webhook_secret or "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        self.requests = 0
        self._api_key = api_key
        self._scheme = "https" if ssl_context else "http"
        self._server = HttpServer(
            self._handle, host=host, port=port, ssl_context=ssl_context, max_body_bytes=MAX_REQUEST_BYTES
        )
        self._webhook_hosts = frozenset(webhook_hosts)
        self._max_recipients = max_recipients
        self._max_message_bytes = max_message_bytes
        self._max_kept_messages = max_kept_messages
        self._kept = 0
        self._behaviour = NORMAL
        self._times_left: int | None = None
        self._refusals: dict[str, Refusal] = {}
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()
        self._answers: dict[str, tuple[bytes, tuple[Result, ...]]] = {}
        self._results: dict[tuple[str, str], dict[tuple[str, str], Result]] = {}
        self._coming_up: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """Where it listens."""
        host = f"[{self._server.host}]" if ":" in self._server.host else self._server.host
        return f"{self._scheme}://{host}:{self._server.port}"

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._coming_up is not None:
            self._coming_up.cancel()
            await asyncio.gather(self._coming_up, return_exceptions=True)
        await self._server.stop()

    def behave(self, behaviour: Behaviour = NORMAL) -> None:
        """Treat requests like this from now on; without an argument, normally."""
        self._behaviour = behaviour
        self._times_left = behaviour.times

    def refuse(self, address: str, kind: Refusal | str = Refusal.HARD) -> None:
        """Refuse this address from now on, as a recipient or as the sender."""
        self._refusals[address.lower()] = Refusal(kind)

    def release(self) -> None:
        """Let go of every answer that is held."""
        self._released.set()
        self._released = asyncio.Event()

    async def go_down(self) -> None:
        """Refuse connections, and drop those there are."""
        await self._server.stop()

    async def come_up(self) -> None:
        """Listen again, on the same port."""
        await self._server.start()

    async def wait_for(self, count: int, timeout_s: float) -> list[SandboxMessage]:
        """The messages, once ``count`` are kept. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)
        return list(self.messages)

    def webhook(
        self, events: Iterable[Mapping[str, Any]], *, now: datetime | None = None
    ) -> tuple[dict[str, str], bytes]:
        """Header fields and body of a signed webhook with these events.

        An event has a ``type`` (``delivered``, ``bounced``, ``complained``, ``opened``, ``clicked``, ...), usually a
        ``recipient`` and ``message_id``, and whatever else the type brings; ``id`` and ``time`` are added.
        """
        now = now or datetime.now(UTC)
        whole = [{"id": f"evt_{secrets.token_hex(8)}", "time": now.isoformat(), **event} for event in events]
        body = json.dumps({"events": whole}).encode()
        signed = sign(
            [signing_key(self.webhook_secret)],
            webhook_id=f"msg_{secrets.token_hex(12)}",
            timestamp_s=int(now.timestamp()),
            body=body,
        )
        return {"content-type": "application/json", **signed}, body

    async def post_webhook(self, url: str, events: Iterable[Mapping[str, Any]]) -> Response:
        """Post a signed webhook. Raises ``ValueError`` for a URL it may not post to, ``TransportError`` on failure."""
        origin = Origin.of(url)
        if origin.host not in self._webhook_hosts:
            raise ValueError(f"leads to {origin.host}, which is not among webhook_hosts")
        client = await open_client(attrs.evolve(origin, prefix="").url)
        try:
            headers, body = self.webhook(events)
            return await client.request("POST", origin.prefix or "/", headers=headers, content=body, timeout_s=10.0)
        finally:
            await client.close()

    async def _handle(self, call: Call) -> Answer | None:
        self.requests += 1
        url = urlsplit(call.target)
        path = url.path
        given = call.headers.get("authorization", "").encode("utf-8")
        if not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
            return _json({"error": {"code": "wrong_key", "message": "the API key is not valid"}}, status=401)
        behaviour = self._behaviour_for(call.method, path)
        answer = await self._route(call, path, _query(url.query)) if behaviour.accepts else None
        if behaviour.status is not None:
            answer = _misbehaved(behaviour)
        if behaviour.delay_s:
            await asyncio.sleep(behaviour.delay_s)
        if behaviour.reply is Reply.HELD:
            await self._released.wait()
        return None if behaviour.reply is Reply.CLOSED else answer

    def _behaviour_for(self, method: str, path: str) -> Behaviour:
        behaviour = self._behaviour
        if path == "/v1/behaviour" or not (behaviour.everywhere or (method, path) == ("POST", "/v1/messages")):
            return NORMAL
        if self._times_left is not None:
            self._times_left -= 1
            if self._times_left == 0:
                self.behave()
        return behaviour

    async def _route(self, call: Call, path: str, query: Mapping[str, str]) -> Answer:
        try:
            match call.method, path:
                case "POST", "/v1/messages":
                    answer = self._submit(call)
                    async with self._changed:
                        self._changed.notify_all()
                    return answer
                case "POST", "/v1/behaviour":
                    return self._change(_body(call))
                case "POST", "/v1/webhooks":
                    return await self._post(_body(call))
                case "GET", "/v1/messages":
                    return _json({"messages": [unstructure(message) for message in self.messages[-100:]]})
                case "GET", "/v1/lookup":
                    return self._lookup(query)
                case "GET", "/v1/account":
                    return _json(self._account())
                case "GET", _ if path.startswith("/v1/messages/"):
                    return self._one(path.removeprefix("/v1/messages/"))
            raise _Refused(404, "not_found", "there is nothing at this path")
        except _Refused as refused:
            return refused.answer

    def _account(self) -> dict[str, Any]:
        return {
            "name": "Sandbox",
            "max_recipients": self._max_recipients,
            "max_message_bytes": self._max_message_bytes,
            "messages": len(self.messages),
        }

    def _one(self, message_id: str) -> Answer:
        found = next((message for message in self.messages if message.id == message_id), None)
        if found is None:
            raise _Refused(404, "not_found", "there is no such message")
        return _json(unstructure(found))

    def _lookup(self, query: Mapping[str, str]) -> Answer:
        found = next((self._results[key] for key in query.items() if key in self._results), None)
        if found is None:
            raise _Refused(404, "not_found", "nothing was received under this id")
        return _results(found.values())

    def _submit(self, call: Call) -> Answer:
        key = call.headers.get("idempotency-key")
        attempt = call.headers.get("sandbox-attempt")
        digest = hashlib.sha256(call.body).digest()
        if key is not None and key in self._answers:
            known, results = self._answers[key]
            if known != digest:
                raise _Refused(409, "idempotency_mismatch", "this idempotency key was used for another request")
            self._note(attempt, results)
            return _results(results)
        submission = self._checked(_body(call, max_bytes=MAX_REQUEST_BYTES))
        results = tuple(result for copy in submission.copies for result in self._keep(submission, copy, attempt))
        self._note(attempt, results)
        if key is not None:
            self._answers[key] = (digest, results)
        return _results(results)

    def _checked(self, data: Any) -> Submission:
        try:
            submission = structure(Submission, data)
        except ValidationError as error:
            raise _Refused(422, "invalid", "; ".join(str(problem) for problem in error.problems)) from None
        recipients = sum(len(copy.recipients) for copy in submission.copies)
        if not 1 <= recipients <= self._max_recipients:
            raise _Refused(422, "recipients", f"{recipients} recipients; 1 to {self._max_recipients} can be given")
        if size_bytes(submission) > self._max_message_bytes:
            raise _Refused(413, "too_large", f"the message has more than {self._max_message_bytes} bytes")
        if submission.from_.email.lower() in self._refusals:
            raise _Refused(422, "sender_refused", "this account may not send from that address")
        try:
            for copy in submission.copies:
                texts_of(submission, copy)
        except ValidationError as error:
            raise _Refused(422, "merge", "; ".join(str(problem) for problem in error.problems)) from None
        return submission

    def _keep(self, submission: Submission, copy: Copy, attempt: str | None) -> list[Result]:
        self._kept += 1
        number = f"sandbox-{self._kept:06d}"
        refused = {each: kind for each in copy.recipients if (kind := self._refusals.get(each.lower()))}
        accepted = tuple(each for each in copy.recipients if each not in refused)
        if accepted:
            self.messages.append(message_of(submission, copy, accepted, number, attempt))
            del self.messages[: -self._max_kept_messages]
        return [result_of(copy.message_id, each, refused.get(each), number) for each in copy.recipients]

    def _note(self, attempt: str | None, results: Iterable[Result]) -> None:
        for result in results:
            keys = [("message_id", result.message_id), *([("attempt", attempt)] if attempt else [])]
            for key in keys:
                # The last word on a recipient counts: a later attempt may have had another answer.
                self._results.setdefault(key, {})[result.message_id, result.recipient] = result

    def _change(self, data: Any) -> Answer:
        if not isinstance(data, dict):
            raise _Refused(422, "invalid", "must be an object")
        refuse = data.pop("refuse", {})
        down_s = data.pop("down_s", None)
        try:
            behaviour = structure(Behaviour, data)
            refusals = structure(_Refusals, {"refuse": refuse, "down_s": down_s})
        except ValidationError as error:
            raise _Refused(422, "invalid", "; ".join(str(problem) for problem in error.problems)) from None
        self.behave(behaviour)
        self._refusals = {address.lower(): kind for address, kind in refusals.refuse.items()}
        if refusals.down_s is not None:
            if self._coming_up is not None:
                self._coming_up.cancel()
            self._coming_up = asyncio.get_running_loop().create_task(self._down_for(refusals.down_s))
        return _json({"behaviour": unstructure(behaviour)})

    async def _down_for(self, seconds: float) -> None:
        await self.go_down()
        await asyncio.sleep(seconds)
        await self.come_up()

    async def _post(self, data: Any) -> Answer:
        if not isinstance(data, dict) or not isinstance(data.get("url"), str):
            raise _Refused(422, "invalid", "url is missing")
        events = data.get("events")
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            raise _Refused(422, "invalid", "events must be a list of objects")
        try:
            response = await self.post_webhook(data["url"], events)
        except ValueError as error:
            raise _Refused(422, "invalid", f"url {error}") from None
        except TransportError as error:
            raise _Refused(502, "not_delivered", error.message) from None
        return _json({"status": response.status})


@attrs.frozen(kw_only=True)
class _Refusals:
    refuse: FrozenMap[Refusal] = EMPTY
    down_s: float | None = None


def _results(results: Iterable[Result]) -> Answer:
    return _json({"results": [unstructure(result) for result in results]})


def _misbehaved(behaviour: Behaviour) -> Answer:
    retry = {} if behaviour.retry_after_s is None else {"retry-after": str(behaviour.retry_after_s)}
    error = {"code": "behaviour", "message": f"told to answer {behaviour.status}"}
    return _json({"error": error}, status=behaviour.status or 500, headers=retry)


def _body(call: Call, *, max_bytes: int = 1_000_000) -> Any:
    if call.headers.get("content-encoding", "identity") != "identity":
        raise _Refused(415, "encoding", "compressed requests are not taken")
    try:
        return strict_json(call.body, max_bytes=max_bytes)
    except ValueError as error:
        raise _Refused(400, "malformed", f"the body is not JSON: {error}") from None


def _query(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}


def _json(data: Any, *, status: int = 200, headers: Mapping[str, str] = EMPTY) -> Answer:
    return Answer(status=status, headers=FrozenMap(headers), body=json.dumps(data).encode())
