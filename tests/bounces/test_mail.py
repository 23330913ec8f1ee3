"""Bounce mail as events: who, what, why, and nobody suppressed by mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import Message
from random import Random

import pytest

from genie_connect.bounces import events_of_mail, last_resort, verp_address, verp_recipient
from genie_connect.errors import ValidationError
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
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


def test_a_report_of_international_mail_names_everybody() -> None:
    """RFC 6533: the report and the head that comes back are of types of their own, in UTF-8."""
    raw = mail(
        "From: MAILER-DAEMON@x.example\nSubject: Undelivered\nMIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=global-delivery-status; boundary=b",
        "--b\nContent-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n\n"
        "Reporting-MTA: dns; x.example\n\n"
        "Final-Recipient: utf-8; jürgen@example.com\nAction: failed\nStatus: 5.1.1\n\n"
        "Final-Recipient: rfc822; bob@example.com\nAction: delayed\nStatus: 4.4.1\n\n"
        f"--b\nContent-Type: message/global-headers\n\nMessage-ID: {MESSAGE_ID}\nTo: jürgen@example.com\n\n--b--\n",
    )
    events = events_of_mail(raw, received_at=NOW)
    assert [(event.recipient, event.kind.value, event.message_id) for event in events] == [
        ("jürgen@example.com", "bounced", MESSAGE_ID),
        ("bob@example.com", "deferred", MESSAGE_ID),
    ]


def test_a_bounce_that_names_nobody_is_kept() -> None:
    """Undetermined, and about nobody."""
    event = one(mail("Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: Undeliverable mail", "Sorry."))
    assert (event.kind, event.bounce, event.recipient) == (EventKind.BOUNCED, BounceClass.UNDETERMINED, None)
    assert not event.address_is_bad


OLD_SERVER = "Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: Undeliverable mail"
BOTH = "<ada@example.com>\n<bob@example.com>\n"
NO_FORM_OF_OURS = (
    # Neither has a code, nor a mark of a server that we know; and the last does not even look like a bounce.
    (OLD_SERVER, f"The following addresses had delivery problems:\n\n{BOTH}\nTranscript of session follows\n"),
    (OLD_SERVER, f"Here is your list of failed recipients:\n\n{BOTH}\nHere is your returned mail\n"),
    (
        "Return-Path: <>\nFrom: gateway@x.example\nSubject: News of your mail",
        f"The following addresses had delivery problems:\n\n{BOTH}\nTranscript of session follows\n",
    ),
    # IMail, Exchange 5.5, smail and GroupWise, which have not been made for twenty years and are still run.
    (
        f"{OLD_SERVER}\nX-Mailer: <SMTP32 v8.05>",
        (
            "User mailbox exceeds allowed size: ada@example.com\n\nUnknown user: bob@example.com\n\n"
            "Original message follows.\n\nTo: cy@example.com\n"
        ),
    ),
    (
        OLD_SERVER,
        (
            "Your message\n\n  Subject: Your order\n  Sent:    Mon, 2 Nov 2026 10:00:00 +0100\n\n"
            "did not reach the following recipient(s):\n\n"
            "SMTP=ada@example.com; on Mon, 2 Nov 2026 10:00:02 +0100\n    The recipient name is not recognized\n"
            "SMTP=bob@example.com; on Mon, 2 Nov 2026 10:00:02 +0100\n    The recipient name is not recognized\n"
            "\tThe MTS-ID of the original message is: c=de;a= ;p=x;l=MAIL-1\n    MSEXCH:IMS:X:SITE:MAIL (000C05A6)\n"
        ),
    ),
    (
        OLD_SERVER,
        (
            "|------------------------- Failed addresses follow: ---------------------|\n"
            " ada@example.com ... unknown host\n bob@example.com ... unknown host\n"
            "|------------------------- Message text follows: ------------------------|\nTo: cy@example.com\n"
        ),
    ),
    (
        (
            f"{OLD_SERVER}\nX-Mailer: Novell GroupWise Internet Agent 6.5\nMIME-Version: 1.0\n"
            "Content-Type: multipart/mixed; boundary=gw"
        ),
        (
            "--gw\nContent-Type: text/plain; charset=us-ascii\n\n"
            "The message that you sent was undeliverable to the following:\n\n"
            "\tAda Lovelace <ada@example.com> (mailbox full)\n\tBob <bob@example.com>\n\n"
            "--gw\nContent-Type: message/rfc822\n\nTo: cy@example.com\nSubject: Your order\n\nHello\n--gw--\n"
        ),
    ),
)


@pytest.mark.parametrize(("headers", "body"), NO_FORM_OF_OURS)
def test_a_form_that_only_others_know_says_whom_and_suppresses_nobody(headers: str, body: str) -> None:
    """The last resort: why is not known, so that no address is taken for a bad one."""
    events = events_of_mail(mail(headers, body), received_at=NOW)
    assert [event.recipient for event in events] == ["ada@example.com", "bob@example.com"]
    assert {(event.kind, event.bounce, event.address_is_bad) for event in events} == {
        (EventKind.BOUNCED, BounceClass.UNDETERMINED, False)
    }
    assert {event.raw["read_by"] for event in events} == {"flufl.bounce"}


def test_a_delay_that_only_others_know_is_no_bounce() -> None:
    """The server goes on trying."""
    body = "Two mails have not yet been delivered to:\n\n <ada@example.com>\n\nNo action is required on your part.\n"
    event = one(mail(OLD_SERVER.replace("Undeliverable mail", "Delivery status"), body))
    assert (event.kind, event.recipient, event.bounce) == (EventKind.DEFERRED, "ada@example.com", None)
    assert event.reason is Reason.TEMPORARY


def test_the_last_resort_is_handed_what_it_can_read_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its patterns take the square of a line's length, and all are tried on each line; and anybody may write here."""
    seen: list[str] = []

    def failures(message: Message) -> tuple[set[bytes], set[bytes]]:
        seen.append(message.as_string())
        return set(), set()

    monkeypatch.setattr("flufl.bounce.all_failures", failures)
    for body in ("<" * 900_000, "\n" * 900_000, "a@b\n" * 200_000):
        one(mail(OLD_SERVER, body))
    assert len(seen) == 3
    for text in seen:
        assert len(text) <= last_resort.MOST_BYTES
        assert text.count("\n") <= last_resort.MOST_LINES
        assert max(len(line) for line in text.split("\n")) <= last_resort.MOST_OF_A_LINE


