"""What single providers do differently from the others."""

from __future__ import annotations

import base64
import json
from email import message_from_bytes, policy
from typing import Any

import attrs
import pytest

from genie_connect import Message, State
from genie_connect.http import FakeHttpClient, NoAnswer, Response
from genie_connect.http.fake import Request
from genie_connect.model.batch import Recipient
from genie_connect.model.provider_template import ProviderTemplate
from genie_connect.model.receipt import Attempt
from tests.contrib.providers import brevo, mailersend, mailgun, mailjet, mailtrap, postmark, sendgrid, ses
from tests.contrib.providers.harness import SHOP, Provider, answer, batch_of, said

TWO = [Recipient(address=f"{name}@example.com") for name in ("ada", "bob")]
ATTEMPT = Attempt(id="a1b2c3d4e5f60718", connection="api", stage="request", outcome="unknown")


async def _states(provider: Provider, response: Response) -> list[tuple[str, str, str | None]]:
    batch = await batch_of(Message(subject="s", text="t"), TWO)
    _, outcomes = await provider.send(batch, lambda _: response)
    return [(each.recipient, each.state.value, each.reason) for each in outcomes]


@pytest.mark.parametrize(
    ("provider", "response"),
    [
        (
            postmark.PROVIDER,
            answer(
                200, [{"ErrorCode": 0, "Message": "OK", "MessageID": "1"}, {"ErrorCode": 406, "Message": "Inactive"}]
            ),
        ),
        (
            mailjet.PROVIDER,
            answer(
                400,
                {
                    "Messages": [
                        {"Status": "success", "To": [{"Email": "ada@example.com", "MessageID": 1}]},
                        {"Status": "error", "Errors": [{"ErrorCode": "mj-0013", "ErrorRelatedTo": ["To[0].Email"]}]},
                    ]
                },
            ),
        ),
    ],
    ids=["postmark", "mailjet"],
)
async def test_each_copy_of_a_call_has_its_own_answer(provider: Provider, response: Response) -> None:
    """One is taken and the other is not, whatever the status of the whole."""
    assert await _states(provider, response) == [
        ("ada@example.com", "accepted", None),
        ("bob@example.com", "rejected", "recipient_rejected"),
    ]


@pytest.mark.parametrize(
    ("provider", "response"),
    [
        (postmark.PROVIDER, answer(200, [{"ErrorCode": 0, "Message": "OK", "MessageID": "1"}])),
        (mailjet.PROVIDER, answer(200, {"Messages": [{"Status": "success", "To": []}]})),
        (mailtrap.PROVIDER, answer(200, {"success": True, "responses": [{"success": True, "message_ids": ["1"]}]})),
        (brevo.PROVIDER, answer(201, {"messageIds": ["1"]})),
    ],
    ids=["postmark", "mailjet", "mailtrap", "brevo"],
)
async def test_a_copy_that_the_answer_leaves_out_is_in_doubt(provider: Provider, response: Response) -> None:
    """The others are what the answer says."""
    assert await _states(provider, response) == [
        ("ada@example.com", "accepted", None),
        ("bob@example.com", "unknown", "in_doubt"),
    ]


async def test_postmark_refuses_inactive_recipients_of_a_message_that_it_takes_for_the_others() -> None:
    """They are named in its text alone."""
    text = "Message OK, but will not deliver to these inactive addresses: bob@example.com"
    response = answer(200, {"ErrorCode": 0, "Message": text, "MessageID": "1"})
    batch = await batch_of(Message(to=["ada@example.com", "bob@example.com"], subject="s", text="t"))
    _, outcomes = await postmark.PROVIDER.send(batch, lambda _: response)
    assert [(each.state.value, each.retry.value) for each in outcomes] == [("accepted", "never"), ("rejected", "never")]


