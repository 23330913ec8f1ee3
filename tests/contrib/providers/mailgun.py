"""Mailgun as its documentation and its OpenAPI description show it."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.mailgun import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, emails, openapi

_ID = "20261125100000.1.ABCDEF@mg.example.com"
_REPEATED = ("to", "cc", "bcc", "o:tag", "attachment", "inline")


def _named_by_example(described: Any) -> None:
    # The description shows fields of free names by one example each, and has no word for "any name that begins so".
    schema = described["paths"]["/v3/{domain_name}/messages"]["post"]["requestBody"]
    while "$ref" in schema:
        schema = described["components"]["requestBodies"][schema["$ref"].rsplit("/", 1)[1]]
    form = schema["content"]["multipart/form-data"]["schema"]
    while "$ref" in form:
        form = described["components"]["schemas"][form["$ref"].rsplit("/", 1)[1]]
    form["patternProperties"] = {"^[hv]:.": {"type": "string"}}
    form["additionalProperties"] = False


_check = openapi("mailgun/trimmed.json", media="multipart/form-data", overlay=_named_by_example)


def _form(request: Request) -> dict[str, Any]:
    head = f"Content-Type: {request.headers.get('content-type', 'text/plain')}\r\n\r\n".encode()
    parsed = message_from_bytes(head + request.content)
    form: dict[str, Any] = {}
    for part in parsed.get_payload() if parsed.is_multipart() else ():
        assert not part.defects
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if name in _REPEATED:
            form.setdefault(name, []).append(value.decode("latin-1") if part.get_filename() else value.decode())
        else:
            assert name not in form
            form[name] = value.decode()
    return form


def _checked(request: Request) -> None:
    form = _form(request)
    _check("/v3/{domain_name}/messages", form)
    variables = json.loads(form.get("recipient-variables", "{}"))
    if variables:
        # Otherwise everybody would see everybody: each recipient of a batch has an entry.
        assert set(variables) == set(emails(form["to"]))
        assert not {"cc", "bcc"} & set(form)
        used = set(connector_tokens(json.dumps(form, ensure_ascii=False)))
        assert all(used <= set(values) for values in variables.values())
    if "o:deliverytime" in form:
        assert parsedate_to_datetime(form["o:deliverytime"]).tzinfo is not None


def connector_tokens(text: str) -> list[str]:
    """The names of the recipient variables that a text uses."""
    return [part.partition("%")[0] for part in text.split("%recipient.")[1:]]


def _error(status: int, message: str, **headers: str) -> Response:
    return answer(status, {"message": message}, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={"api_key": SECRET, "domain": "mg.example.com"},
    credentials={"authorization": "Basic YXBpOmtleS10aGF0LW5vYm9keS1tYXktc2Vl"},
    accepts=lambda _: answer(200, {"id": f"<{_ID}>", "message": "Queued. Thank you."}),
    reached=lambda request: [email for name in ("to", "cc", "bcc") for email in emails(_form(request).get(name))],
    check=_checked,
    described=_check,
    accepted_id=_ID,
    account=_error(400, "from parameter is missing"),
    answers=(
        Expected(
            name="wrong key",
            answer=Response(status=401, body=b"Forbidden"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="bad from",
            answer=_error(400, "from parameter is not a valid address. please check documentation"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="bad to",
            answer=_error(400, "to parameter is not a valid address. please check documentation"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="unverified domain",
            answer=_error(403, "Domain mg.example.com is not allowed to send: The domain is unverified."),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="disabled",
            answer=_error(403, "Account is disabled: please contact support"),
            state="deferred",
            reason="policy",
            retry="other",
        ),
        Expected(
            name="no such domain",
            answer=_error(404, "Domain not found: mg.example.com"),
            state="deferred",
            reason="protocol",
            retry="other",
        ),
        Expected(
            name="throttled by text",
            answer=_error(
                429,
                "Domain example.com is not allowed to send: account-requests-per-sec limit exceeded, "
                "try again after 120 seconds",
            ),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=120.0,
        ),
        Expected(name="server error", answer=_error(500, "Internal Server Error"), state="unknown", reason="in_doubt"),
        Expected(name="not JSON", answer=Response(status=200, body=b"<html>"), state="unknown", reason="in_doubt"),
        Expected(name="silence", answer=NoAnswer("time_out", "no answer"), state="unknown", reason="in_doubt"),
        Expected(
            name="no connection",
            answer=NotSent("connect", "the connection was not made"),
            state="deferred",
            reason="connect",
            retry="any",
        ),
    ),
)
