"""The capability table."""

from __future__ import annotations

import pytest

from genie_connect.model.capability import Level
from genie_connect_smtp import plugin
from genie_connect_smtp.capabilities import effective
from genie_connect_smtp.extensions import Extensions

_TABLE = """\
| Capability | Support |
|---|---|
| Transactional sends | Yes |
| Broadcast sends | Yes, limited by provider throughput |
| Attachments | Yes, subject to server size limits |
| Inline images | Yes, when accepted by the SMTP server |
| Webhooks | Optional and provider-specific |
| Suppressions | GenieOS suppressions checked before send |"""

_SETTINGS = plugin.SmtpSettings(host="smtp.example.com")


def test_the_table_reads_as_documented() -> None:
    """Word for word, with settings and without."""
    assert plugin.connector_capabilities(None).render() == _TABLE
    assert plugin.connector_capabilities(_SETTINGS).render() == _TABLE


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("send.tags", Level.HOST),
        ("send.metadata", Level.HOST),
        ("send.idempotency", Level.NO),
        ("send.merge", Level.YES),
        ("send.schedule", Level.NO),
        ("send.html", Level.YES),
        ("send.cc_bcc", Level.YES),
        ("send.reply_to", Level.YES),
        ("send.headers", Level.YES),
        ("send.envelope_sender", Level.YES),
        ("send.international_addresses", Level.CONDITIONAL),
    ],
)
def test_nothing_is_promised_that_is_not_there(name: str, level: Level) -> None:
    """SMTP alone has no tags, no keys, no schedule."""
    assert plugin.connector_capabilities(None)[name].level is level


@pytest.mark.parametrize(
    ("size", "limit"),
    [("1000", 1000), ("0", None), ("", None), ("x", None), ("-1", None), ("9" * 30, None), ("\u0661", None)],
)
def test_the_size_limit_is_read_strictly(size: str, limit: int | None) -> None:
    """RFC 1870 section 3: 0 and nothing mean that there is none; what is no number means nothing."""
    extensions = Extensions.of({"size": size}, [])
    assert extensions.max_message_bytes == limit
    table = effective(_SETTINGS, extensions)
    assert table.effective
    assert table.limit("send.transactional", "max_message_bytes") == limit


@pytest.mark.parametrize(
    ("value", "most"), [("RCPTMAX=20", 20), ("MAILMAX=5 rcptmax=7", 7), ("RCPTMAX=0", 100), ("", 100)]
)
def test_the_smaller_limit_of_recipients_counts(value: str, most: int) -> None:
    """RFC 9422 and the setting."""
    table = effective(_SETTINGS, Extensions.of({"limits": value}, []))
    assert table.limit("send.transactional", "max_recipients") == most
