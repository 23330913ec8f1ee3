"""What Amazon SES is sent, taken by moto, somebody else's stand-in for it, over a socket of this machine.

moto knows which senders are verified. It reads no signature; ``tests/contrib/providers/sdks`` does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from email import message_from_string, policy

import attrs
import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.ses.models import Message as Taken
from moto.ses.models import RawMessage, SESBackend, ses_backends

from genie_connect import Host, Outcome, Registry, State
from genie_connect.model.features import missing, required
from tests.contrib.providers.harness import SECRET, SHOP
from tests.contrib.providers.messages import CASES, Case
from tests.contrib.providers.ses import PROVIDER

REGION = "eu-central-1"
TABLE = PROVIDER.connector.capabilities(None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a moto."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def backend(url: str) -> SESBackend:
    """What moto keeps of SES in the region, empty but for the domain that is verified."""
    kept = ses_backends[DEFAULT_ACCOUNT_ID][REGION]
    kept.reset()
    client = boto3.client(
        "ses", region_name=REGION, endpoint_url=url, aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key=SECRET
    )
    client.verify_domain_identity(Domain="example.com")
    client.close()
    return ses_backends[DEFAULT_ACCOUNT_ID][REGION]


async def _sent(url: str, case: Case) -> list[Outcome]:
    registry = Registry(strict=True)
    registry.register("ses", PROVIDER.connector)
    connections = {"ses": {"connector": "ses", "settings": {**PROVIDER.settings, "base_url": url}}}
    async with Host.open({"connections": connections}, registry=registry) as host:
        receipt = await host.send(attrs.evolve(case.message, from_=case.message.from_ or SHOP))
    return list(receipt.outcomes.values())


def _takes(case: Case) -> bool:
    """Whether it goes to everybody at once, by what the table has, and without a template, which moto has none of."""
    lacking = missing(required(case.message), TABLE)
    return not case.recipients and not lacking and case.message.template is None


async def test_moto_takes_what_amazon_ses_is_sent(url: str, backend: SESBackend) -> None:
    """Sender, recipients by field, subject and body as the message has them, and the id is the one that moto gave."""
    taken: list[str] = []
    whole: list[str] = []
    for case in filter(_takes, CASES):
        backend.sent_messages.clear()
        outcomes = await _sent(url, case)
        if outcomes[0].state is not State.ACCEPTED:
            assert {each.stage for each in outcomes} == {"plan"}, (case.name, outcomes)
            continue
        (found,) = backend.sent_messages
        assert {each.provider_id for each in outcomes} == {found.id}
        message = case.message
        assert found.source.endswith("<shop@example.com>")
        if isinstance(found, RawMessage):
            whole.append(case.name)
            assert _read(found.raw_data) == (
                message.subject,
                message.amp,
                [each.read() for each in message.attachments],
            )
            # moto counts those in the header as well.
            addresses = list(dict.fromkeys(found.destinations))
        else:
            assert isinstance(found, Taken)
            assert (found.subject, found.body) == (message.subject, message.html or message.text or "")
            addresses = [address for to in found.destinations.values() for address in to]
        reached = [address.rpartition("<")[2].strip(">") for address in addresses]
        assert sorted(reached) == sorted({address.key for address in message.recipients}), case.name
        taken.append(case.name)
    assert len(taken) >= 30, taken
    assert set(whole) == {"amp", "attachment alone"}


def _read(raw: str) -> tuple[str, str | None, list[bytes]]:
    """Subject, AMP and files of a whole message."""
    message = message_from_string(raw, policy=policy.default)
    assert "Bcc" not in message
    amp = [part for part in message.walk() if part.get_content_type() == "text/x-amp-html"]
    files = [part.get_payload(decode=True) for part in message.iter_attachments()]
    if message.get_content_disposition() == "attachment":
        files = [message.get_payload(decode=True)]
    return str(message["Subject"]), amp[0].get_content().rstrip("\n") if amp else None, files


async def test_a_sender_that_moto_has_not_verified_is_refused_as_one(url: str, backend: SESBackend) -> None:
    """Its words are those of SES, and another connection may be tried."""
    case = Case("stranger", attrs.evolve(CASES[0].message, from_="eve@elsewhere.example"))
    (outcome,) = await _sent(url, case)
    assert (outcome.state, outcome.reason) == (State.REJECTED, "sender_rejected")
    assert "not verified" in (outcome.text or "")
    assert backend.sent_messages == []
