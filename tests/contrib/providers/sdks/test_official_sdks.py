"""What the vendors' own libraries send for the same message, over a socket of this machine where they can be told to.

Each is used as its documentation shows. Ids that our connectors add for look-ups are left out of the comparison, and so
is what is empty.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import botocore.auth
import pytest
from azure.communication.email._shared import policy as azure_policy
from azure.communication.email._shared.auth_policy_utils import get_authentication_policy
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from genie_connect.http.fake import Request
from genie_connect_contrib.sandbox.server import Answer, Call, HttpServer
from tests.contrib.providers.harness import SECRET, batch_of
from tests.contrib.providers.messages import CASES
from tests.contrib.providers.sdks import (
    azure,
    brevo,
    cloudflare,
    mailersend,
    mailgun,
    mailjet,
    mailtrap,
    mandrill,
    postmark,
    resend,
    sendgrid,
    ses,
)
from tests.contrib.providers.sdks.library import Library

LIBRARIES = [
    module.LIBRARY
    for module in (
        azure,
        brevo,
        cloudflare,
        mailersend,
        mailgun,
        mailjet,
        mailtrap,
        mandrill,
        postmark,
        resend,
        sendgrid,
        ses,
    )
]
OURS_ALONE = ("genie_message_id", "genie_attempt")
# Whom a message names twice, the core has said once before a connector sees it.
TO_EACH = [case for case in CASES if len(case.recipients) > 1 and not any(each.merge for each in case.recipients)]
TO_ONE = [case for case in CASES if not case.recipients and case.name != "the same in to and cc"]


def _told(value: Any) -> Any:
    """Without what is empty, and without ids of our own."""
    if isinstance(value, Mapping):
        told = {name: _told(each) for name, each in value.items() if name.removeprefix("v:") not in OURS_ALONE}
        return {name: each for name, each in told.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return [_told(each) for each in value if not (isinstance(each, dict) and _name(each) in OURS_ALONE)]
    return value


def _with(shared: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The header fields of a copy: its own after those that all have."""
    return {**{name: value for name, value in shared.items() if name not in own}, **own}


def _name(entry: Mapping[str, Any]) -> Any:
    return entry.get("name", entry.get("Name"))


class _Vendor:
    """A server on this machine, and what it was sent."""

    def __init__(self) -> None:
        self.had: list[Request] = []
        self.answer: Any = None
        self.server = HttpServer(self._take, host="127.0.0.1", port=0, max_body_bytes=1_000_000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def _take(self, call: Call) -> Answer:
        self.had.append(Request(method=call.method, url=call.target, headers=call.headers, content=call.body))
        return Answer(status=202, body=json.dumps(self.answer).encode())


@pytest.fixture
async def vendor() -> AsyncIterator[_Vendor]:
    """A vendor that takes everything."""
    vendor = _Vendor()
    await vendor.server.start()
    yield vendor
    await vendor.server.stop()


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.provider.id)
async def test_the_vendors_libraries_send_the_same(library: Library, vendor: _Vendor) -> None:
    """The same path, credentials and body for the same message: text, files, names, headers, tags, templates and more.

    What our connector refuses before any request is compared with nothing.
    """
    compared = []
    vendor.answer = library.answer
    with library.client(vendor.url) as client:
        for case in TO_ONE:
            requests, _ = await library.provider.send(await batch_of(case.message))
            if not requests:
                continue
            vendor.had.clear()
            body = await asyncio.to_thread(library.send, client, case.message)
            (ours,) = requests
            assert bool(vendor.had) is (body is None), case.name
            if vendor.had:
                (theirs,) = vendor.had
                assert (ours.method, ours.url) == (theirs.method, theirs.url), case.name
                for name in library.headers:
                    assert ours.headers[name] == theirs.headers[name], (case.name, name)
                body = library.read(theirs)
            same = _told(library.ours(library.read(ours))) == _told(library.ours(body))
            assert same is (case.name not in library.unlike), case.name
            compared.append(case.name)
    assert len(compared) >= library.least, compared


@pytest.mark.parametrize(
    "library", [each for each in LIBRARIES if each.send_all], ids=lambda library: library.provider.id
)
async def test_the_vendors_libraries_send_the_same_for_several_in_one_request(
    library: Library, vendor: _Vendor
) -> None:
    """Each copy with its own recipient, header fields and metadata, in their order."""
    assert library.send_all is not None
    compared = []
    vendor.answer = library.answer_to_all or library.answer
    with library.client(vendor.url) as client:
        for case in TO_EACH:
            requests, _ = await library.provider.send(await batch_of(case.message, case.recipients))
            if len(requests) != 1:
                continue
            (ours,) = requests
            copies = [
                attrs.evolve(
                    case.message,
                    to=(each.address,),
                    headers=_with(case.message.headers, each.headers),
                    metadata={**case.message.metadata, **each.metadata},
                )
                for each in case.recipients
            ]
            vendor.had.clear()
            await asyncio.to_thread(library.send_all, client, copies)
            (theirs,) = vendor.had
            assert (ours.method, ours.url) == (theirs.method, theirs.url), case.name
            assert _told(library.ours(library.read(ours))) == _told(library.ours(library.read(theirs))), case.name
            compared.append(case.name)
    assert len(compared) >= 3, compared


@pytest.mark.parametrize("token", [None, "lent-for-an-hour"], ids=["own-key", "lent-key"])
async def test_amazons_library_signs_our_requests_as_we_do(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature itself, of each request as our connector sent it and at the time that it says it was made."""
    lent = {"session_token": token} if token else {}
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, token), "ses", "eu-central-1")
    signatures = []
    for case in TO_ONE:
        requests, _ = await ses.LIBRARY.provider.send(await batch_of(case.message), **lent)
        for ours in requests:
            made = datetime.strptime(ours.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, made=made, **__: made)
            url = f"https://email.eu-central-1.amazonaws.com{ours.url}"
            named = {"content-type": ours.headers["content-type"]}
            theirs = AWSRequest(method=ours.method, url=url, data=ours.content, headers=named)
            signer.add_auth(theirs)
            assert ours.headers["authorization"] == theirs.headers["Authorization"], case.name
            assert ours.headers.get("x-amz-security-token") == token
            signatures.append(ours.headers["authorization"])
    assert len(set(signatures)) >= 30


async def test_azures_library_signs_our_requests_as_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature itself, of each request as our connector sent it and at the time that it says it was made."""
    resource = "https://acme.europe.communication.azure.com"
    signer = get_authentication_policy(resource, AzureKeyCredential(azure.LIBRARY.provider.settings["access_key"]))
    compared = 0
    for case in TO_ONE:
        requests, _ = await azure.LIBRARY.provider.send(await batch_of(case.message))
        for ours in requests:
            monkeypatch.setattr(azure_policy, "get_current_utc_time", lambda ours=ours: ours.headers["x-ms-date"])
            theirs = HttpRequest(ours.method, resource + ours.url)
            theirs.body = ours.content.decode()
            signer.on_request(PipelineRequest(theirs, PipelineContext(None)))
            for name in ("x-ms-date", "x-ms-content-sha256", "authorization"):
                assert ours.headers[name] == theirs.headers[name], (case.name, name)
            compared += 1
    assert compared >= 30