@pytest.mark.parametrize(
    ("provider", "query", "body"),
    [
        (
            postmark.PROVIDER,
            "/messages/outbound?count=500&offset=0&metadata_genie_attempt=a1b2c3d4e5f60718",
            {"TotalCount": 1, "Messages": [{"MessageID": "7", "Recipients": ["ada@example.com"], "Status": "Sent"}]},
        ),
        (
            sendgrid.PROVIDER,
            "/v3/messages?limit=1000&query=unique_args%5B%22genie_attempt%22%5D%3D%22a1b2c3d4e5f60718%22",
            {"messages": [{"msg_id": "7", "to_email": "ada@example.com", "status": "delivered"}]},
        ),
        (
            mailjet.PROVIDER,
            "/v3/REST/message?CustomID=a1b2c3d4e5f60718&ShowContactAlt=true&Limit=1000",
            {"Count": 1, "Data": [{"ID": 7, "ContactAlt": "ada@example.com", "Status": "sent"}]},
        ),
    ],
    ids=["postmark", "sendgrid", "mailjet"],
)
async def test_an_attempt_without_an_answer_is_found_by_the_id_that_was_sent(
    provider: Provider, query: str, body: dict[str, Any]
) -> None:
    """And nothing is made of an answer that is none, or that nobody gives."""
    requests, _ = await provider.send(await batch_of(Message(to=["ada@example.com"], subject="s", text="t")))
    assert ATTEMPT.id.encode() in requests[0].content
    client = FakeHttpClient(lambda _: answer(200, body))
    (found,) = await provider.handle().lookup(provider.state(client), ATTEMPT)
    assert (found.recipient, found.state, found.provider_id) == ("ada@example.com", State.ACCEPTED, "7")
    assert [(request.method, request.url) for request in client.requests] == [("GET", query)]
    assert provider.credentials.items() <= client.requests[0].headers.items()
    for nothing in (answer(404), answer(200, []), Response(status=200, body=b"<"), NoAnswer("time_out", "no answer")):
        client = FakeHttpClient(lambda _, nothing=nothing: nothing)
        assert await provider.handle().lookup(provider.state(client), ATTEMPT) == ()


async def test_resend_and_others_repeat_nothing_of_the_attempt_in_the_body() -> None:
    """With another attempt id the bytes of a provider with idempotency keys are the same."""
    from tests.contrib.providers import resend
    from tests.contrib.providers.harness import context

    batch = await batch_of(Message(subject="s", text="t"), TWO)
    made: list[Any] = []
    for attempt in ("1", "2"):
        client = FakeHttpClient(resend.PROVIDER.accepts)
        handle = resend.PROVIDER.handle()
        await handle.send(resend.PROVIDER.state(client), batch, context(attempt=attempt), handle.capabilities())
        made.append([(request.headers, request.content) for request in client.requests])
    assert made[0] == made[1]


async def test_modes_that_send_nothing_are_asked_for_where_the_settings_say_so() -> None:
    """Each in the provider's own way."""
    batch = await batch_of(Message(to=["ada@example.com"], subject="s", text="t"))
    (request,), _ = await sendgrid.PROVIDER.send(batch, check_only=True)
    assert said(request)["mail_settings"] == {"sandbox_mode": {"enable": True}}
    (request,), _ = await brevo.PROVIDER.send(batch, check_only=True)
    assert said(request)["headers"]["X-Sib-Sandbox"] == "drop"
    (request,), _ = await mailjet.PROVIDER.send(batch, check_only=True)
    assert said(request)["SandboxMode"] is True
    (request,), _ = await mailgun.PROVIDER.send(batch, check_only=True)
    assert b'name="o:testmode"\r\n\r\nyes' in request.content
    (request,), _ = await mailtrap.PROVIDER.send(batch, stream="sandbox", sandbox_id=7)
    assert request.url == "/api/send/7"


