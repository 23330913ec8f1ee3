"""The toolkit of API connectors, with a connector that is as small as can be."""

from __future__ import annotations

import asyncio
import email.policy
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import pytest

from genie_connect import Message, SecretUnavailable, Status, ValidationError
from genie_connect.api import (
    Account,
    ApiConnector,
    ApiSettings,
    ApiState,
    Call,
    Entry,
    Job,
    Result,
    decoded,
    job_of,
    json_call,
    object_in,
    outcomes_of,
    text_at,
    tokens_of,
    verdicts,
    with_options,
)
from genie_connect.clock import SystemClock
from genie_connect.contract import ConnectorInfo, Kind, TestContext
from genie_connect.http import FakeHttpClient, NotSent, Response, TransportError
from genie_connect.http.fake import Request
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery, Recipient
from genie_connect.model.capability import CapabilityTable, yes
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.receipt import Attempt, DoubtfulCopy
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from tests.contrib.providers.harness import batch_of, context
from tests.support.clock import FakeClock

BASE: dict[str, Any] = {"to": ["ada@example.com"], "subject": "s", "text": "t"}


@settings
class PigeonSettings(ApiSettings):
    """One key."""

    api_key: Secret = setting(title="API key", secret=True)


class Pigeon(ApiConnector[PigeonSettings]):
    """One request for each copy."""

    info = ConnectorInfo(id="pigeon", title="Pigeon", kind=Kind.API, settings_class=PigeonSettings)
    urls = FrozenMap({"": "https://api.pigeon.example"})
    errors = FrozenMap({"who": verdicts.SENDER, "422 who": verdicts.RECIPIENT})
    not_accepted = (503,)
    protected = frozenset({"to"})

    def capabilities(self, settings: PigeonSettings | None) -> CapabilityTable:
        """Whatever the tests need."""
        return CapabilityTable(connector="pigeon", entries=(yes("send.transactional"), yes("send.broadcast")))

    def authorization(self, settings: PigeonSettings) -> Mapping[str, str]:
        """The key."""
        return {"authorization": settings.api_key.reveal()}

    def account(self, settings: PigeonSettings) -> Account:
        """A name, or a reason why the account cannot send."""
        return Account(path="/account", facts=_name, unproven=lambda response: response.status == 418)

    def calls(self, job: Job, settings: PigeonSettings) -> Iterable[Call]:
        """Whom, and how many files."""
        for copy in job.copies:
            body = {"to": [address.email for address in copy.recipients], "files": [file.content for file in job.files]}
            yield json_call("/send", body, [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """As many as the answer says."""
        return [Result(provider_id=str(each)) for each in decoded(response)]


def _name(data: Any) -> Mapping[str, Any]:
    if data["blocked"]:
        raise ValueError("it is blocked")
    return {"name": data["name"]}


def _state(answer: Callable[[Request], Response | TransportError]) -> tuple[ApiState[Any], FakeHttpClient]:
    client = FakeHttpClient(answer)
    return ApiState(settings=PigeonSettings(api_key="k"), client=client, authorization={}), client


async def _sent(batch: Batch, answer: Callable[[Request], Response | TransportError]) -> list[Outcome]:
    state, _ = _state(answer)
    return list(await Pigeon().connector_send(state, batch, context()))


def _copies(count: int) -> list[Recipient]:
    return [Recipient(address=f"r{number}@example.com") for number in range(count)]


async def test_after_an_answer_about_the_connection_no_further_request_is_made() -> None:
    """A wrong key is tried as often as requests are under way at a time, not for every copy."""
    state, client = _state(lambda _: Response(status=401, body=b'{"message": "no"}'))
    batch = await batch_of(Message(subject="s", text="t"), _copies(50))
    outcomes = await Pigeon().connector_send(state, batch, context())
    assert len(client.requests) <= Pigeon.parallel
    assert {(each.state.value, each.reason) for each in outcomes} == {("deferred", "auth")}
    assert [each.stage for each in outcomes].count("connect") == 50 - len(client.requests)


async def test_no_more_requests_are_under_way_than_the_connector_allows() -> None:
    """And every copy has the answer to its own request."""
    most = 0

    class Counting(FakeHttpClient):
        under_way = 0

        async def request(self, method: str, url: str, **arguments: Any) -> Response:
            nonlocal most
            self.under_way += 1
            most = max(most, self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            return await super().request(method, url, **arguments)

    client = Counting(lambda request: Response(status=200, body=json.dumps(json.loads(request.content)["to"]).encode()))
    state = ApiState(settings=PigeonSettings(api_key="k"), client=client, authorization={})
    batch = await batch_of(Message(subject="s", text="t"), _copies(30))
    outcomes = await Pigeon().connector_send(state, batch, context())
    assert most == Pigeon.parallel
    assert [each.provider_id for each in outcomes] == [each.recipient for each in outcomes]


async def test_a_success_that_says_nothing_of_a_copy_leaves_it_in_doubt() -> None:
    """Never accepted without a yes, never sent again without a no."""
    (outcome,) = await _sent(await batch_of(Message(**BASE)), lambda _: Response(status=200, body=b"[]"))
    assert (outcome.state.value, outcome.reason) == ("unknown", "in_doubt")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Response(status=400, body=b'{"code": "who"}'), ("rejected", "sender_rejected", None)),
        (Response(status=422, body=b'{"code": "who"}'), ("rejected", "recipient_rejected", None)),
        (Response(status=503), ("unknown", "in_doubt", None)),
        (Response(status=503, headers=FrozenMap({"retry-after": "9"})), ("deferred", "temporary", 9.0)),
        (
            Response(status=429, body=b'{"message": "slow, try again after 12 seconds"}'),
            ("deferred", "throttled", 12.0),
        ),
        (Response(status=429, body=b'{"message": "retry in 2 minutes"}'), ("deferred", "throttled", 120.0)),
        (Response(status=429, body=b'{"message": "wait 500 ms"}'), ("deferred", "throttled", 0.5)),
        (Response(status=429, body=b'{"message": "no more than 12 a second"}'), ("deferred", "throttled", None)),
        (NotSent("dns", "no such host"), ("deferred", "connect", None)),
    ],
)
async def test_what_an_answer_means(answer: Response | TransportError, expected: tuple[str, str, float | None]) -> None:
    """By word with status, by word, by status; waits by header or by words."""
    (outcome,) = await _sent(await batch_of(Message(**BASE)), lambda _: answer)
    assert (outcome.state.value, outcome.reason, outcome.retry_after_s) == expected


