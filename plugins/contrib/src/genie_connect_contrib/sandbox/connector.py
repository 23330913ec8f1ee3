"""The sandbox connector.

It has every hook that a connector can have, in the order in which they are called in the life of a connection. A
connector for another provider differs in what stands here: its settings, its table, how a batch becomes a request, how
an answer becomes outcomes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlencode

import attrs

from genie_connect.contract import ConnectorInfo, Kind, Runtime, SendContext, TestContext, WebhookRequest
from genie_connect.errors import SecretUnavailable, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import (
    HttpClient,
    Limits,
    TransportError,
    open_client,
    outcomes_of,
    reach,
    verdict_of,
    verdict_of_error,
)
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable, host, yes
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.event import Event
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect_contrib.sandbox.checks import account_step, message_step, secret_step
from genie_connect_contrib.sandbox.mapping import (
    ERRORS,
    error_of,
    outcome_of_result,
    request_body,
    results_of,
    unreadable,
)
from genie_connect_contrib.sandbox.settings import SandboxSettings
from genie_connect_contrib.sandbox.webhooks import parse_webhook

MAX_BATCH = 500
MAX_MESSAGE_BYTES = 10_000_000
KEY_KEPT_S = 86_400
"""The provider forgets no key as long as it runs; so long it is to be relied on."""


@hookimpl
def connector_info() -> ConnectorInfo:
    """Say what this connector is."""
    return ConnectorInfo(
        id="sandbox",
        title="Sandbox",
        kind=Kind.API,
        settings_class=SandboxSettings,
        summary="An email API on this machine that keeps messages and delivers none.",
        quality="platinum",
    )


@hookimpl
def connector_capabilities(settings: SandboxSettings | None) -> CapabilityTable:
    """Everything that is carried, and nothing else."""
    signed = settings is None or settings.webhook_secret is not None
    return CapabilityTable(
        connector="sandbox",
        entries=(
            yes("send.transactional", max_message_bytes=MAX_MESSAGE_BYTES, max_recipients=MAX_BATCH),
            yes("send.broadcast"),
            yes("send.attachments"),
            yes("send.inline_images"),
            yes("send.html"),
            yes("send.cc_bcc"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.envelope_sender"),
            yes("send.international_addresses"),
            yes("send.batch", f"up to {MAX_BATCH} recipients in one call", max_batch=MAX_BATCH),
            yes("send.merge", "merge fields filled in for each copy"),
            yes("send.idempotency", "kept for a day", key_kept_s=KEY_KEPT_S),
            yes("send.tags"),
            yes("send.metadata"),
            yes("send.amp"),
            yes("send.templates", "kept by name; nothing is filled in"),
            yes("send.schedule", "kept with its time; nothing waits"),
            yes("send.track_opens", "kept; nothing is tracked"),
            yes("send.track_clicks", "kept; nothing is tracked"),
            yes("send.provider_options", "kept as they are"),
            *((yes("events.webhook", "signed"), yes("events.signature", "Standard Webhooks")) if signed else ()),
            host("suppressions", support="GenieOS suppressions checked before send"),
            yes("lookup"),
            yes("test.connection"),
            yes("test.message"),
        ),
    )


@attrs.frozen(kw_only=True, repr=False)
class Connection:
    """The state of an open connection: the client, and the header field that carries the API key."""

    client: HttpClient
    authorization: FrozenMap[str]


@hookimpl
async def connector_open(settings: SandboxSettings, runtime: Runtime) -> Connection:
    """Make the HTTP client; nothing is connected to yet. Raises ``SecretUnavailable``."""
    authorization = FrozenMap({"authorization": f"Bearer {settings.api_key.reveal()}"})
    client = await open_client(settings.base_url, limits=Limits(read_s=settings.timeout_s, total_s=settings.timeout_s))
    return Connection(client=client, authorization=authorization)


@hookimpl
async def connector_send(state: Connection, batch: Batch, context: SendContext) -> Sequence[Outcome]:
    """One request for the whole batch; its answer has a result for each recipient."""
    try:
        # Attachments may be files, and files block.
        content = await asyncio.to_thread(request_body, batch) if batch.message.attachments else request_body(batch)
    except (OSError, ValidationError) as error:
        return [unreadable(recipient, error) for recipient in batch.recipients]
    headers = {
        "content-type": "application/json",
        "sandbox-attempt": context.attempt_id,
        **state.authorization,
    }
    if context.idempotency_key is not None:
        headers["idempotency-key"] = context.idempotency_key
    now = context.clock.now()
    try:
        response = await state.client.request(
            "POST", "/v1/messages", headers=headers, content=content, timeout_s=context.remaining_s()
        )
    except TransportError as error:
        return outcomes_of(batch.recipients, error, verdict_of_error(error), now=now)
    word, text = error_of(response)
    verdict = ERRORS.get(word) or verdict_of(response, not_accepted=(429, 503))
    if verdict is not None:
        return outcomes_of(batch.recipients, response, verdict, now=now, text=text)
    results = results_of(response)
    return [
        outcome_of_result(recipient.email, results.get((delivery.message_id, recipient.email)), response.status)
        for delivery in batch.deliveries
        for recipient in delivery.addresses
    ]


@hookimpl
async def connector_lookup(state: Connection, attempt: Attempt) -> Sequence[Outcome]:
    """What the provider knows of an attempt; nothing where it knows nothing, which proves nothing."""
    query = urlencode({"attempt": attempt.id})
    try:
        response = await state.client.request("GET", f"/v1/lookup?{query}", headers=state.authorization)
    except TransportError:
        return ()
    if not response.ok:
        return ()
    results = results_of(response)
    return [outcome_of_result(recipient, result, response.status) for (_, recipient), result in results.items()]


@hookimpl
async def connector_close(state: Connection) -> None:
    """Close the HTTP client."""
    await state.client.close()


@hookimpl
async def connector_test(settings: SandboxSettings, context: TestContext) -> AsyncIterator[Step]:
    """Resolve, connect, TLS, account; and a message where one is asked for."""
    async for step in reach(settings.base_url, clock=context.clock, remaining_s=context.remaining_s):
        yield step
        if step.status is Status.FAIL:
            return
    runtime = Runtime(connection=context.connection, default_from=context.default_from, clock=context.clock)
    try:
        state = await connector_open(settings, runtime)
    except SecretUnavailable as error:
        yield secret_step(error)
        return
    try:
        step = await account_step(state.client, state.authorization, context)
        yield step
        if step.status is Status.OK and context.send_to is not None:
            yield await message_step(state.client, state.authorization, context, context.send_to)
    finally:
        await connector_close(state)


@hookimpl
def connector_parse_webhook(settings: SandboxSettings, request: WebhookRequest) -> Sequence[Event]:
    """Verify over the raw bytes, then read the events."""
    return parse_webhook((settings.webhook_secret, settings.previous_webhook_secret), request)