async def test_our_message_id_leaves_where_events_give_it_back() -> None:
    """So events tell what became of a send without an answer; Brevo's versions share one header with the attempt."""
    one, two = await batch_of(Message(to=["ada@example.com"], subject="s", text="t")), None
    two = await batch_of(Message(subject="s", text="t"), TWO)
    (request,), _ = await ses.PROVIDER.send(one)
    tags = {each["Name"]: each["Value"] for each in said(request)["EmailTags"]}
    assert tags == {"genie_message_id": "PDFAZXhhbXBsZS5jb20-"}
    (request,), _ = await brevo.PROVIDER.send(one)
    assert json.loads(said(request)["headers"]["X-Mailin-custom"]) == {"genie_message_id": "<1@example.com>"}
    (request,), _ = await brevo.PROVIDER.send(two)
    assert json.loads(said(request)["headers"]["X-Mailin-custom"]).keys() == {"genie_attempt"}
    (request,), _ = await mailersend.PROVIDER.send(one, webhook_secret="a-secret-of-enough-length")
    assert said(request)["tags"] == ["genie_message_id:<1@example.com>"]
    (request,), _ = await mailersend.PROVIDER.send(one)
    assert "tags" not in said(request)
    (request,), _ = await mailgun.PROVIDER.send(two)
    assert b'name="v:genie_message_id"\r\n\r\n%recipient.v0%' in request.content
    assert b'"ada@example.com":{"v0":"<0@example.com>"}' in request.content


async def test_marketing_goes_over_postmarks_broadcast_stream() -> None:
    """Postmark wants the two kinds apart."""
    message = Message(to=["ada@example.com"], subject="s", text="t", purpose="marketing")
    batch = await batch_of(attrs.evolve(message, from_=SHOP))
    (request,), _ = await postmark.PROVIDER.send(batch)
    assert said(request)["MessageStream"] == "news"


async def test_brevo_gives_text_alone_an_html_form() -> None:
    """Escaped, and beside the text."""
    (request,), _ = await brevo.PROVIDER.send(
        await batch_of(Message(to=["ada@example.com"], subject="s", text="a < b\nc"))
    )
    body = said(request)
    assert body["textContent"] == "a < b\nc"
    assert body["htmlContent"] == '<div style="white-space: pre-wrap">a &lt; b\nc</div>'


async def test_azure_signs_method_target_date_host_and_body_with_the_decoded_key() -> None:
    """Made here a second time, from what left; a key that is none is found before anything does."""
    import base64
    import hashlib
    import hmac

    from genie_connect.errors import SecretUnavailable
    from tests.contrib.providers import azure
    from tests.contrib.providers.harness import SECRET

    (request,), _ = await azure.PROVIDER.send(await batch_of(Message(to=["ada@example.com"], subject="s", text="t")))
    digest = base64.b64encode(hashlib.sha256(request.content).digest()).decode()
    assert request.headers["x-ms-content-sha256"] == digest
    host = "acme.europe.communication.azure.com"
    text = f"POST\n/emails:send?api-version=2025-09-01\n{request.headers['x-ms-date']};{host};{digest}"
    signature = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
    assert request.headers["authorization"].endswith(f"&Signature={signature}")
    settings = azure.PROVIDER.made_settings(access_key="endpoint=https://acme;accesskey=x")
    with pytest.raises(SecretUnavailable):
        azure.PROVIDER.connector.authorization(settings)


async def test_a_service_account_of_google_signs_for_the_mailbox_and_for_sending_alone() -> None:
    """Its key signs, whatever else its file names; a file that is none is found before anything leaves."""
    import base64
    import json
    from urllib.parse import parse_qs

    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from genie_connect.errors import SecretUnavailable
    from genie_connect_contrib.gmail import GmailSettings, connector
    from tests.contrib.providers.harness import TOKEN
    from tests.mime.dkim_keys import rsa_pem
    from tests.support.clock import START, FakeClock

    key = {"client_email": "mailer@acme.iam.gserviceaccount.com", "private_key_id": "k1", "private_key": rsa_pem()}
    file = json.dumps(key | {"type": "service_account", "token_uri": "https://evil.example/token"})
    settings = GmailSettings(account="shop@example.com", service_account_key=file)
    granted = answer(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3599})
    endpoint = FakeHttpClient(lambda _: granted)
    assert await connector.tokens(settings, endpoint, FakeClock()).bearer(9) == TOKEN
    form = parse_qs(endpoint.requests[0].content.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    signed, _, signature = form["assertion"][0].rpartition(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert claims == {
        "iss": "mailer@acme.iam.gserviceaccount.com",
        "sub": "shop@example.com",
        "scope": "https://www.googleapis.com/auth/gmail.send",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": int(START.timestamp()),
        "exp": int(START.timestamp()) + 3600,
    }
    public: Any = load_pem_private_key(rsa_pem().encode(), None).public_key()
    public.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), PKCS1v15(), SHA256())
    assert "PRIVATE" not in repr(settings)
    for wrong in ("{}", "not JSON", json.dumps(key | {"private_key": "x"}), json.dumps(key | {"private_key": None})):
        with pytest.raises(SecretUnavailable, match="no key of a service account"):
            connector.authorization(GmailSettings(account="shop@example.com", service_account_key=wrong))