def test_what_is_returned_may_be_as_long_as_it_wants() -> None:
    """What the server wrote stands before it."""
    headers, body = NO_FORM_OF_OURS[0]
    events = events_of_mail(mail(headers, body + "y" * 2_000_000), received_at=NOW)
    assert [event.recipient for event in events] == ["ada@example.com", "bob@example.com"]


@pytest.mark.parametrize(("headers", "body"), NO_FORM_OF_OURS)
def test_none_of_these_forms_is_one_of_ours(headers: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last resort nobody is named."""
    monkeypatch.setitem(sys.modules, "flufl.bounce", None)
    assert one(mail(headers, body)).recipient is None


@pytest.mark.parametrize("trouble", [None, "broken", "long"])
def test_without_the_last_resort_such_a_mail_is_about_nobody(
    trouble: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not installed, raises, or would have to read too much before it."""
    headers, body = NO_FORM_OF_OURS[0]
    if trouble == "broken":

        def broken(message: object) -> None:
            raise KeyError("content-type")

        monkeypatch.setattr("flufl.bounce.all_failures", broken)
    elif trouble == "long":
        body = "x\n" * last_resort.MOST_LINES + body
    else:
        monkeypatch.setitem(sys.modules, "flufl.bounce", None)
    event = one(mail(headers, body))
    assert (event.kind, event.recipient, event.bounce) == (EventKind.BOUNCED, None, BounceClass.UNDETERMINED)


def test_a_person_whose_words_others_would_take_for_a_bounce_is_a_person() -> None:
    """Only mail that has no return path is looked at like that."""
    _, body = NO_FORM_OF_OURS[0]
    event = one(mail("From: Ada <ada@example.com>\nReturn-Path: <ada@example.com>\nSubject: Re: Your order", body))
    assert event.kind is EventKind.INBOUND


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
