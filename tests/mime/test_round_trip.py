"""What is composed is read back as what was given: by CPython's ``email``, and by a strict reader of our own."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from genie_connect.errors import ValidationError
from genie_connect.mime import compose
from genie_connect.model.address import Address
from genie_connect.model.attachment import CHUNK_BYTES, Attachment
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.message import Message
from tests.mime import wire
from tests.mime.making import batch_of, composed, wire_of

_NO_CONTROLS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
_NOT_REORDERING = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])
_MIXED = st.one_of(_NO_CONTROLS, st.sampled_from(' aé"=?_,.<>@\\;:文🎉\u0301\u05d0'))
LINES = st.text(_MIXED, max_size=300)
NAMES = st.text(st.one_of(_NOT_REORDERING, st.sampled_from(' aé"=?_,.<>@\\;:()文🎉')), max_size=120)
FILE_NAMES = st.text(st.one_of(_NOT_REORDERING, st.sampled_from(" aé\"=?_,.%*';()文🎉")), min_size=1, max_size=60)
_LETTERS = st.one_of(
    st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cs"]),
    st.sampled_from("\r\n\t =.é文🎉 From-"),
)
BODIES = st.one_of(
    st.text(_LETTERS, max_size=600),
    st.lists(st.text(_LETTERS, max_size=60), max_size=40).map("\n".join),
    st.builds(lambda text, count: text * count, st.text(_LETTERS, min_size=1, max_size=8), st.integers(1, 1500)),
)
LOCALS = st.from_regex(r"[A-Za-z0-9!#$%&'*+/^`{|}~-]{1,20}(\.[A-Za-z0-9!#$%&'*+/=^_-]{1,20})?", fullmatch=True)
DOMAINS = st.sampled_from(["example.com", "a-b.example.org", "bücher.example", "例え.example", "x.y.z.example.net"])
slow = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


def oracle(data: bytes) -> EmailMessage:
    """The message as CPython reads it."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert [part.defects for part in message.walk() if part.defects] == []
    return message