async def test_a_later_attempt_reaches_those_who_are_left_and_shows_nobody_else() -> None:
    """The delivery still names everybody; a provider would write to whom it is shown."""
    batch = await batch_of(Message(**{**BASE, "to": ["a@example.com", "b@example.com"], "cc": ["c@example.com"]}))
    whole = batch.deliveries[0]
    rest = tuple(each for each in whole.recipients if each.address.local != "a")
    left = Delivery(message_id=whole.message_id, recipients=rest, to=whole.to, cc=whole.cc)
    job = job_of(Batch(message=batch.message, sender=batch.sender, deliveries=(left,)), context(), "pigeon")
    assert [[each.local for each in kind] for kind in (job.copies[0].to, job.copies[0].cc)] == [["b"], ["c"]]
    assert job.copies[0].bcc == ()


async def test_nobody_in_to_is_refused_and_the_other_copies_go() -> None:
    """Bcc alone would be shown to each other, or somebody else would get a copy."""
    state, client = _state(lambda _: Response(status=200, body=b"[1]"))
    alone = (await batch_of(Message(**{**BASE, "to": [], "bcc": ["x@example.com"]}))).deliveries[0]
    other = await batch_of(Message(**BASE))
    batch = Batch(message=other.message, sender=other.sender, deliveries=(alone, *other.deliveries))
    first, second = await Pigeon().connector_send(state, batch, context())
    assert (first.state.value, first.stage, first.retry.value) == ("rejected", "plan", "other")
    assert second.state.value == "accepted"
    assert len(client.requests) == 1


async def test_a_file_that_has_changed_is_refused_before_any_request(tmp_path: Any) -> None:
    """And a file is read and encoded once for all copies."""
    path = tmp_path / "a.txt"
    path.write_text("a")
    message = Message(subject="s", text="t", attachments=[Attachment.from_path(path)])
    batch = await batch_of(message, _copies(3))
    state, client = _state(lambda _: Response(status=200, body=b"[1]"))
    assert {each.state.value for each in await Pigeon().connector_send(state, batch, context())} == {"accepted"}
    path.write_text("changed")
    outcomes = await Pigeon().connector_send(state, batch, context())
    assert {(each.state.value, each.stage) for each in outcomes} == {("rejected", "plan")}
    assert len(client.requests) == 3


