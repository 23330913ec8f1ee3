"""Bounce mail that is made to be slow: anybody may write to a mailbox for bounces."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from genie_connect.bounces import events_of_mail
from genie_connect.bounces.returned import take_apart
from genie_connect.model.event import EventKind
from genie_connect.webhooks.inbound import MAX_HEADERS, parse_mime, parsed_mime
from genie_connect.webhooks.mime_bounds import MOST_BLOCKS, bounded

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HEAD = (
    b"From: MAILER-DAEMON@x.example\r\nReturn-Path: <>\r\nSubject: Undelivered Mail\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
)
REPORT = b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\n\r\n"
FAILED = b"Final-Recipient: rfc822; ada@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n"


@pytest.mark.parametrize("blank", [b"\n", b"\r", b"\r\n", b" \n", b"a: b\n\n", b"\n--x\n"], ids=repr)
@pytest.mark.parametrize(
    "named",
    [
        b"Content-Type: message/delivery-status",
        b"content-type:\tMESSAGE/Delivery-Status; charset=us-ascii",
        b"Content-Type:\r\n message/delivery-status",
        b"Content-Type: message/global-delivery-status",
    ],
    ids=repr,
)
def test_a_report_is_not_taken_apart_without_end(named: bytes, blank: bytes) -> None:
    """``email`` makes a message of each of its blocks; what stands before them is read all the same."""
    report = REPORT.replace(b"Content-Type: message/delivery-status", named)
    raw = HEAD + report + FAILED + b"\r\n" + blank * 50_000
    assert sum(1 for _ in parsed_mime(raw).walk()) <= MOST_BLOCKS + 10
    (event,) = events_of_mail(raw, received_at=NOW)
    assert (event.kind, event.recipient) == (EventKind.BOUNCED, "ada@example.com")


def test_a_block_has_no_more_fields_than_a_message() -> None:
    """Each would be decoded and cleaned."""
    raw = HEAD + REPORT + FAILED + b"x: y\r\n" * 50_000 + b"\r\n--b--\r\n"
    block = take_apart(raw).blocks[-1]
    assert block["action"] == "failed"
    many = b"".join([b"x%d: y\r\n" % number for number in range(5_000)])
    assert len(take_apart(HEAD + REPORT + FAILED + many + b"\r\n--b--\r\n").blocks[-1]) == MAX_HEADERS


def test_what_is_returned_after_a_report_is_found() -> None:
    """Our Message-ID stands in it, and after a hundred recipients as well."""
    recipients = b"".join([FAILED.replace(b"ada", b"r%d" % number) + b"\r\n" for number in range(100)])
    returned = b"--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <1@shop.example>\r\n\r\n" + b"\r\n" * 50_000
    events = events_of_mail(HEAD + REPORT + recipients + returned + b"--b--\r\n", received_at=NOW)
    assert len(events) == 100
    assert {event.message_id for event in events} == {"<1@shop.example>"}


def test_a_message_without_a_report_is_whole() -> None:
    """However many of its lines are blank."""
    text = "Hello\n" + "\n" * 20_000 + "Yours, Ada"
    raw = b"From: ada@example.com\nContent-Type: text/plain\n\n" + text.encode()
    assert bounded(raw) is raw
    assert (parse_mime(raw).text or "").endswith("Yours, Ada")


@pytest.mark.parametrize("quoted", ["Message-ID: <1@shop.example>", "> > Message-ID: <1@shop.example>"])
def test_a_message_id_is_found_where_the_text_quotes_it(quoted: str) -> None:
    """At the beginning of a line, behind what marks a quotation."""
    raw = f"From: MAILER-DAEMON@x.example\nReturn-Path: <>\nSubject: Undeliverable\n\nSorry.\n\n\n{quoted}\n".encode()
    (event,) = events_of_mail(raw, received_at=NOW)
    assert event.message_id == "<1@shop.example>"