async def test_gmail_sends_as_nobody_whom_it_would_replace_in_silence() -> None:
    """A From that is not the account's is refused here; and there is one way to a token."""
    from genie_connect import SettingsError
    from tests.contrib.providers import gmail

    for sender, sent in (("SHOP@example.com", 1), ("other@example.com", 1), ("eve@example.com", 0)):
        message = Message(from_=sender, to=["ada@example.com"], subject="s", text="t")
        requests, (outcome,) = await gmail.PROVIDER.send(await batch_of(message))
        assert len(requests) == sent, (sender, outcome)
    assert (outcome.state.value, outcome.reason, outcome.retry.value) == ("rejected", "unsupported", "other")
    for more, wrong in (
        ({"client_secret": None}, ["client_secret"]),
        ({"service_account_key": "{}"}, ["service_account_key"]),
        ({"account": "Shop <shop@example.com>"}, ["account"]),
        ({"send_as": ["nobody"]}, ["send_as"]),
    ):
        with pytest.raises(SettingsError) as raised:
            gmail.PROVIDER.made_settings(**more)
        assert [problem.path for problem in raised.value.problems] == wrong


async def test_a_big_message_is_uploaded_to_gmail_as_it_is() -> None:
    """With options it goes as JSON, where they have a place."""
    from tests.contrib.providers import gmail

    base: dict[str, Any] = {"to": ["ada@example.com"], "bcc": ["bea@example.com"], "subject": "s"}
    for options, url in (({}, gmail.UPLOAD), ({"gmail": {"threadId": "18c2"}}, gmail.SEND)):
        message = Message(**base, text="A line of a long letter.\n" * 160_000, provider_options=options)
        (request,), outcomes = await gmail.PROVIDER.send(await batch_of(message))
        assert request.url == url
        assert gmail.PROVIDER.reached(request) == ["ada@example.com", "bea@example.com"]
        assert {each.state for each in outcomes} == {State.ACCEPTED}


@pytest.mark.parametrize(("provider", "setting"), [("msgraph", "mailbox"), ("gmail", "account")])
async def test_a_mailbox_that_there_is_not_leads_to_the_setting_that_names_it(provider: str, setting: str) -> None:
    """The credentials are good, and the base URL is right."""
    from importlib import import_module

    from genie_connect.api.steps import account_step
    from genie_connect.clock import SystemClock
    from genie_connect.contract import TestContext

    known = import_module(f"tests.contrib.providers.{provider}").PROVIDER
    state = known.state(FakeHttpClient(lambda _: answer(404, {"error": {"code": "x", "message": "no such user"}})))
    context = TestContext(connection="api", deadline=SystemClock().monotonic() + 9)
    step = await account_step(known.connector, state, known.connector.account(state.settings), context)
    assert step.diagnosis is not None
    assert (step.diagnosis.field, step.diagnosis.cause) == (setting, "no such user")
    assert step.diagnosis.fixes == (f"check the setting {setting}",)


