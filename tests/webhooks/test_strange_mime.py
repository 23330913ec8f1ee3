"""Messages put together of header fields, types and lines that each mean something to a parser, in any order.

Random bytes seldom get past the first header field; these do.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from random import Random

import pytest

from genie_connect.bounces import events_of_mail
from genie_connect.webhooks.inbound import parse_mime

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CASES = 1_500
NAMES = (
    *("Content-Type", "Content-Type", "Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "Content-ID"),
    *("From", "To", "Cc", "Reply-To", "Sender", "Return-Path", "Subject", "Date", "Message-ID", "References"),
    *("In-Reply-To", "X-Failed-Recipients", "Auto-Submitted", "MIME-Version", "Received", "Reporting-MTA"),
    *("Final-Recipient", "Original-Recipient", "Action", "Status", "Diagnostic-Code", "Original-Envelope-Id"),
    *("Feedback-Type", "Original-Rcpt-To", "Removal-Recipient"),
)
TYPES = (
    *("multipart/mixed; boundary=b", "multipart/report; report-type=delivery-status; boundary=b", "message/rfc822"),
    *("message/delivery-status", "message/global-delivery-status", "message/feedback-report", "message/partial"),
    *("message/external-body", "multipart/digest; boundary=b", "multipart/mixed; boundary="),
)
CHARSETS = (
    *("utf-8", "utf-7", "utf-16", "unknown-8bit", "idna", "punycode", "undefined", "rot13", "hex", "\x00", "''"),
    *("iso-2022-jp", "unicode_escape", "mbcs"),
)
VALUES = (
    *TYPES,
    *(f"text/plain; charset={name}" for name in CHARSETS),
    *("text/html", "text/plain; charset*=x'y'z", "; boundary=", 'boundary="', "a*0=x; a*=y", "; ; ;"),
    *("base64", "quoted-printable", "x-uuencode", "8bit", "inline; filename*0*=utf-8''%c3; filename*1=x"),
    *("attachment; filename*=utf-8''%ff", "attachment; filename*=nope''x", "failed", "delayed", "5.1.1", "4.4.1 (x)"),
    *("rfc822; ada@example.com", "utf-8; jürgen@example.com", "rfc822;", "<>", "MAILER-DAEMON@x.example", "@", "a@"),
    *("Ada <ada@example.com>", "a@b.c, d@e.f", "[1.2.3.4]", "a@[IPv6:::1]", "(((((", '"\\"', "<a@b> <c@d>", "+40+4"),
    *("=?utf-8?q?=C3?=", "=?utf-8?b?w?=", "=?x?y?z?=", "=?utf-8?q?", "=?iso-2022-jp?b?GyRC?=", "\udce9", "\u202e"),
    *("Mon, 99 Foo 2026", "Thu, 1 Jan 1970 00:00:00 +9999", "Thu, 01 Jan 0001 00:00:00 +0100", "-1", "abuse"),
    *("auto-replied", "smtp; 550 5.1.1 no", "Undeliverable: x", "\x00", ""),
)
LINES = (
    *("", "Hello", "--b", "--b--", "begin 644 x", "end", "M", "====", "PGE+", "=C3=", "\t", "From x", "\x00", "é"),
    *("<ada@example.com>:", "550 5.1.1 x", "  ada@example.com", "Final-Recipient: rfc822; a@b.c", "Action: failed"),
    *("Message-ID: <x@y>", "--- Below this line is a copy", "The following addresses had delivery problems:"),
)
BOUNCE = "Return-Path: <>\nFrom: MAILER-DAEMON@x\nSubject: Undeliverable\n"


def _value(random: Random) -> str:
    more = [
        random.choice(["; ", "\n ", ";", " "]) + random.choice(VALUES) for _ in range(random.choice([0, 0, 0, 1, 2]))
    ]
    return random.choice(VALUES) + "".join(more)


def _head(random: Random) -> str:
    fields = [
        random.choice(NAMES) + random.choice([": ", ":", " : "]) + _value(random) for _ in range(random.randint(0, 6))
    ]
    return "".join([f"{field}\n" for field in fields])


def _part(random: Random, depth: int = 0) -> str:
    if depth > 3 or random.random() < 0.4:
        return _head(random) + "\n" + "\n".join(random.choices(LINES, k=random.randint(0, 8)))
    inner = [f"--b\n{_part(random, depth + 1)}\n" for _ in range(random.randint(0, 3))]
    return f"{_head(random)}Content-Type: {random.choice(TYPES)}\n\n{''.join(inner)}{random.choice(['--b--', ''])}\n"


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_means_something_to_a_parser_raises(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Inbound or bounced; and nothing of it is logged as an error, since anybody can write it."""
    random = Random(seed)
    for _ in range(CASES):
        raw = (random.choice(["", BOUNCE]) + _part(random)).encode("utf-8", "surrogateescape")
        parse_mime(raw)
        assert events_of_mail(raw, received_at=NOW), raw
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("charset", CHARSETS, ids=repr)
def test_a_text_is_read_whatever_its_charset_is_said_to_be(charset: str) -> None:
    """As UTF-8, where there is no such charset or it is none of text."""
    raw = b"From: a@b.c\nContent-Type: text/plain; charset=" + charset.encode() + b"\n\nVoil\xc3\xa0, ada@example.com"
    message = parse_mime(raw)
    assert message.text is not None
    (event,) = events_of_mail(BOUNCE.encode() + raw + b"\n550 5.1.1 no\n", received_at=NOW)
    assert (event.kind.value, event.recipient) == ("bounced", "ada@example.com")
