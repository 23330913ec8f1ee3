"""What the vendors' own libraries send for the same message, over a socket of this machine where they can be told to.

Each is used as its documentation shows. Ids that our connectors add for look-ups are left out of the comparison, and so
is what is empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from genie_connect.http.fake import Request
from genie_connect_contrib.sandbox.server import Answer, Call, HttpServer
from tests.contrib.providers.harness import SECRET, batch_of
from tests.contrib.providers.messages import CASES
from tests.contrib.providers.sdks import brevo, mailersend, mailgun, mailjet, mailtrap, resend, sendgrid, ses
from tests.contrib.providers.sdks.library import Library

LIBRARIES = [module.LIBRARY for module in (brevo, mailersend, mailgun, mailjet, mailtrap, resend, sendgrid, ses)]
OURS_ALONE = ("genie_message_id", "genie_attempt")
# Whom a message names twice, the core has said once before a connector sees it.
TO_ONE = [case for case in CASES if not case.recipients and case.name != "the same in to and cc"]


def _told(value: Any) -> Any:
    """Without what is empty, and without ids of our own."""
    if isinstance(value, Mapping):
        told = {name: _told(each) for name, each in value.items() if name.removeprefix("v:") not in OURS_ALONE}
        return {name: each for name, each in told.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return [_told(each) for each in value if not (isinstance(each, dict) and _name(each) in OURS_ALONE)]
    return value


def _name(entry: Mapping[str, Any]) -> Any:
    return entry.get("name", entry.get("Name"))


class _Vendor:
    """A server on this machine, and what it was sent."""

    def __init__(self) -> None:
        self.had: list[Request] = []
        self.server = HttpServer(self._take, host="127.0.0.1", port=0, max_body_bytes=1_000_000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def _take(self, call: Call) -> Answer:
        self.had.append(Request(method=call.method, url=call.target, headers=call.headers, content=call.body))
        return Answer(status=202, body=b'{"id": "1"}')


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