def normal(text: str) -> str:
    """The text with every kind of line end made one."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def addresses() -> st.SearchStrategy[Address]:
    """Addresses with every kind of name, hidden controls apart, which the model refuses."""

    def make(name: str, local: str, domain: str) -> Address:
        try:
            return Address(name=name, local=local, domain=domain)
        except ValidationError:
            return Address(local=local, domain=domain)

    return st.builds(make, NAMES, LOCALS, DOMAINS)


def attachments(content_ids: st.SearchStrategy[str | None]) -> st.SearchStrategy[Attachment]:
    """Files of all names; a name that the model refuses becomes a plain one."""

    def make(filename: str, content: bytes, content_id: str | None) -> Attachment:
        try:
            return Attachment(filename=filename, content=content, content_type="image/x-test", content_id=content_id)
        except ValidationError:
            return Attachment(filename="a.bin", content=content, content_type="image/x-test", content_id=content_id)

    return st.builds(make, FILE_NAMES, st.binary(max_size=300), content_ids)


@slow
@given(subject=LINES)
@example(subject=" ")
@example(subject="  two  blanks  é  inside  and around  ")
@example(subject="=?utf-8?q?looks_like_one?=")
@example(subject="Re: =?utf-8?q?a?= b")
@example(subject="🎉" * 200)
@example(subject="é" + " word" * 150)
@example(subject="x" * 998)
@example(subject="e\u0301" * 100)
@example(subject="\u05e9\u05dc\u05d5\u05dd, world")
@example(subject="no\u00a0break and\u3000wide")
def test_subject(subject: str) -> None:
    """A subject of any characters is read back exactly, by both readers."""
    try:
        message = Message(to="bob@example.org", text="x", subject=subject)
    except ValidationError:
        return
    data = wire_of(message)
    head = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert wire.decoded(dict(wire.read(data).fields).get("Subject", "")) == subject
    assert str(oracle(data).get("Subject", "")) == subject
    assert max(map(len, head)) <= 76 or max(map(len, subject.split(" "))) > 60


@slow
@given(value=LINES.filter(str.strip))
@example(value="a" * 900 + " é")
@example(value="a" + " " * 5000 + "b")
@example(value="a" + " " * 59 + "b" * 900)
@example(value="a" + " " * 60 + "b" * 900)
@example(value=("a" * 900 + " ") * 8 + "a")
@example(value="é " + "b" * 998)
def test_own_header(value: str) -> None:
    """An own header field of free text is read back exactly."""
    try:
        message = Message(to="bob@example.org", text="x", headers={"X-Custom-Thing": value})
    except ValidationError:
        return
    data = wire_of(message)
    assert wire.decoded(wire.read(data).get("X-Custom-Thing")) == value
    assert str(oracle(data)["X-Custom-Thing"]) == value


@slow
@given(given_addresses=st.lists(addresses(), min_size=1, max_size=6), sender=addresses())
@example(
    given_addresses=[Address(name=f"Doe{index}, Jäne", local="j", domain="example.org") for index in range(6)],
    sender=Address(name="A véry long name with a comma, and mörę than one line takes", local="x", domain="example.com"),
)
@example(
    given_addresses=[Address(name='"quoted \\ back" ' * 8, local="j", domain="example.org")],
    sender=Address(name="=?utf-8?q?evil?=", local="x", domain="example.com"),
)
def test_address_list(given_addresses: list[Address], sender: Address) -> None:
    """The same number of mailboxes comes back, in their order, with their names and nobody else."""
    message = Message(from_=sender, to=given_addresses, cc=given_addresses, reply_to=given_addresses, text="x")
    data = wire_of(message)
    strict, python = wire.read(data), oracle(data)
    for field, expected in (
        ("To", message.to),
        ("Cc", message.cc),
        ("Reply-To", message.reply_to),
        ("From", (sender,)),
    ):
        assert wire.mailboxes(strict.get(field)) == [address.email for address in expected]
        assert wire.names(strict.get(field)) == [address.name for address in expected]
        read = python[field].addresses
        assert [item.addr_spec for item in read] == [one.email for one in expected]
        # This CPython keeps the white space between encoded-words of a name, which RFC 2047 section 6.2 drops.
        squeezed = ["".join(item.display_name.split()) for item in read]
        assert squeezed == ["".join(one.name.split()) for one in expected]
        assert not python[field].defects


@pytest.mark.parametrize("local", ["josé", "用户", "δοκιμή.test", "a\u0301"])
def test_international_local_part(local: str) -> None:
    """Only the address is written as UTF-8, and the message says that it needs SMTPUTF8."""
    address = Address(name="Jösé", local=local, domain="bücher.example")
    message = Message(to=address, text="x", subject="Fiancé")
    result = composed(message)
    assert result.needs_smtputf8
    strict = wire.read(result.as_bytes())
    assert wire.mailboxes(strict.get("To")) == [address.email]
    assert strict.get("To").endswith(f"<{address.local}@xn--bcher-kva.example>")
    assert [name for name, value in strict.fields if not value.isascii()] == ["To"]
    assert not result.needs_8bit


def test_international_domain_needs_nothing() -> None:
    """A domain beyond ASCII is written as A-labels, so any server can take the message."""
    result = composed(Message(to="bob@bücher.example", text="x"))
    assert not result.needs_smtputf8
    assert result.as_bytes().isascii()


@slow
@given(text=BODIES, html=st.none() | BODIES, eight_bit=st.booleans())
@example(text="", html=None, eight_bit=False)
@example(text="", html="", eight_bit=False)
@example(text="x" * 998, html=None, eight_bit=False)
@example(text="x" * 999, html=None, eight_bit=False)
@example(text="é" * 499 + "\n", html=None, eight_bit=True)
@example(text="é" * 500, html=None, eight_bit=True)
@example(text="trailing \t \nblanks \n \n", html="é \né\t\n", eight_bit=False)
@example(text=".\n..\n.a\nFrom x\n", html="é.\n.\n..\nFrom é\n", eight_bit=False)
@example(text="é" + " a" * 38 + " \n" + "é", html=None, eight_bit=False)
@example(text="a" * 75 + " \n" + "x" * 999, html=None, eight_bit=False)
@example(text="one long line, no end, é " * 20, html=None, eight_bit=False)
@example(text="é" + "a" * 68 + " \nb", html=None, eight_bit=False)
@example(text="é" + "a" * 69 + " \nb", html=None, eight_bit=False)
@example(text="é" + "a" * 70 + " \nb", html=None, eight_bit=False)
@example(text="--=_a_00\n--\n", html="<p>", eight_bit=False)
def test_bodies(text: str, html: str | None, eight_bit: bool) -> None:
    """Bodies come back as they were, line ends apart; on the wire they keep to the rules of their encoding."""
    message = Message(to="bob@example.org", text=text, html=html)
    result = composed(message, eight_bit=eight_bit)
    data = result.as_bytes()
    strict = wire.read(data)
    leaves = [part for part in strict.walk() if not part.parts]
    given_bodies = [body for body in (text, html) if body is not None]
    for part, body in zip(leaves, given_bodies, strict=True):
        read = part.content.decode("utf-8")
        expected = normal(body).replace("\n", "\r\n")
        assert read in ((expected,) if html is not None else (expected, expected + "\r\n"))
        _check_encoding(part, eight_bit)
    assert eight_bit or data.isascii()
    assert result.needs_8bit == (not data.isascii())

    python = oracle(data)
    plain = python.get_body(["plain"])
    assert plain is not None
    assert normal(plain.get_content()).rstrip("\n") == normal(text).rstrip("\n")
    if html is not None:
        marked_up = python.get_body(["html"])
        assert marked_up is not None
        assert normal(marked_up.get_content()) == normal(html)


def _check_encoding(part: wire.Part, eight_bit: bool) -> None:
    encoding = part.get("Content-Transfer-Encoding")
    longest = max(map(len, part.body.split(b"\r\n")))
    if encoding in ("base64", "quoted-printable"):
        assert longest <= 76
        assert part.body.isascii()
    if encoding == "quoted-printable":
        assert not any(line.endswith((b" ", b"\t")) for line in part.body.split(b"\r\n"))
    assert encoding != "8bit" or eight_bit
    assert encoding != "7bit" or part.body.isascii()


@pytest.mark.parametrize(
    "text, eight_bit, encoding",
    [
        ("plain\n", False, "7bit"),
        ("plain\n", True, "7bit"),
        ("x" * 999, False, "quoted-printable"),
        ("Grüße aus Köln, and a good deal of plain text besides\n", False, "quoted-printable"),
        ("Grüße aus Köln, and a good deal of plain text besides\n", True, "8bit"),
        ("Привет, как дела?\n", False, "base64"),
        ("こんにちは\n", False, "base64"),
        ("こんにちは\n", True, "8bit"),
        ("こ" * 400, True, "base64"),
    ],
)
def test_encoding_is_the_most_readable_that_fits(text: str, eight_bit: bool, encoding: str) -> None:
    """7bit where possible, 8bit where allowed, else what is smaller."""
    strict = wire.read(wire_of(Message(to="bob@example.org", text=text), eight_bit=eight_bit))
    assert strict.get("Content-Transfer-Encoding") == encoding


@slow
@given(
    files=st.lists(attachments(st.none()), max_size=3),
    images=st.lists(attachments(st.from_regex(r"[a-z0-9.]{1,20}(@[a-z]{1,9})?", fullmatch=True)), max_size=3),
    text=st.none() | st.just("Text é\n"),
    html=st.just("<p>Html é</p>\n"),
)
@example(
    files=[
        Attachment(filename="Résumé.pdf", content=b""),
        Attachment(filename='a"b;c.txt', content=b"x" * 57),
        Attachment(filename="文档" * 30 + ".pdf", content=b"x" * 58),
        Attachment(filename="=?utf-8?q?a?=.txt", content=b"x"),
        Attachment(filename="a" * 255, content=b"x"),
        Attachment(filename="100% *'x'.txt", content=b"x"),
    ],
    images=[Attachment(filename="logo.png", content=b"png", content_id="logo")],
    text="Text\n",
    html='<img src="cid:logo">',
)
def test_files_and_images(
    files: list[Attachment], images: list[Attachment], text: str | None, html: str | None
) -> None:
    """Names, types, bytes and Content-IDs come back; the size is known beforehand."""
    unique = {image.content_id: image for image in images}
    message = Message(to="bob@example.org", text=text, html=html, attachments=[*files, *unique.values()])
    result = composed(message)
    data = result.as_bytes()
    assert len(data) == result.size_bytes
    strict = [part for part in wire.read(data).walk() if "Content-Disposition" in part.names]
    expected = [*message.inline_images, *message.files]
    assert [part.content for part in strict] == [one.read() for one in expected]
    assert [dict(part.fields).get("Content-ID") for part in strict] == [
        f"<{one.content_id}>" if one.content_id else None for one in expected
    ]
    python = [part for part in oracle(data).walk() if part.get_content_disposition()]
    assert [_file_name(part.get("Content-Disposition")) for part in strict] == [one.filename for one in expected]
    assert [part.get_filename() for part in python] == [one.filename.strip() for one in expected]
    assert [part.get_content_disposition() for part in python] == [
        "inline" if one.inline else "attachment" for one in expected
    ]
    assert [part.get_content_type() for part in python] == [one.content_type for one in expected]
    assert [part.get_payload(decode=True) for part in python] == [one.read() for one in expected]
    assert [_name_parameter(part.get("Content-Type")) for part in strict] == [one.filename for one in expected]


def _file_name(value: str) -> str:
    if value.endswith('"'):
        return value.partition('filename="')[2][:-1]
    segments = re.findall(r"; filename\*(?:(\d+)\*)?=([A-Za-z0-9%._~'-]+)(?=;|$)", value)
    assert [index for index, _ in segments] in ([""], [str(number) for number in range(len(segments))])
    charset, language, name = "".join(text for _, text in segments).split("'")
    assert (charset, language) == ("UTF-8", "")
    # Each segment alone is whole characters, for readers that decode them one by one.
    assert all(unquote(text, errors="strict") is not None for _, text in segments)
    return unquote(name, errors="strict")


def _name_parameter(value: str) -> str:
    start, _, rest = value.partition('name="')
    assert start.endswith("; ")
    assert rest.endswith('"')
    return wire.decoded(rest[:-1])


_TEXT, _HTML = "Text\n", '<img src="cid:logo">\n'
_LOGO = Attachment(filename="logo.png", content=b"x", content_id="logo")
_FILE = Attachment(filename="a.txt", content=b"x")


@pytest.mark.parametrize(
    "given_parts, types",
    [
        ({"text": _TEXT}, ["text/plain"]),
        ({"html": "<p>"}, ["text/html"]),
        ({"text": _TEXT, "html": "<p>"}, ["multipart/alternative", "text/plain", "text/html"]),
        (
            {"text": _TEXT, "amp": "<html ⚡4email>", "html": "<p>"},
            ["multipart/alternative", "text/plain", "text/x-amp-html", "text/html"],
        ),
        ({"text": _TEXT, "amp": "<p>"}, ["multipart/alternative", "text/plain", "text/x-amp-html"]),
        (
            {"amp": "<p>", "html": _HTML, "attachments": [_LOGO]},
            ["multipart/alternative", "text/x-amp-html", "multipart/related", "text/html", "image/png"],
        ),
        ({"html": _HTML, "attachments": [_LOGO]}, ["multipart/related", "text/html", "image/png"]),
        (
            {"text": _TEXT, "html": _HTML, "attachments": [_LOGO]},
            ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"],
        ),
        ({"text": _TEXT, "attachments": [_FILE]}, ["multipart/mixed", "text/plain", "text/plain"]),
        ({"attachments": [_FILE]}, ["multipart/mixed", "text/plain"]),
        (
            {"text": _TEXT, "html": _HTML, "attachments": [_FILE, _LOGO]},
            [
                "multipart/mixed",
                "multipart/alternative",
                "text/plain",
                "multipart/related",
                "text/html",
                "image/png",
                "text/plain",
            ],
        ),
    ],
)
def test_structure(given_parts: dict[str, object], types: list[str]) -> None:
    """Parts nest as readers expect them, and no level has a single part without need."""
    data = wire_of(Message(**{"to": "bob@example.org", **given_parts}))
    assert [part.get_content_type() for part in oracle(data).walk()] == types
    assert [part.get("Content-Type").partition(";")[0] for part in wire.read(data).walk()] == types


def test_8bit_is_labelled_on_every_level() -> None:
    """A multipart around an 8bit part says so itself (RFC 2045 section 6.4)."""
    message = Message(to="bob@example.org", text="é\n", html="<p>\n", attachments=[_FILE])
    mixed = wire.read(wire_of(message, eight_bit=True))
    alternative, file = mixed.parts
    assert mixed.get("Content-Transfer-Encoding") == "8bit"
    assert alternative.get("Content-Transfer-Encoding") == "8bit"
    assert [part.get("Content-Transfer-Encoding") for part in (*alternative.parts, file)] == ["8bit", "7bit", "base64"]


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7])
def test_file_on_disk_is_read_in_pieces(tmp_path: Path, size: int) -> None:
    """A file gives the same bytes as its content in memory, and each chunk is whole lines."""
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(index % 251 for index in range(size)))
    on_disk = Message(to="bob@example.org", text="x", attachments=[Attachment.from_path(path)])
    in_memory = Message(
        to="bob@example.org", text="x", attachments=[Attachment(filename="a.bin", content=path.read_bytes())]
    )
    result = composed(on_disk)
    chunks = list(result.chunks())
    assert all(chunk.endswith(b"\r\n") for chunk in chunks)
    assert max(map(len, chunks)) <= CHUNK_BYTES * 78 // 57
    assert b"".join(chunks) == wire_of(in_memory)
    assert result.size_bytes == len(b"".join(chunks))


def test_file_that_changed_is_not_sent(tmp_path: Path) -> None:
    """A file that is no longer what was attached stops the message, since its size was announced."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    result = composed(Message(to="bob@example.org", text="x", attachments=[Attachment.from_path(path)]))
    path.write_bytes(b"after, and longer")
    with pytest.raises(ValidationError, match="changed"):
        result.as_bytes()


