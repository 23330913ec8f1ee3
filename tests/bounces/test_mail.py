"""Bounce mail as events: who, what, why, and nobody suppressed by mistake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import pytest

from genie_connect.bounces import events_of_mail, verp_address, verp_recipient
from genie_connect.errors import ValidationError
from genie_connect.model.event import BounceClass, Event, EventKind
from tests.bounces.corpus import CORPUS, MESSAGE_ID, RECIPIENT, REPLIES, Reply, feedback, postfix, qmail
from tests.webhooks.test_fuzz import spoilt_bytes

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def one(raw: bytes, **more: str) -> Event:
    """The one event of a mail."""
    (event,) = events_of_mail(raw, received_at=NOW, **more)  # type: ignore[arg-type]
    return event


def mail(headers: str, body: str = "Hello") -> bytes:
    """A mail of these header fields."""
    return (headers + "\n\n" + body).replace("\n", "\r\n").encode()


def test_the_corpus_is_large() -> None:
    """Enough shapes with enough replies."""
    assert len(CORPUS) >= 150


@pytest.mark.parametrize(("shape", "reply"), CORPUS, ids=lambda value: getattr(value, "__name__", None))
def test_a_bounce_of_each_shape_says_whom_and_why(shape: Callable[[Reply], bytes], reply: Reply) -> None:
    """Recipient, our Message-ID, bounce class and reason; hard only where the mailbox does not exist."""
    event = one(shape(reply))
    assert (event.kind, event.recipient, event.message_id) == (EventKind.BOUNCED, RECIPIENT, MESSAGE_ID)
    assert (event.bounce, event.reason) == (reply.bounce, reply.reason)
    assert event.code == reply.code
    assert event.address_is_bad == (reply.bounce == "hard")


def test_a_report_may_name_several_and_say_several_things() -> None:
    """One event for each recipient; a delay is no bounce, a delivery is one of the good ones."""
    raw = postfix(REPLIES[0]).replace(
        b"\r\n--b1\r\nContent-Type: text/rfc822-headers",
        b"\r\nFinal-Recipient: rfc822; bob@example.com\r\nAction: delayed\r\nStatus: 4.4.1\r\n"
        b"\r\nFinal-Recipient: rfc822; eve@example.com\r\nAction: delivered\r\nStatus: 2.1.5\r\n"
        b"\r\nFinal-Recipient: rfc822; dan@example.com\r\nAction: relayed\r\nStatus: 2.1.9\r\n"
        b"\r\n--b1\r\nContent-Type: text/rfc822-headers",
    )
    events = events_of_mail(raw, received_at=NOW)
    assert [(event.recipient, event.kind.value) for event in events] == [
        (RECIPIENT, "bounced"),
        ("bob@example.com", "deferred"),
        ("eve@example.com", "delivered"),
        ("dan@example.com", "sent"),
    ]
    assert len({event.id for event in events}) == 4
    assert events[1].bounce is None


def test_the_envelope_id_and_the_address_tell_what_the_mail_does_not() -> None:
    """An envelope id that is our Message-ID, and a variable envelope sender."""
    raw = postfix(REPLIES[0]).replace(b"Message-ID: " + MESSAGE_ID.encode(), b"X-Nothing: 1")
    raw = raw.replace(
        b"X-Postfix-Queue-ID", b"Original-Envelope-Id: " + MESSAGE_ID.replace("<", "+3C").encode() + b"\r\nX"
    )
    event = one(raw, envelope_to=verp_address("bounces@shop.example", "someone@else.example"))
    assert (event.message_id, event.recipient) == (MESSAGE_ID, "someone@else.example")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("abuse", "complained"),
        ("fraud", "complained"),
        ("opt-out", "unsubscribed"),
        ("not-spam", "unknown"),
        ("auth-failure", "unknown"),
        ("virus", "unknown"),
    ],
)
def test_a_feedback_report_is_a_wish(kind: str, expected: str) -> None:
    """A complaint or an unsubscribe; what is no wish of the recipient's is neither."""
    event = one(feedback(kind))
    assert (event.kind.value, event.recipient, event.message_id) == (expected, RECIPIENT, MESSAGE_ID)


