"""Messages from outside: read as far as they can be, and never an exception."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect.webhooks.inbound import addresses_of, file_named, header_pairs, parse_mime

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
