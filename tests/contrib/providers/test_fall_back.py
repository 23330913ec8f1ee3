"""Each first-class provider as the first connection and SMTP as the second: what becomes of mail when the API fails.

The provider is a server on this machine that answers as the provider's documentation says, and keeps what it took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs

import genie_connect_smtp.plugin
from genie_connect import Host, Message, Outcome, Receipt, Registry, State
from genie_connect.http import Response
from genie_connect.http.fake import Request
from genie_connect_contrib.sandbox.server import Answer, Call, HttpServer
from genie_connect_spec.smtp_server import ScriptedSmtpServer, refusing_port
from tests.contrib.providers import brevo, mailersend, mailgun, mailjet, mailtrap, postmark, resend, sendgrid, ses
from tests.contrib.providers.harness import SHOP, Provider, answer
from tests.support.clock import FakeClock

FIRST_CLASS = [
    module.PROVIDER for module in (brevo, mailersend, mailgun, mailjet, mailtrap, postmark, resend, sendgrid, ses)
]
LETTER = Message(from_=SHOP, subject="Hello", text="Dear reader")
EVERYBODY = ["ada@example.com", "bob@example.com", *(f"reader{number}@example.com" for number in range(10))]
PAYMENT_REQUIRED = answer(402, {"message": "Payment required"})
QUOTA = {
    "brevo": "no credits",
    "mailersend": "daily quota",
    "postmark": "out of credit",
    "resend": "daily quota",
    "sendgrid": "no credits",
    "ses": "quota",
}
"""Which of a provider's answers says that the account is used up; one that documents none answers 402."""
REVOKED = {"mailersend": "wrong token", "mailtrap": "wrong token", "postmark": "no token", "sendgrid": "no key"}
THROTTLED = {"mailgun": "throttled by text", "ses": "too fast"}


class EmulatedApi:
    """A provider on this machine. ``taken`` counts the copies it would send, by address.

    With a ``refusal`` it takes the ``good`` first requests and refuses the others. The ``silent`` first ones get no
    answer. What comes again under an idempotency key that it honours is answered, and not sent again.
    """

    def __init__(self, provider: Provider, *, refusal: Response | None = None, good: int = 0, silent: int = 0) -> None:
        self._provider = provider
        self._keyed = provider.connector.capabilities(None)["send.idempotency"].available
        self._known: set[str] = set()
        self._refusal = refusal
        self._good = good
        self._silent = silent
        self.requests: list[Request] = []
        self.taken: Counter[str] = Counter()

    async def __call__(self, call: Call) -> Answer | None:
        """Take it and answer, or refuse it, or take it and hang up."""
        request = Request(method=call.method, url=call.target, headers=call.headers, content=call.body)
        self.requests.append(request)
        response = self._refusal
        if response is None or self._good > 0:
            self._good -= 1
            self._take(request)
            response = self._provider.accepts(request)
        if self._silent > 0:
            self._silent -= 1
            return None
        return Answer(status=response.status, headers=response.headers, body=response.body)

    def _take(self, request: Request) -> None:
        key = request.headers.get("idempotency-key") if self._keyed else None
        if key is None or key not in self._known:
            self.taken.update(self._provider.reached(request))
        if key is not None:
            self._known.add(key)


@attrs.frozen
class Fallen:
    """What became of everything that was sent while a provider failed. ``plan`` is the one for the next message."""

    receipts: list[Receipt]
    outcomes: list[Outcome]
    plan: str
    by_smtp: Counter[str]


class Stand:
    """One server for all the providers, one for SMTP, and a host over both for each case."""

    def __init__(self, smtp: ScriptedSmtpServer, http: HttpServer) -> None:
        self.http = http
        self.smtp = smtp

    async def fallen(self, provider: Provider, api: EmulatedApi, port: int | None = None) -> Fallen:
        """Send EVERYBODY something: two one copy, two a message each, six a copy each, two a message each."""
        self.http.handler = api
        before = len(self.smtp.accepted)
        url = f"http://127.0.0.1:{port or self.http.port}"
        smtp = {"host": "127.0.0.1", "port": self.smtp.port, "security": "none"}
        connections = {
            "api": {"connector": provider.id, "settings": {**provider.settings, "base_url": url}},
            "smtp": {"connector": "smtp", "settings": smtp},
        }
        registry = Registry(strict=True)
        registry.register(provider.id, provider.connector)
        registry.register("smtp", genie_connect_smtp.plugin)
        async with Host.open({"connections": connections}, registry=registry, clock=FakeClock()) as host:
            receipts = [await host.send(attrs.evolve(LETTER, to=EVERYBODY[:1], cc=EVERYBODY[1:2]))]
            receipts += [await host.send(attrs.evolve(LETTER, to=[email])) for email in EVERYBODY[2:4]]
            outcomes = [outcome async for outcome in host.send_each(LETTER, EVERYBODY[4:10])]
            receipts += [await host.send(attrs.evolve(LETTER, to=[email])) for email in EVERYBODY[10:]]
            plan = host.plan(LETTER).explain()
        outcomes += [outcome for receipt in receipts for outcome in receipt.outcomes.values()]
        taken = self.smtp.accepted[before:]
        by_smtp = Counter(email for message in taken for email in message.recipients)
        return Fallen(receipts=receipts, outcomes=outcomes, plan=plan, by_smtp=by_smtp)


