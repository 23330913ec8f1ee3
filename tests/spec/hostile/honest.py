"""An honest connector for a small made-up email API, of which the hostile ones each spoil one thing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from genie_connect import (
    Batch,
    BounceClass,
    CapabilityTable,
    ConnectorInfo,
    Diagnosis,
    Event,
    EventKind,
    Kind,
    Outcome,
    Secret,
    SecretUnavailable,
    SendContext,
    State,
    Status,
    Step,
    TestContext,
    WebhookRejected,
    WebhookRequest,
    hookimpl,
    setting,
    settings,
)
from genie_connect.http import (
    Limits,
    NoAnswer,
    Response,
    TransportError,
    diagnosis_of,
    diagnosis_of_status,
    open_client,
    outcomes_of,
    reach,
    strict_json,
    verdict_of,
    verdict_of_error,
)
from genie_connect.http.target import Origin
from genie_connect.model.capability import host, yes
from genie_connect.model.frozen import FrozenMap
from genie_connect.webhooks.signatures import sign, signing_key, verify_standard
from genie_connect_spec.kit import Answer, ConnectorContract, HttpProvider, HttpRequest

KINDS = {"delivered": EventKind.DELIVERED, "bounced": EventKind.BOUNCED}


def url_problem(value: str) -> str | None:
    """What is wrong with a base URL."""
    try:
        Origin.of(value)
    except ValueError as error:
        return str(error)
    return None


def secret_problem(value: Secret | None) -> str | None:
    """What is wrong with a signing secret; a reference is not followed."""
    if value is None or value.reference:
        return None
    try:
        signing_key(value.reveal())
    except ValueError as error:
        return str(error)
    return None


@settings
class HonestSettings:
    """Settings of the honest connector."""

    base_url: str = setting(title="Base URL", help="Where it is.", check=url_problem)
    api_key: Secret = setting(title="API key", help="Account > Keys", secret=True, group="auth")
    webhook_secret: Secret | None = setting(
        title="Signing secret", secret=True, group="auth", default=None, check=secret_problem
    )
    old_webhook_secret: Secret | None = setting(
        title="Old signing secret", secret=True, group="auth", default=None, check=secret_problem
    )
    pace: int = setting(title="Pace", default=5, minimum=1, maximum=50, example=10)
    quick: bool = setting(title="Quick", default=False)


class State_:
    """An open connection. ``calls`` counts what was sent over it."""

    def __init__(self, client: Any, key: str) -> None:
        self.client = client
        self.key = key
        self.calls = 0


class Honest:
    """The plug-in object: a function for each hook, and between them what a hostile one replaces."""

    settings_class: type[Any] = HonestSettings
    entries = (
        yes("send.transactional", max_message_bytes=10_000_000),
        yes("send.broadcast"),
        yes("send.html"),
        yes("send.attachments"),
        yes("send.cc_bcc"),
        yes("send.reply_to"),
        yes("send.headers"),
        yes("send.international_addresses"),
        yes("send.metadata"),
        yes("send.merge"),
        yes("send.idempotency"),
        yes("send.batch", max_batch=20),
        host("send.tags"),
        host("suppressions"),
        yes("events.webhook"),
        yes("events.signature"),
        yes("test.connection"),
        yes("test.message"),
    )

    @hookimpl
    def connector_info(self) -> ConnectorInfo:
        """What it is."""
        return ConnectorInfo(
            id="honest", title="Honest", kind=Kind.API, settings_class=self.settings_class, summary="Keeps its word."
        )

    @hookimpl
    def connector_capabilities(self, settings: Any) -> CapabilityTable:
        """What it carries."""
        return CapabilityTable(connector="honest", entries=self.entries)

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """A client."""
        key = settings.api_key.reveal()
        return State_(await open_client(settings.base_url, limits=Limits(total_s=30.0)), key)

    @hookimpl
    async def connector_send(self, state: Any, batch: Batch, context: SendContext) -> Sequence[Outcome]:
        """One request for all copies."""
        try:
            content = self.body(batch)
        except (OSError, ValueError):
            return [self.unreadable(address.email) for address in batch.recipients]
        state.calls += 1
        try:
            response = await self.request(state, content, context)
        except TransportError as error:
            return outcomes_of(batch.recipients, error, verdict_of_error(error), now=context.clock.now())
        return self.outcomes(batch, response, context)

    @hookimpl
    async def connector_test(self, settings: Any, context: TestContext) -> AsyncIterator[Step]:
        """Reach it, ask for the account, and send where that is asked for."""
        async for step in reach(settings.base_url, clock=context.clock, remaining_s=context.remaining_s):
            yield step
            if step.status is Status.FAIL:
                return
        try:
            state = await self.connector_open(settings, None)
        except SecretUnavailable as error:
            diagnosis = Diagnosis(
                code="secret", title="No key", cause=error.message, fixes=("Set it.",), field="api_key"
            )
            yield Step(id="account", title="Account", status=Status.FAIL, diagnosis=diagnosis)
            return
        try:
            async for step in self.asked(state, context):
                yield step
        finally:
            await state.client.close()

    async def asked(self, state: Any, context: TestContext) -> AsyncIterator[Step]:
        """The steps once the provider is reached."""
        headers = {"authorization": f"Bearer {state.key}"}
        requests = [("account", "GET", "/account", b"")]
        if context.send_to is not None:
            requests.append(("message", "POST", "/send", json.dumps({"to": context.send_to.email}).encode()))
        for name, method, path, content in requests:
            diagnosis = None
            try:
                response = await state.client.request(
                    method, path, headers=headers, content=content, timeout_s=context.remaining_s()
                )
            except TransportError as error:
                diagnosis = diagnosis_of(error)
            else:
                if not response.ok:
                    diagnosis = diagnosis_of_status(response.status, field="api_key")
                elif "ok" not in read(response):
                    diagnosis = diagnosis_of(NoAnswer("protocol", "the answer is not the provider's"))
            status = Status.OK if diagnosis is None else Status.FAIL
            yield Step(id=name, title=name.title(), status=status, summary="asked", diagnosis=diagnosis)
            if diagnosis is not None:
                return

    @hookimpl
    async def connector_close(self, state: Any) -> None:
        """Close the client."""
        await state.client.close()

    @hookimpl
    def connector_parse_webhook(self, settings: Any, request: WebhookRequest) -> Sequence[Event]:
        """Verify, then read."""
        self.verify(settings, request)
        try:
            data = strict_json(request.body)
        except ValueError:
            raise WebhookRejected("it is no JSON", status=400) from None
        if not isinstance(data, list):
            raise WebhookRejected("it is no list", status=400)
        return [self.event(each, request) for each in data]

    # What they are made of

    def verify(self, settings: Any, request: WebhookRequest) -> None:
        """Raise for a request that is not signed with one of the secrets."""
        secrets = [each for each in (settings.webhook_secret, settings.old_webhook_secret) if each is not None]
        if not secrets:
            raise WebhookRejected("there is no secret")
        keys = [signing_key(secret.reveal()) for secret in secrets]
        verify_standard(request, keys)

    def event(self, data: Any, request: WebhookRequest) -> Event:
        """One event."""
        raw = FrozenMap(data if isinstance(data, dict) else {"value": data})
        kind = KINDS.get(raw["type"], EventKind.UNKNOWN) if isinstance(raw.get("type"), str) else EventKind.UNKNOWN
        recipient = raw.get("to")
        bounce = BounceClass.HARD if kind is EventKind.BOUNCED else None
        return Event(
            id=self.event_id(raw),
            kind=kind,
            time=self.event_time(request),
            recipient=recipient if isinstance(recipient, str) and "@" in recipient else None,
            bounce=bounce,
            raw=raw,
        )

    def event_id(self, raw: Mapping[str, Any]) -> str:
        """The same for the same event."""
        return hashlib.sha256(json.dumps(dict(raw), sort_keys=True).encode()).hexdigest()

    def event_time(self, request: WebhookRequest) -> datetime:
        """When it was received."""
        return request.received_at.astimezone(UTC)

    def body(self, batch: Batch) -> bytes:
        """What is written."""
        return json.dumps(self.content(batch)).encode()

    def content(self, batch: Batch) -> dict[str, Any]:
        """The same as data."""
        message = batch.message
        return {
            "from": str(batch.sender),
            "sender_name": batch.sender.name,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "reply_to": [address.email for address in message.reply_to],
            "headers": dict(message.headers),
            "metadata": dict(message.metadata),
            "files": [
                {"name": each.filename, "data": base64.b64encode(each.read()).decode()} for each in message.files
            ],
            "copies": [
                {
                    "id": delivery.message_id,
                    "recipients": [address.email for address in delivery.addresses],
                    "names": [address.name for address in (*delivery.to, *delivery.cc)],
                    "shown": [address.email for address in (*delivery.to, *delivery.cc)],
                    "merge": None if delivery.merge is None else dict(delivery.merge),
                    "headers": dict(delivery.headers),
                    "metadata": dict(delivery.metadata),
                }
                for delivery in batch.deliveries
            ],
        }

    async def request(self, state: Any, content: bytes, context: SendContext) -> Response:
        """One request."""
        headers = {"authorization": f"Bearer {state.key}"}
        if context.idempotency_key is not None:
            headers["idempotency-key"] = context.idempotency_key
        answer: Response = await state.client.request(
            "POST", "/send", headers=headers, content=content, timeout_s=context.remaining_s()
        )
        return answer

    def outcomes(self, batch: Batch, response: Response, context: SendContext) -> Sequence[Outcome]:
        """What an answer means."""
        verdict = verdict_of(response)
        if verdict is not None:
            return outcomes_of(batch.recipients, response, verdict, now=context.clock.now())
        if "ok" not in read(response):
            verdict = verdict_of_error(NoAnswer("protocol", "unreadable"))
            return outcomes_of(batch.recipients, response, verdict, now=context.clock.now())
        return [self.accepted(address.email) for address in batch.recipients]

    def accepted(self, recipient: str) -> Outcome:
        """What the provider took."""
        return Outcome(recipient=recipient, state=State.ACCEPTED, stage="final", code=200)

    def unreadable(self, recipient: str) -> Outcome:
        """A file is gone."""
        return Outcome(
            recipient=recipient, state=State.REJECTED, stage="connect", reason="permanent", hint="Attach it."
        )


def read(response: Response) -> Mapping[str, Any]:
    """The object in an answer, or an empty one."""
    try:
        data = strict_json(response.body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


class HonestContract(ConnectorContract):
    """What the kit has to know of it."""

    __test__ = False
    connector = "honest"
    plugin = Honest()
    provider_kind = "http"

    def answer(self, request: HttpRequest) -> Answer:
        """All is well."""
        return Answer(body=b'{"ok": true}')

    def settings_of(self, provider: HttpProvider) -> dict[str, Any]:
        """Leading to the provider."""
        secret = "whsec_" + base64.b64encode(b"the signing secret of the honest").decode()
        return {"base_url": provider.base_url, "api_key": "the-key-of-the-honest", "webhook_secret": secret}

    def rotated(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """A new secret beside the old."""
        secret = "whsec_" + base64.b64encode(b"another signing secret, later on").decode()
        return {**settings, "webhook_secret": secret, "old_webhook_secret": settings["webhook_secret"]}

    def webhook_body(self) -> bytes:
        """Two events."""
        return b'[{"type": "delivered", "to": "ada@example.com"}, {"type": "bounced", "to": "ben@example.com"}]'

    def unknown_webhook_body(self) -> bytes:
        """One of tomorrow."""
        return b'[{"type": "teleported", "to": "ada@example.com"}]'

    def sign_webhook(self, body: bytes, settings: Mapping[str, Any], at: datetime) -> dict[str, str]:
        """As the provider does."""
        keys = [signing_key(settings["webhook_secret"])]
        return sign(keys, webhook_id="msg_1", timestamp_s=int(at.timestamp()), body=body)
