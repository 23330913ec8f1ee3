"""Signatures, verified by dkimpy as a receiver would."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genie_connect.errors import UnsafeMessage, ValidationError
from genie_connect.mime import Composed
from genie_connect.mime.canonical import body_hash, relaxed_fields
from genie_connect.mime.dkim import SIGNED, DkimSigner, Oversign
from genie_connect.mime.dkim_key import DkimKey
from genie_connect.model.attachment import Attachment
from genie_connect.model.message import Message
from tests.mime.dkim_keys import ed25519_key, rsa_key, verified
from tests.mime.making import NOON, SENDER, composed
from tests.model.strategies import MESSAGES

KEYS = {"rsa": (rsa_key(),), "ed25519": (ed25519_key(),), "both": (rsa_key(), ed25519_key())}
_TAGS = re.compile(r"\s*([a-z]+)=([^;]*)(?:;|$)")


def _message(**fields: Any) -> Message:
    given: dict[str, Any] = {"from_": SENDER, "to": ["bob@example.org"], "subject": "Your order", "text": "It came.\n"}
    return Message(**given | fields)


def _signed(
    message: Message | Composed, *keys: DkimKey, now: datetime = NOON, eight_bit: bool = False, **tags: Any
) -> bytes:
    plain = composed(message, eight_bit=eight_bit) if isinstance(message, Message) else message
    result = plain.below(DkimSigner(keys, **tags).sign(plain.head, plain.body_chunks(), now=now))
    wire = result.as_bytes()
    assert len(wire) == result.size_bytes
    assert wire.endswith(plain.as_bytes())
    assert b"".join([result.head, *result.body_chunks()]) == wire
    return wire


def _tags(wire: bytes) -> list[dict[str, str]]:
    """The tags of each signature, from the top, white space removed."""
    fields = re.findall(r"^DKIM-Signature:((?:.|\r\n[ \t])*)\r\n", wire.decode(), re.MULTILINE)
    return [{name: re.sub(r"\s", "", value) for name, value in _TAGS.findall(field)} for field in fields]


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_signatures_are_verified(keys: tuple[DkimKey, ...]) -> None:
    """One for each key, in their order."""
    wire = _signed(_message(), *keys)
    assert verified(wire, *keys) == [True] * len(keys)
    assert [tags["a"] for tags in _tags(wire)] == [key.algorithm.value for key in keys]


def test_a_key_of_another_does_not_verify_it() -> None:
    """What is published under the name counts."""
    wire = _signed(_message(), rsa_key(), ed25519_key())
    other = rsa_key(1024)
    assert verified(wire, other, ed25519_key()) == [False, True]


def test_short_rsa_key_signs() -> None:
    """1024 bits are what some domains have published."""
    assert verified(_signed(_message(), rsa_key(1024)), rsa_key(1024)) == [True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n\n",
        " ",
        "one line without an end",
        "ends in empty lines\n\n\n\n",
        "ends in blanks  \n \n\t\n",
        "a\tb  c   d \t e\t\nnext\n",
        ".\n..\n.leading dots\n...\n.",
        "Grüße aus Köln, 你好\n",
        "=\n=3D and an = sign at the end of a long line " + "x" * 80 + " =\n",
        "x" * 5000,
        "words " * 400,
        "é" * 3000,
        "From the start\nFrom again\n",
    ],
)
@pytest.mark.parametrize("eight_bit", [False, True], ids=["7bit", "8bit"])
def test_bodies_of_every_shape_are_verified(text: str, eight_bit: bool) -> None:
    """As text alone, and beside HTML."""
    keys = KEYS["both"]
    for html in (None, f"<p>{text}</p>"):
        wire = _signed(_message(text=text, html=html), *keys, eight_bit=eight_bit)
        assert verified(wire, *keys) == [True, True]


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "Straße   mit  vielen    Leerzeichen" + " und noch mehr" * 20},
        {"subject": "  spaces  before and after  "},
        {"subject": "word " * 60},
        {"subject": "=?utf-8?q?not_one?="},
        {"subject": ""},
        {"from_": "Jürgen Groß-Weiß <ada@example.com>"},
        {"from_": '"Doe, Ada" <ada@example.com>'},
        {"to": [f"Somebody With A Long Name {number} <a{number}@example.org>" for number in range(40)]},
        {"to": [], "bcc": ["b@example.org"]},
        {"to": ["用户@example.org"], "reply_to": ["ü@example.com"]},
        {"cc": ["c@example.org"], "reply_to": ["r@example.org", "s@example.org"]},
        {
            "headers": {
                "List-Unsubscribe": "<https://example.com/u?a=1>, <mailto:u@example.com>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "In-Reply-To": "<1@example.com>",
                "References": " ".join(f"<{number}.reference@example.com>" for number in range(30)),
                "List-Id": "News <news.example.com>",
                "Feedback-ID": "1:2:3:example",
                "X-Own": "a  b   c",
            }
        },
    ],
    ids=lambda fields: "+".join(fields),
)
def test_headers_of_every_shape_are_verified(fields: dict[str, Any]) -> None:
    """Folded, encoded, with runs of blanks."""
    keys = KEYS["both"]
    assert verified(_signed(_message(**fields), *keys), *keys) == [True, True]


def test_what_a_relay_folds_anew_still_verifies() -> None:
    """That is what relaxed is for: other white space, other case of names."""
    keys = KEYS["both"]
    wire = _signed(_message(text="a  b\n"), *keys)
    folded = wire.replace(b"Subject: Your order", b"SUBJECT:  Your\r\n\t  order ").replace(
        b"a  b\r\n", b"a\t b \r\n\r\n"
    )
    assert len(folded) > len(wire)
    assert verified(folded, *keys) == [True, True]


def test_a_file_is_hashed_as_it_is_read(tmp_path: Path) -> None:
    """Chunk by chunk, and the message still reads it from the disk when it leaves."""
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(256)) * 4096)
    message = _message(attachments=[Attachment.from_path(path), Attachment(filename="empty.txt", content=b"")])
    keys = KEYS["both"]
    plain = composed(message)
    longest = max(len(chunk) for chunk in plain.body_chunks())
    assert longest < plain.size_bytes / 8
    assert verified(_signed(plain, *keys), *keys) == [True, True]


def test_a_file_that_changed_is_not_signed(tmp_path: Path) -> None:
    """The error is that of reading it."""
    path = tmp_path / "note.txt"
    path.write_text("one")
    plain = composed(_message(attachments=[Attachment.from_path(path)]))
    path.write_text("another")
    with pytest.raises(ValidationError, match="changed"):
        DkimSigner([ed25519_key()]).sign(plain.head, plain.body_chunks(), now=NOON)


_ORIGINAL = _signed(
    _message(
        cc=["c@example.org"],
        reply_to=["r@example.org"],
        html="<p>It came.</p>",
        headers={"List-Unsubscribe": "<https://example.com/u>", "References": "<1@example.com> <2@example.com>"},
    ),
    *KEYS["both"],
)
_HEAD, _, _BODY = _ORIGINAL.partition(b"\r\n\r\n")
_FIRST_SIGNED = _HEAD.index(b"\r\nFrom:") + 2


@settings(max_examples=250, deadline=None)
@given(place=st.integers(_FIRST_SIGNED, len(_ORIGINAL) - 1), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(place: int, bit: int) -> None:
    """Of the body and of every field; line ends and the case of names, which relaxed lets change, are left out."""
    byte = _ORIGINAL[place]
    assume(byte not in b"\r\n")
    line_start = _ORIGINAL.rfind(b"\n", 0, place) + 1
    in_name = place < len(_HEAD) and b":" not in _ORIGINAL[line_start:place] and _ORIGINAL[line_start] not in b" \t"
    assume(not (in_name and bit == 5))
    changed = _ORIGINAL[:place] + bytes([byte ^ 1 << bit]) + _ORIGINAL[place + 1 :]
    assert verified(changed, *KEYS["both"]) == [False, False]


@pytest.mark.parametrize(
    "field",
    [
        b"From: mallory@example.net",
        b"To: victim@example.net",
        b"Cc: victim@example.net",
        b"Reply-To: mallory@example.net",
        b"Subject: Urgent",
        b"Date: Mon, 23 Nov 2026 12:00:00 +0000",
        b"Message-ID: <other@example.com>",
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain",
        b"List-Unsubscribe: <https://mallory.example/>",
    ],
)
def test_a_further_field_breaks_the_signature(field: bytes) -> None:
    """RFC 6376 section 8.15: above as well as below the one that was signed."""
    assert verified(field + b"\r\n" + _ORIGINAL, *KEYS["both"]) == [False, False]
    assert verified(_HEAD + b"\r\n" + field + b"\r\n\r\n" + _BODY, *KEYS["both"]) == [False, False]


@pytest.mark.parametrize("field", [b"Cc: v@example.net", b"Reply-To: m@example.net", b"Subject: Urgent"])
def test_what_a_reader_shows_cannot_be_added_where_it_was_absent(field: bytes) -> None:
    """An added Reply-To would send the answers elsewhere."""
    wire = _signed(_message(subject=""), *KEYS["both"])
    assert field[: field.index(b":")].lower() not in wire.lower().partition(b"\r\nfrom: ")[2].partition(b"\r\n\r\n")[0]
    assert verified(field + b"\r\n" + wire, *KEYS["both"]) == [False, False]


@pytest.mark.parametrize("field", [b"Received: from a by b", b"References: <9@example.com>", b"X-Spam: no"])
def test_what_relays_add_does_no_harm(field: bytes) -> None:
    """Oversigning stops short of what is added on the way."""
    wire = _signed(_message(), *KEYS["both"])
    assert verified(field + b"\r\n" + wire, *KEYS["both"]) == [True, True]


@pytest.mark.parametrize("added", [b"appended\r\n", b"\r\n.\r\nappended", b"<p>appended</p>\r\n"])
def test_nothing_can_be_appended(added: bytes) -> None:
    """There is no l=, which would allow it."""
    wire = _signed(_message(), *KEYS["both"])
    assert all("l" not in tags for tags in _tags(wire))
    assert verified(wire + added, *KEYS["both"]) == [False, False]


@settings(max_examples=80, deadline=None)
@given(message=MESSAGES, eight_bit=st.booleans(), keys=st.sampled_from(list(KEYS.values())))
def test_any_message_is_verified(message: Message, eight_bit: bool, keys: tuple[DkimKey, ...]) -> None:
    """Whatever the model lets through."""
    wire = _signed(message, *keys, eight_bit=eight_bit)
    assert verified(wire, *keys) == [True] * len(keys)
    head = wire.partition(b"\r\n\r\n")[0]
    signatures = head[: head.index(b"\r\nFrom:")]
    assert max(len(line) for line in signatures.split(b"\r\n")) <= 76


def test_long_names_stand_on_lines_of_their_own() -> None:
    """A domain cannot be folded, so it alone may make a line long."""
    key = ed25519_key(domain=".".join(["label" * 6] * 4) + ".example", selector="selector-" * 5 + "x")
    wire = _signed(_message(), key)
    assert verified(wire, key) == [True]
    assert [line for line in wire.split(b"\r\n") if len(line) > 76] == [b" d=" + key.domain.encode() + b";"]


def test_field_says_what_was_signed() -> None:
    """Present fields once, closed ones once more; times as asked for."""
    wire = _signed(_message(headers={"References": "<1@example.com>"}), ed25519_key())
    (tags,) = _tags(wire)
    assert {name: tags[name] for name in "vacdst"} == {
        "v": "1",
        "a": "ed25519-sha256",
        "c": "relaxed/relaxed",
        "d": "example.com",
        "s": "ed",
        "t": str(int(NOON.timestamp())),
    }
    assert not {"x", "i", "l", "q"} & tags.keys()
    assert tags["h"] == (
        "from:from:to:to:cc:reply-to:subject:subject:date:date:message-id:message-id:mime-version:mime-version:"
        "content-type:content-type:content-transfer-encoding:content-transfer-encoding:references"
    )


def test_from_is_always_closed() -> None:
    """RFC 6376 section 5.4 demands that it is signed; section 8.15 that no second one passes."""
    assert SIGNED["from"] is Oversign.ALWAYS


def test_expiry_and_identity() -> None:
    """Both tags, and a receiver who takes them."""
    now = datetime.now(UTC)
    wire = _signed(_message(), rsa_key(), now=now, expires_after_s=3600, identity="@news.example.com")
    (tags,) = _tags(wire)
    assert int(tags["x"]) - int(tags["t"]) == 3600
    assert tags["i"] == "@news.example.com"
    assert verified(wire, rsa_key()) == [True]
    late = _signed(_message(), rsa_key(), now=now - timedelta(days=3), expires_after_s=3600)
    assert verified(late, rsa_key()) == [False]


def test_time_without_a_zone_is_utc() -> None:
    """As it is for the Date field."""
    assert _tags(_signed(_message(), ed25519_key(), now=NOON.replace(tzinfo=None))) == _tags(
        _signed(_message(), ed25519_key(), now=NOON)
    )


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"keys": []}, "keys"),
        ({"expires_after_s": 0}, "expires_after_s"),
        ({"identity": "@example.org"}, "identity"),
        ({"identity": "@notexample.com"}, "identity"),
        ({"identity": "example.com"}, "identity"),
        ({"identity": "@example.com; l=0"}, "identity"),
        ({"identity": "a\r\nb@example.com"}, "identity"),
    ],
)
def test_what_cannot_be_signed_with_is_refused(given: dict[str, Any], path: str) -> None:
    """Before any message."""
    with pytest.raises(ValidationError) as caught:
        DkimSigner(**{"keys": [ed25519_key()], **given})
    assert caught.value.problems[0].path == path


def test_a_message_without_from_is_not_signed() -> None:
    """RFC 6376 section 5.4."""
    with pytest.raises(ValidationError, match="from"):
        DkimSigner([ed25519_key()]).sign(b"To: a@example.com\r\n\r\n", [b"x\r\n"], now=NOON)


def test_fields_of_one_name_are_signed_from_the_bottom() -> None:
    """RFC 6376 section 5.4.2, for messages that others composed."""
    head = b"From: a@example.com\r\nReferences: <1@x>\r\nReferences: <2@x>\r\nTO: b@example.org\r\n\r\n"
    signature = DkimSigner([ed25519_key()]).sign(head, [b"body\r\n"], now=NOON)
    wire = signature + head + b"body\r\n"
    assert _tags(wire)[0]["h"].count("references") == 2
    assert verified(wire, ed25519_key()) == [True]
    swapped = wire.replace(b"<1@x>", b"<3@x>").replace(b"<2@x>", b"<1@x>").replace(b"<3@x>", b"<2@x>")
    assert verified(swapped, ed25519_key()) == [False]


@pytest.mark.parametrize(
    "signature", [b"X: a", b"X: a\nY: b\r\n", b"X: a\r\n\r\n", b"X: a\r\n\r\nbody\r\n", b"\x00\r\n"]
)
def test_only_whole_fields_go_on_top(signature: bytes) -> None:
    """Anything else would end the header."""
    with pytest.raises(UnsafeMessage):
        composed(_message()).below(signature)


# RFC 8463 appendix A.3.
_DINNER_HEAD = (
    b"From: Joe SixPack <joe@football.example.com>\r\n"
    b"To: Suzie Q <suzie@shopping.example.net>\r\n"
    b"Subject: Is dinner ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
)
_DINNER_BODY = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
_DINNER_SIGNATURE = (
    b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
    b" d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    b" subject : date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    b" b="
)
_DINNER_VALUE = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="


def test_example_of_rfc_8463() -> None:
    """Its body hash, and, Ed25519 being the same each time, its very signature."""
    assert base64.b64encode(body_hash([_DINNER_BODY])) == b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    fields = relaxed_fields(_DINNER_HEAD)
    names = (b"from", b"to", b"subject", b"date", b"message-id")
    (own,) = relaxed_fields(_DINNER_SIGNATURE)[b"dkim-signature"]
    data = b"".join(fields[name][0] + b"\r\n" for name in names) + own
    key = ed25519_key(domain="football.example.com", selector="brisbane")
    assert base64.b64encode(key.sign(data)).decode() == _DINNER_VALUE


def test_message_of_rfc_8463_is_verified_with_our_field() -> None:
    """The same message and key, signed as we do."""
    key = ed25519_key(domain="football.example.com", selector="brisbane")
    head = _DINNER_HEAD + b"\r\n"
    wire = DkimSigner([key]).sign(head, _lines(_DINNER_BODY), now=NOON) + head + _DINNER_BODY
    assert _tags(wire)[0]["bh"] == "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    assert verified(wire, key) == [True]


def _lines(body: bytes) -> Iterator[bytes]:
    yield from body.splitlines(keepends=True)


def test_body_hash_is_that_of_the_bytes_on_the_wire() -> None:
    """Computed once more by hand."""
    wire = _signed(_message(text="a  b \n\n\n"), ed25519_key())
    (tags,) = _tags(wire)
    assert base64.b64decode(tags["bh"]) == hashlib.sha256(b"a b\r\n").digest()