@asynccontextmanager
async def _stand() -> AsyncIterator[Stand]:
    async def nothing(_: Call) -> None:
        return None

    server = HttpServer(nothing, host="127.0.0.1", port=0, max_body_bytes=1_000_000)
    await server.start()
    try:
        async with ScriptedSmtpServer() as smtp:
            yield Stand(smtp, server)
    finally:
        await server.stop()


def _refusal(provider: Provider, names: Mapping[str, str], usual: str) -> Response:
    """The provider's own answer of that name."""
    name = names.get(provider.id, usual)
    found = next((each.answer for each in provider.answers if each.name == name), PAYMENT_REQUIRED)
    assert isinstance(found, Response)
    return found


async def test_mail_that_the_api_did_not_take_goes_by_smtp_once_and_the_reason_is_told() -> None:
    """Outage, storm of 429, quota, revoked key, at nine providers: none lost, none twice, in receipt and plan alike."""
    async with _stand() as stand, refusing_port() as closed:
        for provider in FIRST_CLASS:
            for failure, reasons, refusal, port in (
                ("outage", {"connect"}, None, closed),
                ("storm", {"throttled"}, _refusal(provider, THROTTLED, "throttled"), None),
                ("quota", {"throttled", "policy"}, _refusal(provider, QUOTA, "-"), None),
                ("revoked", {"auth"}, _refusal(provider, REVOKED, "wrong key"), None),
            ):
                case = f"{provider.id}: {failure}"
                api = EmulatedApi(provider, refusal=refusal, good=1 if failure == "storm" else 0)
                fallen = await stand.fallen(provider, api, port)
                assert api.taken + fallen.by_smtp == Counter(EVERYBODY), case
                assert api.taken.total() == (2 if failure == "storm" else 0), case
                assert {outcome.state for outcome in fallen.outcomes} == {State.ACCEPTED}, case
                refused = [
                    attempt for receipt in fallen.receipts for attempt in receipt.attempts if attempt.reason is not None
                ]
                assert {attempt.connection for attempt in refused} == {"api"}, case
                assert {attempt.reason for attempt in refused} <= reasons, case
                # Once it is paused nobody waits for it, and the plan says for what.
                assert fallen.receipts[-1].connection == "smtp", case
                assert f"after: {refused[-1].text or refused[-1].reason}" in fallen.plan, (case, fallen.plan)


async def test_mail_that_the_api_took_without_an_answer_is_in_doubt_and_goes_by_no_other_way() -> None:
    """Whoever was in doubt was not sent to by SMTP; only what was never handed over to the silent API was."""
    async with _stand() as stand:
        for provider in FIRST_CLASS:
            api = EmulatedApi(provider, silent=1000)
            fallen = await stand.fallen(provider, api)
            doubtful = {outcome.recipient for outcome in fallen.outcomes if outcome.state is State.UNKNOWN}
            assert api.taken + fallen.by_smtp == Counter(EVERYBODY), provider.id
            assert doubtful == set(api.taken), provider.id
            assert {"ada@example.com", "bob@example.com"} <= doubtful, provider.id
            for receipt in fallen.receipts:
                in_doubt = [attempt for attempt in receipt.attempts if attempt.outcome == "unknown"]
                assert {attempt.connection for attempt in receipt.attempts} == {"api" if in_doubt else "smtp"}
                assert {attempt.reason for attempt in in_doubt} <= {"in_doubt"}
            keys = [request.headers.get("idempotency-key") for request in api.requests]
            if provider.connector.capabilities(None)["send.idempotency"].available:
                # Asked again under its key, as often as any connection is.
                assert keys[:3] == [keys[0]] * 3
                assert None not in keys
                assert len({(request.headers["idempotency-key"], request.content) for request in api.requests}) == len(
                    set(keys)
                )
            else:
                assert set(keys) == {None}
                assert len({request.content for request in api.requests}) == len(api.requests)


async def test_a_lost_answer_is_asked_for_again_where_the_provider_knows_the_key() -> None:
    """The same bytes under the same key, and nothing is sent twice; the others leave it in doubt."""
    async with _stand() as stand:
        for provider in FIRST_CLASS:
            api = EmulatedApi(provider, silent=1)
            fallen = await stand.fallen(provider, api)
            assert api.taken == Counter(EVERYBODY), provider.id
            first = fallen.receipts[0]
            if provider.connector.capabilities(None)["send.idempotency"].available:
                assert first.accepted
                one, two = api.requests[:2]
                assert (one.headers["idempotency-key"], one.content) == (two.headers["idempotency-key"], two.content)
            else:
                assert {outcome.state for outcome in first.outcomes.values()} == {State.UNKNOWN}
            assert fallen.by_smtp == Counter()
