"""The hooks of a connector for an HTTP API, once for all providers.

A provider is a class of its own with what is its own: settings, a table of capabilities, how copies become requests,
how an answer becomes results, what its errors mean.

::

    class Acme(ApiConnector[AcmeSettings]):
        info = ConnectorInfo(id="acme", title="Acme", kind=Kind.API, settings_class=AcmeSettings)
        urls = {"": "https://api.acme.example"}
        protected = frozenset({"from", "to"})
        bearer = "api_key"

        def capabilities(self, settings):
            return self.table(settings, yes("send.transactional", max_recipients=50), ...)

        def calls(self, job, settings):
            for copy in job.copies:
                body = {"from": str(job.sender), "to": [str(address) for address in copy.to], ...}
                yield json_call("/send", self.body(job, body), [copy])

        def results(self, call, response):
            return [Result(provider_id=text_at(decoded(response), "id"))]

    connector = Acme()

The entry point names the object: ``acme = "acme_connect:connector"``. A provider with webhooks inherits from
``WebhookConnector``.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Container, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import attrs

from genie_connect.api.call import Call, Result, Said, decoded, filled, object_in, text_at, with_options
from genie_connect.api.job import Copy, Job, job_of
from genie_connect.api.refusals import not_shown, unreadable
from genie_connect.api.rows import COMMON
from genie_connect.api.settings import ApiSettings
from genie_connect.api.steps import Account, account_step, message_step, secret_step
from genie_connect.contract import ConnectorInfo, Runtime, SendContext, TestContext
from genie_connect.errors import Problem, SecretUnavailable, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import (
    HttpClient,
    Limits,
    NoAnswer,
    NotSent,
    Response,
    TransportError,
    Verdict,
    open_client,
    outcome_of,
    reach,
    retry_after_s,
    verdict_of,
    verdict_of_error,
)
from genie_connect.http.outcomes import UNKNOWN
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch
from genie_connect.model.capability import Capability, CapabilityTable
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.frozen import EMPTY
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.secret import Secret

S = TypeVar("S", bound=ApiSettings)

IN_THREAD_CHARACTERS = 256 * 1024
"""Encoding so much text would hold the event loop up for some milliseconds."""
# Seconds or what is named, and no year of a date.
_WAIT = re.compile(r"(?:try again|retry|wait)\D{0,20}?(\d{1,6})(?![\d-])\s*(ms|milli|m|h)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "m": 60.0, "h": 3600.0}


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ApiState(Generic[S]):
    """The state of an open connection."""

    settings: S
    client: HttpClient
    authorization: Mapping[str, str]


class ApiConnector(Generic[S]):
    """A connector for an HTTP API. Everything without a body here is for a provider's class to give."""

    info: ConnectorInfo
    urls: ClassVar[Mapping[str, str]] = EMPTY
    """The base URLs, by region; ``""`` is the key of the only one."""
    errors: ClassVar[Mapping[str, Verdict]] = {}
    """What the words mean that ``said`` finds in an answer that is no success; ``403 word`` goes before ``word``."""
    statuses: ClassVar[Mapping[int, Verdict]] = {}
    """What statuses mean that mean something else than in ``genie_connect.http.STATUS``."""
    not_accepted: ClassVar[Container[int]] = ()
    """Statuses that, with Retry-After, are documented to mean that nothing was taken."""
    itemised: ClassVar[Container[int]] = ()
    """Statuses outside 2xx whose answers may still speak of each copy, as ``results`` reads them."""
    protected: ClassVar[frozenset[str]]
    """Fields of the request that no provider option may touch: recipients, sender, credentials."""
    needs_to: ClassVar[bool] = True
    """Whether a request without anybody in To is refused."""
    needs_subject: ClassVar[bool] = False
    """Whether a message with an empty subject is refused, unless a template has one."""
    needs_body: ClassVar[bool] = False
    """Whether a message with neither text nor HTML is refused, unless a template has some."""
    bearer: ClassVar[str] = ""
    """The setting whose secret goes along as a bearer token."""
    parallel: ClassVar[int] = 4
    """How many requests of one batch are under way at a time."""

    def capabilities(self, settings: S | None) -> CapabilityTable:
        """What it supports with these settings, or at the most."""
        raise NotImplementedError

    def authorization(self, settings: S) -> Mapping[str, str]:
        """The header fields that carry the credentials. Raises ``SecretUnavailable``."""
        if not self.bearer:
            raise NotImplementedError
        secret: Secret = getattr(settings, self.bearer)
        return {"authorization": f"Bearer {secret.reveal()}"}

    def problems(self, job: Job, settings: S) -> Iterable[Problem]:
        """What the provider does not take in this message, so that it is refused before any request."""
        message = job.message
        if message.template is not None:
            return
        if self.needs_subject and not message.subject:
            yield Problem("subject", f"is empty, and {self.info.title} takes no such message", "give one")
        if self.needs_body and not message.text and not message.html:
            cause = f"is empty, and {self.info.title} takes no message without a body"
            yield Problem("text", cause, "give a text")

    def calls(self, job: Job, settings: S) -> Iterable[Call]:
        """The requests that hand the copies over, each copy in one of them. No I/O.

        Raises ``ValidationError`` for what the provider cannot take: then nothing of the job leaves.
        """
        raise NotImplementedError

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """What a 2xx answer says of each copy of the call, in their order. What is missing is in doubt."""
        raise NotImplementedError

    def said(self, response: Response) -> Said:
        """The word and the text of an answer that is no success, from the commonest shapes of JSON."""
        data = object_in(response)
        word = text_at(data, "name") or text_at(data, "code") or text_at(data, "error_code")
        text = text_at(data, "message") or text_at(data, "error", "message") or text_at(data, "error")
        return Said(word=word or "", text=text)

    def table(self, settings: S | None, *entries: Capability) -> CapabilityTable:
        """A table of these entries, with the rows for webhooks and those that all tables have."""
        named = {entry.name for entry in entries}
        common = [entry for entry in (*self.event_rows(settings), *COMMON) if entry.name not in named]
        return CapabilityTable(connector=self.info.id, entries=(*entries, *common))

    def event_rows(self, settings: S | None) -> tuple[Capability, ...]:
        """The rows for webhooks; for ``WebhookConnector`` to give."""
        return ()

    def body(self, job: Job, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that hold something, with the message's provider options over them. Raises ``ValidationError``."""
        return with_options(filled(fields), job.options, self.protected)

    def account(self, settings: S) -> Account | None:
        """The request that shows whether the credentials are good; ``None`` where the provider has none."""
        return None

    def url(self, settings: S) -> str:
        """The base URL that the settings choose; by ``region`` where there are several."""
        return self.urls[getattr(settings, "region", "")]

    def signed(self, call: Call, state: ApiState[S], context: SendContext) -> Mapping[str, str]:
        """All header fields of a request. For providers that sign each one."""
        return {**call.headers, **state.authorization}

    @hookimpl
    def connector_info(self) -> ConnectorInfo:
        """What the connector is."""
        return self.info

    @hookimpl
    def connector_capabilities(self, settings: S | None) -> CapabilityTable:
        """What it supports."""
        return self.capabilities(settings)

    @hookimpl
    async def connector_open(self, settings: S, runtime: Runtime) -> ApiState[S]:
        """Make the HTTP client; nothing is connected to yet. Raises as ``open_client``, and ``SecretUnavailable``."""
        authorization = self.authorization(settings)
        limits = Limits(read_s=settings.timeout_s, total_s=settings.timeout_s)
        url = settings.base_url or self.url(settings)
        client = await open_client(url, limits=limits, library=settings.http_client)
        return ApiState(settings=settings, client=client, authorization=authorization)

    @hookimpl
    async def connector_send(self, state: ApiState[S], batch: Batch, context: SendContext) -> Sequence[Outcome]:
        """Make the requests, send them, read the answers: one outcome for each recipient, in their order."""
        known: dict[tuple[int, str], Outcome] = {}
        try:
            job = job_of(batch, context, self.info.id)
            if self.needs_to and not all(copy.to for copy in job.copies):
                job = self._with_to(job, known)
            # Attachments may be files, and files block; much text takes its time.
            if batch.message.attachments or _has_much_text(batch.message):
                calls = await asyncio.to_thread(self._made, job, state.settings)
            else:
                calls = self._made(job, state.settings)
        except (OSError, ValidationError) as error:
            return [unreadable(recipient, error) for recipient in batch.recipients]
        await self._hand_over(calls, state, context, known)
        return [
            known.get((index, address.key)) or _in_doubt(address)
            for index, delivery in enumerate(batch.deliveries)
            for address in delivery.addresses
        ]

    @hookimpl
    async def connector_test(self, settings: S, context: TestContext) -> AsyncIterator[Step]:
        """Resolve, connect, TLS, credentials; and one message where it is asked for."""
        base_url = settings.base_url or self.url(settings)
        async for step in reach(base_url, clock=context.clock, remaining_s=context.remaining_s):
            yield step
            if step.status is Status.FAIL:
                return
        runtime = Runtime(connection=context.connection, default_from=context.default_from, clock=context.clock)
        try:
            state = await self.connector_open(settings, runtime)
        except SecretUnavailable as error:
            yield secret_step(error, settings)
            return
        try:
            account = self.account(settings)
            if account is not None:
                step = await account_step(self, state, account, context)
                yield step
                if step.status is Status.FAIL:
                    return
            if context.send_to is not None:
                yield await message_step(self, state, context.send_to, context)
        finally:
            await self.connector_close(state)

    @hookimpl
    async def connector_close(self, state: ApiState[S]) -> None:
        """Close the HTTP client."""
        await state.client.close()

    async def ask(self, state: ApiState[S], call: Call, context: SendContext) -> Response:
        """Send one request. Raises ``TransportError``."""
        headers = self.signed(call, state, context)
        return await state.client.request(
            call.method, call.path, headers=headers, content=call.content, timeout_s=context.remaining_s()
        )

    async def found(self, state: ApiState[S], path: str) -> Any:
        """The JSON that a GET finds, or ``None``: for look-ups, where finding nothing proves nothing."""
        call = Call(copies=(), path=path, method="GET")
        context = SendContext(attempt_id="look-up", deadline=math.inf)
        try:
            response = await self.ask(state, call, context)
        except TransportError:
            return None
        return decoded(response) if response.ok else None

    def outcomes(
        self, call: Call, found: Response | TransportError, context: SendContext
    ) -> Mapping[tuple[int, str], Outcome]:
        """What an answer, or the lack of one, means for each recipient, by index of the copy and address key."""
        results = self._read(call, found) if isinstance(found, Response) else None
        if isinstance(found, Response) and results is not None:
            pairs = zip(call.copies, results, strict=False)
            return {
                (copy.index, address.key): _outcome(address, result.each.get(address.key, result), found, context)
                for copy, result in pairs
                for address in copy.recipients
            }
        verdict, text = self._verdict(found)
        if isinstance(found, Response):
            retry_s = _retry_s(found, text, verdict, context)
        else:
            retry_s = found.retry_after_s if isinstance(found, NotSent) else None
        code = found.status if isinstance(found, Response | NoAnswer) else None
        stage = "final" if isinstance(found, Response) else "request" if isinstance(found, NoAnswer) else "connect"
        return {
            (copy.index, address.key): outcome_of(address, verdict, code=code, text=text, stage=stage, retry_s=retry_s)
            for copy in call.copies
            for address in copy.recipients
        }

    def _read(self, call: Call, response: Response) -> Sequence[Result] | None:
        """The result of each copy; ``None`` where the answer is about all of them at once."""
        if not response.ok and response.status not in self.itemised:
            return None
        results = [*self.results(call, response)]
        short = len(call.copies) - len(results)
        if short and not response.ok:
            return None
        return results + [Result(verdict=UNKNOWN, text="the answer says nothing of this copy")] * short

    def _made(self, job: Job, settings: S) -> list[Call]:
        if not job.copies:
            return []
        if problems := list(self.problems(job, settings)):
            raise ValidationError(problems)
        return list(self.calls(job, settings))

    def _with_to(self, job: Job, known: dict[tuple[int, str], Outcome]) -> Job:
        """The job without the copies that show nobody in To, whose outcomes are put into ``known``."""
        for copy in (copy for copy in job.copies if not copy.to):
            known.update(
                {(copy.index, address.key): not_shown(address, self.info.title) for address in copy.recipients}
            )
        return attrs.evolve(job, copies=tuple(copy for copy in job.copies if copy.to))

    async def _hand_over(
        self,
        calls: Sequence[Call],
        state: ApiState[S],
        context: SendContext,
        known: dict[tuple[int, str], Outcome],
    ) -> None:
        """Send every request, some at a time; after an answer that is about the connection, no further one."""
        room = asyncio.Semaphore(self.parallel)
        stopped: list[Outcome] = []

        async def one(call: Call) -> None:
            async with room:
                if stopped:
                    known.update({(copy.index, a.key): _not_tried(a, stopped[0]) for copy, a in _each(call)})
                    return
                try:
                    found: Response | TransportError = await self.ask(state, call, context)
                except TransportError as error:
                    found = error
                outcomes = self.outcomes(call, found, context)
                known.update(outcomes)
                stopped.extend(
                    o for o in outcomes.values() if o.scope is Scope.CONNECTION and o.retry is not Retry.NEVER
                )

        if len(calls) == 1:
            await one(calls[0])
            return
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(one(call))

    def _verdict(self, found: Response | TransportError) -> tuple[Verdict, str | None]:
        if isinstance(found, TransportError):
            return verdict_of_error(found), found.message
        said = self.said(found)
        verdict = self.errors.get(f"{found.status} {said.word}") or self.errors.get(said.word)
        if verdict is None:
            verdict = verdict_of(found, overrides=self.statuses, not_accepted=self.not_accepted) or UNKNOWN
        return verdict, said.text


def _has_much_text(message: Message) -> bool:
    return len(message.text or "") + len(message.html or "") > IN_THREAD_CHARACTERS


def _each(call: Call) -> Iterable[tuple[Copy, Address]]:
    return ((copy, address) for copy in call.copies for address in copy.recipients)


def _retry_s(response: Response, text: str | None, verdict: Verdict, context: SendContext) -> float | None:
    """How long to wait: by the header, or by the words of a provider that has none."""
    header = retry_after_s(response.headers, context.clock.now())
    if header is not None or verdict.state is not State.DEFERRED or not text:
        return header
    said = _WAIT.search(text)
    return None if said is None else min(float(said[1]) * _SECONDS.get((said[2] or "").lower(), 1.0), 86_400.0)


def _outcome(address: Address, result: Result, response: Response, context: SendContext) -> Outcome:
    code = response.status if result.code is None else result.code
    if result.verdict is None:
        return Outcome(
            recipient=address.email, state=State.ACCEPTED, stage="final", code=code, provider_id=result.provider_id
        )
    outcome = outcome_of(
        address,
        result.verdict,
        code=code,
        text=result.text,
        retry_s=_retry_s(response, result.text, result.verdict, context),
    )
    return attrs.evolve(outcome, suppress=True) if result.suppress else outcome


def _not_tried(address: Address, first: Outcome) -> Outcome:
    """Of a copy that stayed here since the provider had just refused another for what is about the connection."""
    return attrs.evolve(first, recipient=address.email, stage="connect", state=State.DEFERRED)


def _in_doubt(address: Address) -> Outcome:
    return outcome_of(address, UNKNOWN, text="the connector put this copy in no request")