async def test_keys_of_requests_are_stable_differ_and_fit() -> None:
    """The same copies have the same key in every attempt; others another one; a long one is shortened by its hash."""
    batch = await batch_of(Message(subject="s", text="t"), _copies(2))
    job, again = (job_of(batch, context(key="k" * 250, attempt=attempt), "pigeon") for attempt in ("1", "2"))
    first, second = job.copies
    assert job.key(first) == again.key(again.copies[0]) != job.key(second)
    assert len(job.key(first) or "") <= 255
    assert job.key() == "k" * 250
    assert len(job.key(longest=100) or "") == 64
    assert job_of(batch, context(key=None), "pigeon").key(first) is None


async def test_tokens_stand_for_fields_once_for_each_way_of_escaping() -> None:
    """Defaults, escaping and braces that are text are as when we fill them in ourselves."""
    message = Message(
        subject="{{ name | you }}", text="{{ name | you }} {{{{ {{ gone | - }}", html="<b>{{ name | R&D }}</b>"
    )
    recipients = [Recipient(address="a@example.com", merge={"name": "<A>"}), Recipient(address="b@example.com")]
    job = job_of(await batch_of(message, recipients), context(), "pigeon")
    tokens = tokens_of(job, lambda name: f"%{name}%")
    assert (tokens.texts.subject, tokens.texts.text, tokens.texts.html) == ("%f0%", "%f0% {{ %f1%", "<b>%f2%</b>")
    for copy in job.copies:
        filled = tokens.texts.html or ""
        for name, value in tokens.values(copy).items():
            filled = filled.replace(f"%{name}%", value)
        assert filled == copy.texts.html
    assert tokens.values(job.copies[0]) == {"f0": "<A>", "f1": "-", "f2": "&lt;A&gt;"}


def test_options_are_laid_over_last() -> None:
    """Objects are merged, all else is replaced; a protected field is refused in any case."""
    body = {"a": {"b": 1, "c": {"d": 2}}, "list": [1]}
    merged = with_options(body, {"a": {"c": {"e": 3}}, "list": [2], "new": None}, {"to"})
    assert merged == {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "list": [2], "new": None}
    assert body == {"a": {"b": 1, "c": {"d": 2}}, "list": [1]}
    for refused in (
        {"PERSONALIZATIONS": []},
        {"Bcc": "eve@example.com"},
        {"a": {"cc": []}},
        {"Headers": [{"Name": "Bcc", "Value": "eve@example.com"}]},
    ):
        with pytest.raises(ValidationError):
            with_options(body, refused, {"personalizations"})


def test_answers_of_strangers_are_read_without_trust() -> None:
    """Anything that is not what it should be is nothing."""
    assert object_in(Response(status=200, body=b"[1]")) == {}
    assert decoded(Response(status=200, body=b'{"a": 1, "a": 2}')) is None
    data = {"a": [{"b": 7}], "t": True, "e": ""}
    assert text_at(data, "a", 0, "b") == "7"
    for path in (("a", 1, "b"), ("a", "b"), ("t",), ("e",), ("a",), ("x", "y")):
        assert text_at(data, *path) is None


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Response(status=200, body=b'{"name": "Coop", "blocked": false}'), Status.OK, None),
        (Response(status=418), Status.WARN, None),
        (Response(status=401), Status.FAIL, "http_auth"),
        (Response(status=200, body=b"<html>"), Status.FAIL, "http_protocol"),
        (Response(status=200, body=b'{"name": "Coop", "blocked": true}'), Status.FAIL, "http_account"),
        (NotSent("connect", "no"), Status.FAIL, "http_connect"),
    ],
)
async def test_the_account_step_tells_a_good_key_from_everything_else(
    answer: Response | TransportError, status: Status, code: str | None
) -> None:
    """And names what to do."""
    from genie_connect.api.steps import account_step

    state, _ = _state(lambda _: answer)
    clock = FakeClock()
    given = TestContext(connection="c", deadline=clock.monotonic() + 9, clock=clock)
    step = await account_step(Pigeon(), state, Pigeon().account(state.settings), given)
    assert (step.status, step.diagnosis.code if step.diagnosis else None) == (status, code)
    assert step.diagnosis is None or step.diagnosis.fixes


