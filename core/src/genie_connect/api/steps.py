"""The steps of a connector test that ask the provider: the account, and one message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from genie_connect.api.call import Call, decoded
from genie_connect.api.job import Copy, Job
from genie_connect.contract import SendContext, TestContext
from genie_connect.errors import SecretUnavailable, ValidationError
from genie_connect.http import Response, Stopwatch, TransportError, diagnosis_of, diagnosis_of_status
from genie_connect.model.address import Address
from genie_connect.model.batch import new_message_id
from genie_connect.model.diagnosis import NO_SENDER, Diagnosis, Status, Step
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.message import Message
from genie_connect.model.outcome import State
from genie_connect.model.secret import Secret

if TYPE_CHECKING:
    from genie_connect.api.connector import ApiConnector, ApiState

ATTEMPT = "connector-test"


def _never(_: Response) -> bool:
    return False


def _nothing(_: Any) -> Mapping[str, Any]:
    return EMPTY


@attrs.frozen(kw_only=True, eq=False)
class Account:
    """How to find out whether the credentials are good, without sending anything.

    ``facts`` takes what is worth showing from the JSON of a 2xx answer, and raises ``ValueError`` with what is wrong
    where it shows that mail could not be sent. ``field`` is the setting to look at where the key is refused.
    ``unproven`` recognises an answer that says that the key is good and may not ask this: a key for sending alone.
    ``named`` is the setting that names whom or what is asked about, to look at where there is none (404).
    ``proven`` recognises one that is no success and proves the key nevertheless: what was asked for was left incomplete
    on purpose.
    """

    path: str
    method: str = "GET"
    content: bytes = attrs.field(default=b"", repr=False)
    facts: Callable[[Any], Mapping[str, Any]] = _nothing
    field: str = "api_key"
    named: str | None = None
    content_type: str = "application/json"
    unproven: Callable[[Response], bool] = _never
    proven: Callable[[Response], bool] = _never


async def account_step(
    connector: ApiConnector[Any], state: ApiState[Any], account: Account, context: TestContext
) -> Step:
    """Whether the key is good, and what the account may do."""
    watch = Stopwatch(context.clock)
    headers = FrozenMap({"content-type": account.content_type, "accept": "application/json"})
    call = Call(copies=(), path=account.path, method=account.method, content=account.content, headers=headers)
    try:
        response = await connector.ask(state, call, _sending(context))
    except TransportError as error:
        leading = account.field if error.reason == "auth" else "base_url"
        return _failed("account", "Account", watch, diagnosis_of(error, field=leading))
    if account.proven(response):
        return Step(id="account", title="Account", status=Status.OK, summary="the key is valid", ms=watch.ms)
    if response.ok and account.proven is not _never:
        # Nobody takes what was left incomplete on purpose, but a server that takes everything.
        cause = TypeError("it took what cannot be taken")
        return _failed("account", "Account", watch, _not_this_provider(connector.info.title, cause))
    if not response.ok:
        if account.unproven(response):
            summary = "the key may send and not be asked about; a test message would prove it"
            return Step(id="account", title="Account", status=Status.WARN, summary=summary, ms=watch.ms)
        field = account.field if response.status in (401, 403) else None
        diagnosis = diagnosis_of_status(response.status, field=field, server_reply=connector.said(response).text)
        if response.status == 404 and account.named is not None:
            fixes = (f"check the setting {account.named}",)
            diagnosis = attrs.evolve(diagnosis, field=account.named, fixes=fixes)
        return _failed("account", "Account", watch, diagnosis)
    try:
        facts = FrozenMap(account.facts(decoded(response)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return _failed("account", "Account", watch, _not_this_provider(connector.info.title, error))
    return Step(id="account", title="Account", status=Status.OK, summary="the key is valid", facts=facts, ms=watch.ms)


async def message_step(connector: ApiConnector[Any], state: ApiState[Any], to: Address, context: TestContext) -> Step:
    """One real message to ``to``."""
    watch = Stopwatch(context.clock)
    sender = context.default_from
    if sender is None:
        return _failed("message", "Test message", watch, NO_SENDER)
    sending = _sending(context)
    try:
        (call,) = connector.calls(_test_job(sender, to, context), state.settings)
        outcomes = connector.outcomes(call, await connector.ask(state, call, sending), sending)
    except TransportError as error:
        return _failed("message", "Test message", watch, diagnosis_of(error))
    except ValidationError as error:
        cause = "; ".join(str(problem) for problem in error.problems)
        return _failed("message", "Test message", watch, Diagnosis(code="unsupported", title="Not sent", cause=cause))
    outcome = outcomes[0, to.key]
    if outcome.state is not State.ACCEPTED:
        diagnosis = Diagnosis(
            code=f"message_{outcome.reason}",
            title="The test message was not accepted",
            cause=outcome.text or "the provider did not say why",
            evidence=f"HTTP status {outcome.code}" if outcome.code else "",
            fixes=(outcome.hint or "try another address",),
            server_reply=outcome.text,
        )
        return _failed("message", "Test message", watch, diagnosis)
    facts = FrozenMap({"provider_id": outcome.provider_id})
    return Step(id="message", title="Test message", status=Status.OK, summary="accepted", facts=facts, ms=watch.ms)


def secret_step(error: SecretUnavailable, settings: Any) -> Step:
    """The step that failed where a credential cannot be read. It names the setting that leads there."""
    given = {field.name: getattr(settings, field.name) for field in attrs.fields(type(settings))}
    leading = [
        name for name, value in given.items() if isinstance(value, Secret) and value.reference == error.reference
    ]
    diagnosis = Diagnosis(
        code="secret_unavailable",
        title="A credential cannot be read",
        cause=error.message,
        fixes=(error.hint or "give it again",),
        field=leading[0] if leading else None,
    )
    return Step(id="account", title="Account", status=Status.FAIL, summary=diagnosis.title, diagnosis=diagnosis)


def _sending(context: TestContext) -> SendContext:
    return SendContext(attempt_id=ATTEMPT, deadline=context.deadline, clock=context.clock)


def _test_job(sender: Address, to: Address, context: TestContext) -> Job:
    text = f"This is a test of the connection {context.connection}."
    message = Message(subject=f"Test of {context.connection}", text=text)
    copy = Copy(index=0, message_id=new_message_id(sender), to=(to,), message=message)
    return Job(
        message=message,
        sender=sender,
        copies=(copy,),
        options=EMPTY,
        attempt_id=ATTEMPT,
        idempotency_key=None,
        now=context.clock.now(),
    )


def _not_this_provider(title: str, error: Exception) -> Diagnosis:
    known = str(error) if isinstance(error, ValueError) else ""
    return Diagnosis(
        code="http_account" if known else "http_protocol",
        title="The account cannot send" if known else f"This is not {title}",
        cause=known or f"the answer is not one that {title} gives",
        fixes=("look at the account there" if known else "check region and base URL",),
    )


def _failed(step_id: str, title: str, watch: Stopwatch, diagnosis: Diagnosis) -> Step:
    return Step(id=step_id, title=title, status=Status.FAIL, summary=diagnosis.title, ms=watch.ms, diagnosis=diagnosis)