def test_a_feedback_report_may_hide_the_recipient() -> None:
    """The Message-ID says it all the same."""
    event = one(feedback(recipient=""))
    assert (event.kind, event.recipient, event.message_id) == (EventKind.COMPLAINED, None, MESSAGE_ID)


@pytest.mark.parametrize(
    "headers",
    [
        "From: Ada <ada@example.com>\nSubject: Out of office\nAuto-Submitted: auto-replied",
        "From: ada@example.com\nSubject: Away\nX-Autoreply: yes",
        "From: ada@example.com\nSubject: Away\nPrecedence: auto_reply",
    ],
)
def test_an_automatic_answer_is_no_bounce(headers: str) -> None:
    """Though it may quote an error."""
    event = one(mail(headers + f"\nIn-Reply-To: {MESSAGE_ID}", "550 5.1.1 user unknown <ada@example.com>"))
    assert (event.kind, event.recipient, event.message_id) == (EventKind.AUTORESPONDED, "ada@example.com", MESSAGE_ID)


@pytest.mark.parametrize(
    "headers",
    [
        "From: Ada <ada@example.com>\nSubject: Re: Your order",
        "From: Ada <ada@example.com>\nSubject: Undelivered Mail Returned to Sender",
        "From: ada@example.com\nSubject: Why did I get: 550 5.1.1 user unknown?",
    ],
)
def test_a_person_who_quotes_an_error_ends_no_subscription(headers: str) -> None:
    """It is an inbound message, whatever stands in it."""
    quoted = "> " + qmail(REPLIES[0]).decode().replace("\r\n", "\n> ")
    event = one(mail(headers + f"\nIn-Reply-To: {MESSAGE_ID}", quoted))
    assert (event.kind, event.message_id, event.bounce) == (EventKind.INBOUND, MESSAGE_ID, None)
    assert event.inbound is not None
    assert event.inbound.sender is not None


def test_a_bounce_that_names_nobody_is_kept() -> None:
    """Undetermined, and about nobody."""
    event = one(mail("Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: Undeliverable mail", "Sorry."))
    assert (event.kind, event.bounce, event.recipient) == (EventKind.BOUNCED, BounceClass.UNDETERMINED, None)
    assert not event.address_is_bad


def test_the_same_mail_is_the_same_event() -> None:
    """However often the mailbox is read; and a clock that is ahead does not count."""
    raw = postfix(REPLIES[0])
    assert one(raw) == one(raw)
    assert one(raw).time == datetime(2026, 11, 25, 10, tzinfo=UTC)
    assert one(raw.replace(b"25 Nov 2026 10:00:00", b"25 Nov 2036 10:00:00")).time == NOW


def test_a_variable_return_path_tells_the_recipient() -> None:
    """There and back; what is none tells nothing."""
    made = verp_address("bounces@shop.example", "ada.x@example.com")
    assert made == "bounces+ada.x=example.com@shop.example"
    assert verp_recipient(made) == "ada.x@example.com"
    for none in ("bounces@shop.example", "bounces+x@shop.example", "", "b+=@x", "b+a b=c@x"):
        assert verp_recipient(none) is None
    with pytest.raises(ValidationError):
        verp_address("bounces@shop.example", "a" * 60 + "@example.com")


def test_no_mail_raises() -> None:
    """Two thousand spoilt ones: each gives at least one event."""
    chance = Random("bounces")
    whole = [shape(reply) for shape, reply in CORPUS[:: len(REPLIES) + 1]] + [feedback()]
    for _ in range(2_000):
        events = events_of_mail(spoilt_bytes(chance, chance.choice(whole)), received_at=NOW)
        assert events
        assert all(event.id for event in events)
    assert events_of_mail(b"", received_at=NOW)
