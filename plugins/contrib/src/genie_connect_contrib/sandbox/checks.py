"""The steps of the connector test that are this provider's own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from genie_connect.contract import TestContext
from genie_connect.errors import SecretUnavailable
from genie_connect.http import HttpClient, Stopwatch, TransportError, diagnosis_of, diagnosis_of_status
from genie_connect.model.address import Address
from genie_connect.model.batch import new_message_id
from genie_connect.model.diagnosis import NO_SENDER, Diagnosis, Status, Step
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import State
from genie_connect_contrib.sandbox.mapping import (
    answer_of,
    error_of,
    mailbox,
    outcome_of_result,
    results_of,
)


async def account_step(client: HttpClient, authorization: Mapping[str, str], context: TestContext) -> Step:
    """Whether the API key is valid, and what the account may do."""
    watch = Stopwatch(context.clock)
    try:
        response = await client.request("GET", "/v1/account", headers=authorization, timeout_s=context.remaining_s())
    except TransportError as error:
        return _failed("account", "Account", watch, diagnosis_of(error))
    if not response.ok:
        field = "api_key" if response.status in (401, 403) else "base_url"
        diagnosis = diagnosis_of_status(response.status, field=field, server_reply=error_of(response)[1])
        return _failed("account", "Account", watch, diagnosis)
    account = answer_of(response)
    if "max_recipients" not in account:
        diagnosis = Diagnosis(
            code="http_protocol",
            title="This is not a sandbox provider",
            cause="the answer to GET /v1/account is not the provider's",
            fixes=("check the base URL",),
            field="base_url",
        )
        return _failed("account", "Account", watch, diagnosis)
    facts = FrozenMap(
        {name: account[name] for name in ("name", "max_recipients", "max_message_bytes") if name in account}
    )
    summary = "the API key is valid"
    return Step(id="account", title="Account", status=Status.OK, summary=summary, facts=facts, ms=watch.ms)


async def message_step(client: HttpClient, authorization: Mapping[str, str], context: TestContext, to: Address) -> Step:
    """One real message to ``to``."""
    watch = Stopwatch(context.clock)
    sender = context.default_from
    if sender is None:
        return _failed("message", "Test message", watch, NO_SENDER)
    copy = {"message_id": new_message_id(sender), "recipients": [to.email], "to": [mailbox(to)]}
    text = f"This is a test of the connection {context.connection}."
    body = {"from": mailbox(sender), "envelope_from": sender.email, "subject": "Test", "text": text, "copies": [copy]}
    headers = {"content-type": "application/json", **authorization}
    try:
        response = await client.request(
            "POST", "/v1/messages", headers=headers, content=json.dumps(body).encode(), timeout_s=context.remaining_s()
        )
    except TransportError as error:
        return _failed("message", "Test message", watch, diagnosis_of(error))
    if not response.ok:
        reply = error_of(response)[1]
        return _failed("message", "Test message", watch, diagnosis_of_status(response.status, server_reply=reply))
    outcome = outcome_of_result(to.email, next(iter(results_of(response).values()), None), response.status)
    if outcome.state is not State.ACCEPTED:
        diagnosis = Diagnosis(
            code=f"message_{outcome.reason}",
            title="The test message was not accepted",
            cause=outcome.text or "the provider did not say why",
            fixes=(outcome.hint or "try another address",),
            server_reply=outcome.text,
        )
        return _failed("message", "Test message", watch, diagnosis)
    facts = FrozenMap({"provider_id": outcome.provider_id})
    return Step(id="message", title="Test message", status=Status.OK, summary="accepted", facts=facts, ms=watch.ms)


def secret_step(error: SecretUnavailable) -> Step:
    """The step that failed where the API key cannot be read."""
    diagnosis = Diagnosis(
        code="secret_unavailable",
        title="The API key cannot be read",
        cause=error.message,
        fixes=(error.hint or "give the key again",),
        field="api_key",
    )
    return Step(id="account", title="Account", status=Status.FAIL, summary=diagnosis.title, diagnosis=diagnosis)


def _failed(step_id: str, title: str, watch: Stopwatch, diagnosis: Diagnosis) -> Step:
    return Step(id=step_id, title=title, status=Status.FAIL, summary=diagnosis.title, ms=watch.ms, diagnosis=diagnosis)