async def test_a_key_that_cannot_be_read_ends_the_test_with_its_setting() -> None:
    """Where the settings lead to nothing, before anything is sent."""
    from genie_connect_contrib.sandbox.server import Answer, HttpServer

    async def nothing(_: object) -> Answer:
        return Answer(status=500)

    server = HttpServer(nothing, host="127.0.0.1", port=0, max_body_bytes=1000)
    await server.start()
    try:
        configured = PigeonSettings(api_key="env:GENIE_NO_SUCH_KEY", base_url=f"http://127.0.0.1:{server.port}")
        given = TestContext(connection="c", deadline=SystemClock().monotonic() + 9)
        steps = [step async for step in Pigeon().connector_test(configured, given)]
    finally:
        await server.stop()
    assert steps[-1].status is Status.FAIL
    assert steps[-1].diagnosis is not None
    assert (steps[-1].diagnosis.code, steps[-1].diagnosis.field) == ("secret_unavailable", "api_key")
    with pytest.raises(SecretUnavailable):
        PigeonSettings(api_key="env:GENIE_NO_SUCH_KEY").api_key.reveal()


def test_address_is_shown_as_mailbox() -> None:
    """What mappings write with ``str`` is read back as the same address, whatever the name holds."""
    for name in ('Lovelace, Ada "the first"', "Ада", "a\\b", "x@y", ""):
        address = Address(name=name, local="ada", domain="example.com")
        assert Address.parse(str(address)) == address


async def test_a_copy_is_composed_whole_for_those_whom_it_has_to_reach() -> None:
    """Who has an outcome already stands in no field, Bcc names whom no other does, and all copies are as if alone."""
    message = Message(
        to=["ada@example.com", "bob@example.com"],
        cc=["cy@example.com"],
        bcc=["Dee <dee@example.com>"],
        subject="s",
        text="Dear {{ name }}",
        attachments=[Attachment(filename="a.bin", content=bytes(range(256)))],
    )
    batch = await batch_of(message)
    (delivery,) = batch.deliveries
    rest = attrs.evolve(delivery, recipients=delivery.recipients[1:])
    job = job_of(attrs.evolve(batch, deliveries=(rest,)), context(), "pigeon")
    read = email.message_from_bytes(job.mime(job.copies[0]), policy=email.policy.default)
    assert {name: str(read[name]) for name in ("To", "Cc", "Bcc", "Message-ID")} == {
        "To": "bob@example.com",
        "Cc": "cy@example.com",
        "Bcc": "Dee <dee@example.com>",
        "Message-ID": delivery.message_id,
    }
    assert [part.get_content() for part in read.walk() if not part.is_multipart()] == [
        "Dear {{ name }}",
        bytes(range(256)),
    ]
    merged = await batch_of(message, [Recipient(address=f"r{n}@example.com", merge={"name": str(n)}) for n in range(2)])
    together = job_of(merged, context(), "pigeon")
    for copy in together.copies:
        assert together.mime(copy) == attrs.evolve(together, copies=(copy,)).mime(copy)
        assert b"Bcc" not in together.mime(copy)


@pytest.mark.parametrize("order", [1, -1])
def test_a_copy_that_a_record_has_as_taken_was_taken(order: int) -> None:
    """Whatever else stands there of it, and in whatever order: a refusal of one try is none of the copy."""
    copy = DoubtfulCopy(message_id="<1@example.com>", recipient="ada@example.com")
    attempt = Attempt(id="a1", connection="api", stage="final", outcome="unknown", in_doubt=(copy,))
    entries = [
        Entry(recipient=copy.recipient, message_id=copy.message_id, refused=refused) for refused in (True, False)
    ]
    (outcome,) = outcomes_of(attempt, entries[::order])
    assert outcome.state is State.ACCEPTED


def test_an_http_client_that_is_not_installed_is_a_problem_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found when the settings are read, not when the first message is to leave."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ValidationError) as caught:
        PigeonSettings(api_key="k", http_client="aiohttp")
    (problem,) = caught.value.problems
    assert problem.path == "http_client"
    assert "genie-connect[aiohttp]" in problem.fix
    assert PigeonSettings(api_key="k").http_client == "httpx2"
