"""What Amazon SES is sent, taken by aws-ses-v2-local and read back from it; it has templates, as moto has not."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import attrs
import boto3
import pytest

from genie_connect import Host, Outcome, Registry, State
from genie_connect.model.batch import Recipient
from genie_connect.model.features import missing, required
from genie_connect.model.message import Message
from genie_connect.model.provider_template import ProviderTemplate
from tests.contrib.providers.harness import SECRET, SHOP
from tests.contrib.providers.messages import CASES
from tests.contrib.providers.ses import PROVIDER
from tests.integration.servers.providers import LocalSes

pytestmark = pytest.mark.skipif(LocalSes.why_not() is not None, reason=LocalSes.why_not() or "")
TABLE = PROVIDER.connector.capabilities(None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSes]:
    """One for all, emptied by whoever needs it empty."""
    with LocalSes(tmp_path_factory.mktemp("ses")) as server:
        yield server


def _asked(server: LocalSes, path: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(server.url + path, method=method), timeout=10) as answer:
        return json.load(answer)


async def _sent(server: LocalSes, message: Message) -> list[Outcome]:
    registry = Registry(strict=True)
    registry.register("ses", PROVIDER.connector)
    connections = {"ses": {"connector": "ses", "settings": {**PROVIDER.settings, "base_url": server.url}}}
    async with Host.open({"connections": connections}, registry=registry) as host:
        receipt = await host.send(attrs.evolve(message, from_=message.from_ or SHOP))
    return list(receipt.outcomes.values())


async def test_it_takes_what_amazon_ses_is_sent(server: LocalSes) -> None:
    """Text, HTML, recipients by field, header fields and files come out as they went in."""
    taken: list[str] = []
    for case in CASES:
        message = case.message
        if case.recipients or message.template is not None or missing(required(message), TABLE):
            continue
        # Unlike SES it takes neither an empty subject nor an empty body.
        if not message.subject or message.text == "":
            continue
        _asked(server, "/clear-store", "POST")
        outcomes = await _sent(server, message)
        if outcomes[0].state is not State.ACCEPTED:
            assert {each.stage for each in outcomes} == {"plan"}, (case.name, outcomes)
            continue
        (found,) = _asked(server, "/store")["emails"]
        assert {each.provider_id for each in outcomes} == {found["messageId"]}
        assert (found["subject"], found["body"]) == (message.subject, _bodies(message)), case.name
        reached = [address.rpartition("<")[2].strip(">") for to in found["destination"].values() for address in to]
        assert sorted(reached) == sorted({address.key for address in message.recipients}), case.name
        assert {each["name"] for each in found.get("headers", ())} == set(message.headers)
        # Its parser takes a body of a kind that it does not know for a file.
        parts = {each.get("filename"): base64.b64decode(each["content"]) for each in found["attachments"]}
        assert parts.pop(None, None) == (None if message.amp is None else message.amp.encode()), case.name
        files = list(parts.items())
        assert files == [(each.filename, each.read()) for each in message.attachments]
        taken.append(case.name)
    assert len(taken) >= 30, taken


def _bodies(message: Message) -> dict[str, str]:
    return {name: text for name, text in (("text", message.text), ("html", message.html)) if text is not None}


async def test_a_template_is_filled_in_with_the_data_of_the_message(server: LocalSes) -> None:
    """By its name; where there is none of this name, nothing is taken."""
    client = boto3.client(
        "sesv2",
        region_name="eu-central-1",
        endpoint_url=server.url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=SECRET,
    )
    content = {"Subject": "Welcome, {{name}}", "Text": "{{name}} has {{n}} new messages"}
    client.create_email_template(TemplateName="welcome-mail", TemplateContent=content)
    client.close()
    template = ProviderTemplate(id="welcome-mail", data={"name": "Ada", "n": 3})
    (outcome,) = await _sent(server, Message(to=["ada@example.com"], template=template, metadata={"order": "7"}))
    assert outcome.state is State.ACCEPTED, outcome
    found = _asked(server, "/store")["emails"][-1]
    assert (found["subject"], found["body"]["text"]) == ("Welcome, Ada", "Ada has 3 new messages")
    registry = Registry(strict=True)
    registry.register("ses", PROVIDER.connector)
    connections = {"ses": {"connector": "ses", "settings": {**PROVIDER.settings, "base_url": server.url}}}
    people = [Recipient(address=f"r{n}@example.com", merge={"name": f"R{n}"}) for n in range(3)]
    async with Host.open({"connections": connections}, registry=registry) as host:
        sent = host.send_each(Message(from_=SHOP, template=template), people)
        outcomes = [outcome async for outcome in sent]
    kept = {each["messageId"]: each["subject"] for each in _asked(server, "/store")["emails"][-3:]}
    assert {kept[each.provider_id or ""] for each in outcomes} == {"Welcome, R0", "Welcome, R1", "Welcome, R2"}
    (outcome,) = await _sent(server, Message(to=["ada@example.com"], template=ProviderTemplate(id="no-such")))
    assert (outcome.state is State.ACCEPTED, outcome.code) == (False, 404)
