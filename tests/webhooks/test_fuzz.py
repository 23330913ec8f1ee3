"""Ten thousand malformed requests over every scheme and a whole connector: refused or read, and nothing else.

Each is a good request with some of its bytes spoilt, so that many get past the first look. The seed is fixed: a case
that fails can be run again. ``WEBHOOK_FUZZ_CASES`` asks for more.
"""

from __future__ import annotations

import json
import os
from random import Random
from typing import Any

import attrs
import pytest

import genie_connect_contrib.sandbox as sandbox
from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.settings import structure_settings
from genie_connect.webhooks.bodies import form_fields, json_body, multipart_parts
from genie_connect.webhooks.inbound import parse_mime
from genie_connect.webhooks.signatures import sign, signing_key
from tests.webhooks.schemes import ALL, BODY, NOW, Scheme, request

CASES = int(os.environ.get("WEBHOOK_FUZZ_CASES", "10000"))
STRANGE = (
    "",
    "\x00",
    "é",
    "\ud800",
    "1" * 5_000,
    "nan",
    "-1",
    ",",
    ";",
    "=",
    "\r\n",
    "٣",
    "%",
    "v1,",
    "null",
    "{}",
    "[]",
)
STRANGE_JSON: tuple[Any, ...] = (
    None,
    True,
    7,
    -1,
    1e308,
    "",
    "\x00",
    [],
    {},
    [[[]]],
    {"a": {"b": []}},
    "9" * 400,
    10**30,
)
SECRET = "whsec_" + "QUJD" * 8
SETTINGS = structure_settings(sandbox.SandboxSettings, {"api_key": "k", "webhook_secret": SECRET}, connector="sandbox")
EVENT = {
    "id": "1",
    "type": "bounced",
    "time": NOW.isoformat(),
    "recipient": "ada@example.com",
    "message_id": "<1@example.com>",
    "bounce": "hard",
    "code": 550,
    "tags": ["a"],
    "metadata": {"a": "b"},
}


def spoilt_bytes(chance: Random, raw: bytes) -> bytes:
    """Some bytes changed, cut out, repeated, or put in."""
    made = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(5):
            case 0 if made:
                made[at % len(made)] = chance.randrange(256)
            case 1:
                del made[at : at + chance.randint(1, 20)]
            case 2:
                made[at:at] = made[at : at + chance.randint(1, 50)] * chance.randint(1, 5)
            case 3:
                made[at:at] = chance.randbytes(chance.randint(1, 5))
            case _:
                made[at:at] = chance.choice(
                    (b"[" * 500, b'"\\ud800"', b"\r\n\r\n", b"9" * 500, b'{"a":1,"a":2}', b"%ff")
                )
    return bytes(made)


def spoilt_text(chance: Random, value: str) -> str:
    """A header field's value that is something else."""
    if chance.random() < 0.4:
        return chance.choice(STRANGE)
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.choice((*STRANGE, chr(chance.randrange(0x10000)))) + value[at + chance.randrange(3) :]


def spoilt(chance: Random, good: WebhookRequest) -> WebhookRequest:
    """A request in which something is wrong: a header field, the body, the path, the time."""
    headers = dict(good.headers)
    body, path = good.body, good.path
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(5):
            case 0 | 1 if headers:
                name = chance.choice(sorted(headers))
                headers[name] = spoilt_text(chance, headers[name])
            case 2 if headers:
                headers.pop(chance.choice(sorted(headers)))
            case 3:
                path = spoilt_text(chance, path)
            case _:
                body = spoilt_bytes(chance, body)
    return attrs.evolve(good, headers=headers, body=body, path=path)


@pytest.mark.parametrize("scheme", ALL, ids=lambda scheme: scheme.name)
def test_no_scheme_raises_anything_but_a_refusal(scheme: Scheme) -> None:
    """Half of the cases, over all schemes."""
    chance = Random(scheme.name)
    good = [scheme.make(BODY, NOW, key) for key in (1, 2)]
    for _ in range(CASES // 2 // len(ALL)):
        case = spoilt(chance, chance.choice(good))
        try:
            # Mailgun's parser has to decode the body first, and does so strictly.
            if scheme.name == "mailgun" and not isinstance(json_body(case), dict):
                continue
            scheme.verify(case, [1])
        except WebhookRejected as refusal:
            if not 400 <= refusal.status <= 503:
                raise


def test_no_signed_body_raises_anything_but_a_refusal() -> None:
    """Bodies with a right signature, spoilt before they were signed: every event is read, or kept as unknown."""
    chance = Random("signed")
    key = signing_key(SECRET)
    unknown = 0
    for _ in range(CASES // 4):
        events = [dict(EVENT), {**EVENT, chance.choice(sorted(EVENT)): chance.choice(STRANGE_JSON)}]
        body = json.dumps({"events": events}).encode()
        if chance.random() < 0.5:
            body = spoilt_bytes(chance, body)
        headers = sign([key], webhook_id="m", timestamp_s=int(NOW.timestamp()), body=body)
        try:
            found = sandbox.connector_parse_webhook(SETTINGS, request(headers, body))
        except WebhookRejected as refusal:
            if refusal.status not in (400, 413):
                raise
            continue
        assert all(event.id for event in found)
        unknown += any(event.error for event in found)
    assert unknown > CASES // 100


def test_no_body_raises_anything_but_a_refusal() -> None:
    """Forms, multipart forms and messages; a message is always read."""
    chance = Random("bodies")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    parts = {"Content-Type": "multipart/form-data; boundary=xYz"}
    multipart = b'--xYz\r\nContent-Disposition: form-data; name="a"; filename="b.txt"\r\n\r\n1\r\n--xYz--\r\n'
    message = (
        b"From: Ada <ada@example.com>\r\nTo: =?utf-8?q?B?= <b@example.org>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\n"
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHi\r\n"
        b'--x\r\nContent-Type: image/png; name="a.png"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--x--\r\n'
    )
    for _ in range(CASES // 8):
        for read, headers, body in ((form_fields, form, b"a=1&b=%20&c="), (multipart_parts, parts, multipart)):
            try:
                read(spoilt(chance, request(headers, body)))
            except WebhookRejected:
                continue
        assert parse_mime(spoilt_bytes(chance, message)).headers is not None
