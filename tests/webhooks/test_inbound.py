"""Messages from outside: read as far as they can be, and never an exception."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect.bounces import events_of_mail
from genie_connect.webhooks.inbound import addresses_of, file_named, header_pairs, parse_mime, parsed_mime
from genie_connect.webhooks.mime_bounds import (
    MOST_DELIMITERS,
    MOST_OF_A_CONTENT_FIELD,
    MOST_OF_A_FIELD,
    bounded,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

MESSAGE = b"""\
From: =?utf-8?q?Ad=C3=A9le?= <adele@example.com>\r
To: "Shop, The" <shop@example.org>, not an address, =?utf-8?b?w6k=?= <e@example.org>\r
Subject: =?utf-8?q?R=C3=A9?=\r
 ponse\r
Date: Wed, 25 Nov 2026 10:00:00 +0200\r
Message-ID: <reply@example.com>\r
In-Reply-To: <1.2.0123456789abcdef@example.org>\r
References: <a@example.org> <1.2.0123456789abcdef@example.org>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/plain; charset=iso-8859-1\r
\r
Voil\xe0\r
--b\r
Content-Type: text/html\r
\r
<p>Hi</p>\r
--b\r
Content-Type: image/png; name="../../etc/passwd"\r
Content-Disposition: attachment; filename="../../etc/passwd"\r
Content-ID: <logo>\r
Content-Transfer-Encoding: base64\r
\r
AAEC\r
--b\r
Content-Type: message/rfc822\r
\r
Subject: inner\r
\r
text\r
--b--\r
"""


def test_a_message_is_read() -> None:
    """Addresses, subject, bodies, files; a name that leads into a folder does not."""
    message = parse_mime(MESSAGE, envelope_from="<bounce@example.com>", envelope_to=["shop@example.org", "x"])
    assert str(message.sender) == "Adéle <adele@example.com>"
    assert [address.email for address in message.to] == ["shop@example.org", "e@example.org"]
    assert (message.to[0].name, message.subject) == ("Shop, The", "Ré ponse")
    assert message.date == datetime(2026, 11, 25, 8, tzinfo=UTC)
    assert (message.message_id, message.in_reply_to) == ("<reply@example.com>", "<1.2.0123456789abcdef@example.org>")
    assert message.references[0] == "<a@example.org>"
    assert ((message.text or "").strip(), (message.html or "").strip()) == ("Voilà", "<p>Hi</p>")
    image, inner = message.files
    assert (image.filename, image.content, image.content_id) == ("_.._etc_passwd", b"\x00\x01\x02", "logo")
    assert (inner.content_type, b"Subject: inner" in inner.content) == ("message/rfc822", True)
    assert (message.envelope_from, message.envelope_to) == ("bounce@example.com", ("shop@example.org",))
    assert message.header("x-none") is None
    assert "adele" in (message.header("FROM") or "")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "\r\n", "a" * 5000, "con:\x00", "../.."])
def test_a_file_name_leads_nowhere(name: str) -> None:
    """Whatever the sender wrote there."""
    made = file_named(name, b"").filename
    assert made
    assert not set(made) & set("/\\:\r\n\x00")
    assert not made.startswith(".")
    assert len(made) <= 200


@given(st.text(max_size=100))
def test_no_address_list_raises(value: str) -> None:
    """What is no address is left out."""
    assert all(address.email for address in addresses_of(value))


HEADS = [b"From: ", b"To: ", b"Date: ", b"Subject: =?", b"Content-Type: multipart/mixed; boundary=", b"Message-ID: <"]


@given(st.lists(st.tuples(st.sampled_from(HEADS), st.binary(max_size=40)), max_size=6), st.binary(max_size=200))
def test_no_message_raises(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Whatever came over the wire."""
    raw = b"".join([name + value + b"\r\n" for name, value in headers]) + b"\r\n" + body
    message = parse_mime(raw)
    assert isinstance(message.subject, str)


def test_deep_and_wide_messages_end() -> None:
    """Thousands of parts in parts are cut off."""
    deep = b"Subject: deep\r\n" + b"".join(
        [b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(2_000)]
    )
    wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5_000 + b"--b--"
    assert parse_mime(deep).subject == "deep"
    assert len(parse_mime(wide).files) <= 500


def test_encoded_words_without_end_are_not_decoded_without_end() -> None:
    """The library is given some thousand characters, since each thousand takes it a millisecond; the rest stands."""
    word = "=?utf-8?q?K=C3=B6ln?="
    fields = [["Subject", word], *[[f"X-{number}", f"{word} " * 400] for number in range(100)]]
    pairs = header_pairs(fields)
    assert pairs[0] == ("Subject", "Köln")
    assert [name for name, value in pairs if "Köln" in value] == ["Subject", "X-0"]
    assert pairs[-1][1].startswith(word)


PIECES = "multipart/mixed; boundary=b; a*0=x; a*=y"


@pytest.mark.parametrize(
    "field",
    [
        f"Content-Type: {PIECES}",
        f"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: {PIECES}",
        f"Content-Type: message/rfc822\n\nContent-Type: {PIECES}",
        "Content-Disposition: attachment; filename*0=x; filename*=y",
        "Content-Type: text/plain; charset*0=x; charset*=y",
    ],
)
def test_a_parameter_in_numbered_and_unnumbered_pieces_raises_nothing(field: str) -> None:
    """``email`` compares the number of the one with the lack of it of the other."""
    raw = f"From: ada@example.com\nReturn-Path: <>\nSubject: Undeliverable\n{field}\n\nHello\n".encode()
    message = parse_mime(raw)
    assert message.sender is not None
    assert message.subject == "Undeliverable"
    assert events_of_mail(raw, received_at=NOW)


@pytest.mark.parametrize("where", ["", "Content-Type: multipart/mixed; boundary=b\n\n--b\n"], ids=["head", "part"])
@pytest.mark.parametrize("piece", [";", "a=b;", "\n ;"])
def test_a_field_without_end_is_one_of_its_beginning(where: str, piece: str) -> None:
    """Each look for a parameter copies what is left of the field, so that its square is the time that it takes."""
    raw = f"{where}Content-Type: text/plain; charset=utf-8;{piece * 50_000}\nSubject: {'s ' * 80_000}\n\nHello".encode()
    values = [str(value) for part in parsed_mime(raw).walk() for _, value in part.raw_items()]
    assert len(values) >= 2
    assert sorted(map(len, values))[-2:] == [MOST_OF_A_CONTENT_FIELD, MOST_OF_A_FIELD]
    assert parse_mime(raw).text == "Hello"


@pytest.mark.parametrize("delimiter", ["--b\n", "--b\r", "--b \t\n", "--b\n\n"], ids=repr)
def test_parts_without_end_are_not_made(delimiter: str) -> None:
    """What stands in the first of them is read."""
    head = "From: ada@example.com\nContent-Type: multipart/mixed; boundary=b\n\n"
    raw = f"{head}--b\nContent-Type: text/plain\n\nHello\n{delimiter * 100_000}".encode()
    assert sum(1 for _ in parsed_mime(raw).walk()) <= MOST_DELIMITERS + 2
    assert (parse_mime(raw).text or "").strip() == "Hello"


def test_lines_that_begin_like_a_delimiter_are_text() -> None:
    """As in a program's comments, of which each is another one."""
    lines = "".join([f"-- line {number}\n" for number in range(3 * MOST_DELIMITERS)])
    raw = f"From: ada@example.com\nContent-Type: text/plain\n\n{lines}".encode()
    assert bounded(raw) is raw
    assert parse_mime(raw).text == lines
