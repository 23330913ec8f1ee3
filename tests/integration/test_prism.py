"""A second opinion on every request: Prism reads the vendors' descriptions with another validator than ours."""

import asyncio
import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from genie_connect.http.fake import Request
from tests.contrib.providers.every import PROVIDERS
from tests.contrib.providers.harness import Provider, batch_of, document
from tests.contrib.providers.messages import CASES
from tests.integration.as_openapi import OTHERS
from tests.integration.servers.providers import Prism

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(Prism.why_not() is not None, reason=Prism.why_not() or ""),
]
DESCRIBED = [provider for provider in PROVIDERS if provider.described or provider.id in OTHERS]
NOT_DESCRIBED = {"postal": "its API is described in prose alone"}
FOR_PRISM = {"mailgun": "mailgun/trimmed-prism-multipart.json"}
"""Descriptions in which fields that may come several times are written as Prism understands them."""
_SUBJECT = "it wants a subject, where a template has its own"
LACKING = {
    "mailersend": dict.fromkeys(("template by name", "template by UUID"), _SUBJECT),
    "mandrill": {"scheduled": "it calls a format of Mandrill's own that of RFC 3339"},
    "postmark": dict.fromkeys(("template by name", "template by UUID"), "it has no templates"),
    "resend": dict.fromkeys(("template by name", "template by UUID"), _SUBJECT),
}
"""Messages that Prism refuses for what is wrong with a description."""


def _described(provider: Provider, folder: Path) -> tuple[Path, str]:
    """The description in a file, and the path that its server's URL has before those of the operations."""
    if provider.id in FOR_PRISM:
        described = document(FOR_PRISM[provider.id])
    elif provider.described is not None:
        described = provider.described.document()
    else:
        described = OTHERS[provider.id]()
    file = folder / "description.json"
    file.write_text(json.dumps(described), encoding="utf-8")
    servers = described.get("servers") or [{"url": ""}]
    return file, urlsplit(servers[0]["url"]).path


def _posted(prism: Prism, request: Request, prefix: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(prism.host, prism.port, timeout=30)
    try:
        connection.request(request.method, request.url.removeprefix(prefix), request.content, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("provider", DESCRIBED, ids=lambda provider: provider.id)
async def test_prism_takes_every_request(provider: Provider, tmp_path: Path) -> None:
    """But those that a description is known to have no place for; and it refuses nonsense, so it does look."""
    file, prefix = _described(provider, tmp_path)
    taken, refused = 0, {}
    with Prism(tmp_path, file) as prism:
        for case in CASES:
            requests, _ = await provider.send(await batch_of(case.message, case.recipients))
            for request in requests:
                status, said = await asyncio.to_thread(_posted, prism, request, prefix)
                taken += status < 300
                if status >= 300:
                    refused[case.name] = (status, said[:300])
        (request,), _ = await provider.send(await batch_of(CASES[0].message))
        nonsense = Request(method="POST", url=request.url, headers=request.headers, content=b'{"no-such-field":1}')
        status, said = await asyncio.to_thread(_posted, prism, nonsense, prefix)
        assert status >= 400, said
    assert refused.keys() == LACKING.get(provider.id, {}).keys(), refused
    assert taken >= 30


def test_every_provider_is_asked_about_or_has_no_description() -> None:
    """A new provider does not go without a second opinion by being forgotten."""
    asked = {provider.id for provider in DESCRIBED}
    assert asked.isdisjoint(NOT_DESCRIBED)
    assert asked | NOT_DESCRIBED.keys() == {provider.id for provider in PROVIDERS}