def test_every_attempt_has_the_same_bytes() -> None:
    """The same copy is composed to the same bytes; another copy has other boundaries."""
    message = Message(to="bob@example.org", text="x", html="<p>", attachments=[_FILE])
    assert wire_of(message) == wire_of(message)
    first = wire.read(wire_of(message)).get("Content-Type")
    assert first != wire.read(wire_of(message, message_id="<2.abc@example.com>")).get("Content-Type")


def test_boundary_that_stands_in_the_content_is_not_used() -> None:
    """Who can guess the boundary of a message and writes it into the text gains nothing."""
    plain = Message(to="bob@example.org", text="x", html="<p>")
    boundary = wire.read(wire_of(plain)).get("Content-Type").partition('boundary="')[2][:-1]
    hostile = Message(to="bob@example.org", text=f"x\n--{boundary}--\n--{boundary}\n\nEvil\n", html="<p>")
    data = wire_of(hostile)
    assert wire.read(data).parts[0].content.decode() == hostile.text.replace("\n", "\r\n")  # type: ignore[union-attr]
    assert data == wire_of(hostile)


def test_own_headers_of_the_copy_win() -> None:
    """A field of the recipient replaces the message's, whatever its case."""
    message = Message(to="bob@example.org", text="x", headers={"X-Campaign": "all", "X-Kept": "1"})
    strict = wire.read(wire_of(message, headers=FrozenMap({"x-campaign": "one"})))
    assert [field for field in strict.fields if field[0].lower().startswith("x-")] == [
        ("x-campaign", "one"),
        ("X-Kept", "1"),
    ]