async def test_ses_is_sent_many_copies_of_a_template_at_once() -> None:
    """Fifty recipients a request, each copy with its own data, header fields and tags, and an answer for each."""
    template = ProviderTemplate(id="welcome", data={"shop": "Ours"})
    message = Message(template=template, headers={"X-All": "1"}, tags=["spring"], reply_to=["help@example.com"])
    people = [
        Recipient(address=f"r{n}@example.com", merge={"name": f"R{n}"}, headers={"X-Own": str(n)}) for n in range(60)
    ]
    words = ["SUCCESS", "MAIL_FROM_DOMAIN_NOT_VERIFIED", "ACCOUNT_THROTTLED", "TRANSIENT_FAILURE", "TELEPORTED"]

    def answered(request: Request) -> Response:
        # The second answer says several things, and nothing of the last copy.
        count = len(said(request)["BulkEmailEntries"])
        told = ["SUCCESS"] * 50 if count == 50 else [*words, *["SUCCESS"] * 4]
        results = [{"Status": word, "MessageId": f"id-{n}", "Error": word.lower()} for n, word in enumerate(told)]
        return answer(200, {"BulkEmailEntryResults": results})

    requests, outcomes = await ses.PROVIDER.send(await batch_of(message, people), answered)
    assert [(each.url, len(said(each)["BulkEmailEntries"])) for each in requests] == [
        ("/v2/email/outbound-bulk-emails", 50),
        ("/v2/email/outbound-bulk-emails", 10),
    ]
    first = said(requests[0])
    assert first["DefaultContent"] == {"Template": {"TemplateName": "welcome", "TemplateData": "{}"}}
    assert first["ReplyToAddresses"] == ["help@example.com"]
    assert first["BulkEmailEntries"][7] == {
        "Destination": {"ToAddresses": ["r7@example.com"]},
        "ReplacementTags": [{"Name": "spring", "Value": "1"}, first["BulkEmailEntries"][7]["ReplacementTags"][-1]],
        "ReplacementEmailContent": {
            "ReplacementTemplate": {"ReplacementTemplateData": '{"shop":"Ours","name":"R7"}'},
        },
        "ReplacementHeaders": [{"Name": "X-All", "Value": "1"}, {"Name": "X-Own", "Value": "7"}],
    }
    states = [(each.state.value, each.reason) for each in outcomes]
    assert set(states[:50]) == {("accepted", None)}
    assert states[50:56] == [
        ("accepted", None),
        ("rejected", "sender_rejected"),
        ("deferred", "throttled"),
        ("deferred", "temporary"),
        ("rejected", "permanent"),
        ("accepted", None),
    ]
    assert states[-2:] == [("accepted", None), ("unknown", "in_doubt")]
    assert outcomes[55].provider_id == "id-5"


@pytest.mark.parametrize("count", [15, 16])
async def test_ses_takes_so_many_header_fields_beside_a_template(count: int) -> None:
    """Those of the message and of the copy together; with one more nothing of the batch leaves."""
    message = Message(template=ProviderTemplate(id="welcome"), headers={f"X-All-{n}": "1" for n in range(10)})
    own = {f"X-Own-{n}": "1" for n in range(count - 10)}
    people = [Recipient(address="a@example.com"), Recipient(address="b@example.com", headers=own)]
    results = answer(200, {"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": f"id-{n}"} for n in range(2)]})
    requests, outcomes = await ses.PROVIDER.send(await batch_of(message, people), lambda request: results)
    if count == 15:
        assert len(said(requests[0])["BulkEmailEntries"][1]["ReplacementHeaders"]) == 15
        assert all(each.state is State.ACCEPTED for each in outcomes)
    else:
        assert requests == []
        assert {(each.state, each.reason) for each in outcomes} == {(State.REJECTED, "unsupported")}
        assert "headers: has 16 fields with those of the copy" in (outcomes[0].text or "")


async def test_ses_is_sent_a_whole_message_where_its_fields_have_no_place() -> None:
    """More header fields than it takes beside the bodies, and without Bcc, which the destination names."""
    fields = {f"X-{letter}": letter for letter in "abcdefghijklmnopqrst"}
    message = Message(to=["ada@example.com"], bcc=["cy@example.com"], subject="é", text="t", headers=fields)
    (request,), _ = await ses.PROVIDER.send(await batch_of(message))
    assert said(request)["Destination"] == {"ToAddresses": ["ada@example.com"], "BccAddresses": ["cy@example.com"]}
    whole = message_from_bytes(base64.b64decode(said(request)["Content"]["Raw"]["Data"]), policy=policy.default)
    assert (whole["Subject"], whole["X-t"], whole["Bcc"]) == ("é", "t", None)
    requests, outcomes = await ses.PROVIDER.send(
        await batch_of(Message(to=["ada@example.com"], template=ProviderTemplate(id="welcome"), headers=fields))
    )
    assert requests == []
    assert "15" in (outcomes[0].text or "")
