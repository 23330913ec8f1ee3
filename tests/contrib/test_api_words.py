"""What a provider says in a word instead of a function: its webhooks, its table, what it refuses, its bearer token."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genie_connect import Message
from genie_connect.api import ApiSettings, Job, WebhookConnector, credential, webhook_secrets
from genie_connect.contract import ConnectorInfo, Kind, WebhookRequest
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable, Level, no, yes
from genie_connect.model.event import EventKind
from genie_connect.model.provider_template import ProviderTemplate
from genie_connect.model.secret import Secret
from genie_connect.model.settings import settings
from genie_connect.webhooks.settings import previous_shared_secret, shared_secret
from genie_connect_contrib import mailersend


@settings
class _PostingSettings(ApiSettings):
    token: Secret = credential(title="Token", help="Anywhere.")
    hook_secret: Secret | None = shared_secret()
    previous_hook_secret: Secret | None = previous_shared_secret()
    mail_secret: Secret | None = shared_secret(title="Mail secret")


class _Posting(WebhookConnector[_PostingSettings]):
    info = ConnectorInfo(id="posting", title="Posting", kind=Kind.API, settings_class=_PostingSettings)
    protected = frozenset({"to"})
    bearer = "token"
    needs_subject = True
    needs_body = True
    parser = "tests.contrib.posting_events"
    inbound = True

    def capabilities(self, settings: _PostingSettings | None) -> CapabilityTable:
        return self.table(settings, yes("send.transactional"), no("send.html", "it has none"))


_LONG = "a-secret-of-32-characters-and-so-"


def test_a_table_has_the_rows_of_every_table_unless_it_says_otherwise() -> None:
    """Those for webhooks only where there is a secret that they are checked with."""
    connector = _Posting()
    most = connector.capabilities(None)
    assert [entry.name for entry in most][:2] == ["send.transactional", "send.html"]
    assert most["send.html"].level is Level.NO
    for name in ("send.broadcast", "suppressions", "test.connection", "test.message", "events.webhook"):
        assert most[name].level in (Level.YES, Level.HOST), name
    assert most["events.inbound"].available
    assert not most["events.signature"].available
    without = connector.capabilities(_PostingSettings(token="t"))
    assert not without["events.webhook"].available
    assert connector.capabilities(_PostingSettings(token="t", mail_secret=f"{_LONG}1"))["events.webhook"].available


def test_the_parser_gets_every_secret_for_webhooks_current_ones_first() -> None:
    """And no other; it is loaded when the first webhook comes."""
    given = _PostingSettings(
        token="t", hook_secret=f"{_LONG}1", previous_hook_secret=f"{_LONG}2", mail_secret=f"{_LONG}3"
    )
    found = [each.reveal() for each in webhook_secrets(given) if each is not None]
    assert found == [f"{_LONG}1", f"{_LONG}3", f"{_LONG}2"]
    assert _Posting.parser not in sys.modules
    request = WebhookRequest(method="POST", path="/", body=b"{}", received_at=datetime(2026, 11, 26, tzinfo=UTC))
    (event,) = _Posting().connector_parse_webhook(given, request)
    assert (event.id, event.kind) == ("3 secrets", EventKind.DELIVERED)


def test_what_most_providers_refuse_is_refused_before_any_request() -> None:
    """An empty subject, no body; a template brings its own. The secret that is named goes as a bearer token."""
    connector, given = _Posting(), _PostingSettings(token="t")
    assert connector.authorization(given) == {"authorization": "Bearer t"}

    def paths(**fields: Any) -> list[str]:
        job = Job(
            message=Message(to=["ada@example.com"], **fields),
            sender=Address.parse("shop@example.com"),
            copies=(),
            options={},
            attempt_id="1",
            idempotency_key=None,
            now=datetime(2026, 11, 26, tzinfo=UTC),
        )
        return [problem.path for problem in connector.problems(job, given)]

    assert paths(subject="", text="") == ["subject", "text"]
    assert paths(subject="s", html="<p>h</p>") == []
    assert paths(subject="", template=ProviderTemplate(id="1")) == []


def test_a_whole_provider_with_webhooks_fits_into_250_lines() -> None:
    """MailerSend: its settings, table, requests, answers, errors and events, comments and blank lines among them."""
    files = Path(mailersend.__file__).parent.glob("*.py")
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) < 250
    assert callable(mailersend.connector.connector_parse_webhook)