@pytest.mark.parametrize("name", ["References", "List-Unsubscribe", "In-Reply-To", "Feedback-ID"])
def test_structured_field_is_folded_and_never_encoded(name: str) -> None:
    """Its words come back untouched, one blank between them."""
    value = " ".join(f"<{index}.{'x' * index}@example.com>" for index in range(90))
    data = wire_of(Message(to="bob@example.org", text="x", headers={name: value}))
    assert wire.read(data).get(name) == value
    assert b"=?" not in data
    assert sum(len(line) > 76 for line in data.split(b"\r\n")) <= sum(len(word) > 75 for word in value.split())


def test_blanks_of_a_structured_field_mean_nothing() -> None:
    """However many blanks there are, the lines stay within bounds and the words the same."""
    value = "<1@example.com>" + " " * 5000 + "<2@example.com>"
    data = wire_of(Message(to="bob@example.org", text="x", headers={"References": value}))
    assert wire.read(data).get("References").split() == value.split()


def test_structured_field_that_cannot_be_folded_is_refused() -> None:
    """A word too long for any line is refused by the model, with the reason."""
    with pytest.raises(ValidationError, match="without a blank"):
        Message(to="bob@example.org", text="x", headers={"List-Unsubscribe": f"<https://example.org/{'x' * 900}>"})


@slow
@given(when=st.datetimes(timezones=st.none() | st.timezones() | st.just(timezone(timedelta(minutes=-95)))))
def test_date(when: datetime) -> None:
    """The date is the moment that was given, in its own zone, or in UTC where it has none."""
    batch = batch_of(Message(to="bob@example.org", text="x"))
    if not 1900 < when.year < 9999:
        return
    data = compose(batch, batch.deliveries[0], date=when).as_bytes()
    read = oracle(data)["Date"].datetime
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    # As instants: a local time that comes twice in its zone equals nothing in another one.
    assert int(read.timestamp()) == int(aware.replace(microsecond=0).timestamp())


def test_empty_subject_is_left_out() -> None:
    """A message without a subject has no Subject field."""
    assert "Subject" not in wire.read(wire_of(Message(to="bob@example.org", text="x"))).names
