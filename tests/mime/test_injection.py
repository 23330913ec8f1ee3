"""No attack string gets out of the field it was put in."""

from __future__ import annotations

import pytest

from genie_connect.errors import UnsafeMessage, ValidationError
from genie_connect.mime import check_header, check_wire
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.message import Message
from tests.mime import wire
from tests.mime.injection_cases import CASES, HARMLESS, HOSTILE_ADDRESSES, PLAIN_ADDRESSES, REFUSED, Case
from tests.mime.making import composed, wire_of

_TOP = ["From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID"]
_PART = {"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID"}


def _expected_names(message: Message) -> list[str]:
    shown = {"Cc": message.cc, "Reply-To": message.reply_to, "Subject": message.subject}
    return [name for name in _TOP if shown.get(name, True)] + [*message.headers, "MIME-Version"]


def test_the_matrix_is_as_big_as_promised() -> None:
    """Both ends of the matrix are there, and no case stands twice."""
    assert len(CASES) >= 500
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.expected for case in CASES} == {REFUSED, HARMLESS}


@pytest.mark.parametrize("case", [case for case in CASES if case.expected == REFUSED], ids=lambda case: case.name)
def test_refused_where_it_enters(case: Case) -> None:
    """The model refuses the attack, and every problem names the field that holds it."""
    with pytest.raises(ValidationError) as refused:
        case.message()
    assert [problem.path for problem in refused.value.problems if not problem.path.startswith(case.path)] == []


@pytest.mark.parametrize("eight_bit", [False, True], ids=["7bit", "8bit"])
@pytest.mark.parametrize("case", [case for case in CASES if case.expected == HARMLESS], ids=lambda case: case.name)
def test_harmless_on_the_wire(case: Case, eight_bit: bool) -> None:
    """What is taken stands for nothing but itself: same fields, same recipients, same parts, same text."""
    message = case.message()
    result = wire.read(wire_of(message, eight_bit=eight_bit))

    content = [name for name in result.names if name in _PART]
    assert [name for name in result.names if name not in _PART] == _expected_names(message)
    assert len(content) == len(set(content))
    assert wire.mailboxes(result.get("To")) == [address.email for address in message.to]
    assert wire.mailboxes(result.get("From")) == ["ada@example.com"]
    assert wire.decoded(result.get("Subject")) == message.subject

    leaves = [part for part in result.walk() if not part.parts]
    assert len(leaves) == 1 + (message.amp is not None) + (message.html is not None) + len(message.attachments)
    for part in result.walk()[1:]:
        assert set(part.names) <= _PART
        assert len(part.names) == len(set(part.names))
    bodies = [part.content for part in leaves[: len(leaves) - len(message.attachments)]]
    given = [body for body in (message.text, message.amp, message.html) if body is not None]
    assert [_lines(body.decode()) for body in bodies] == [_lines(body) for body in given]


def _lines(body: str) -> list[str]:
    lines = body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


@pytest.mark.parametrize("case", [case for case in CASES if case.field == "to_name" and case.expected == HARMLESS])
def test_a_hostile_name_stays_a_name(case: Case) -> None:
    """A reader who decodes the To field gets the name back, character for character."""
    message = case.message()
    value = wire.read(wire_of(message)).get("To")
    name = value.removesuffix(" <bob@example.org>")
    if name.startswith('"'):
        name = name[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    assert wire.decoded(name) == message.to[0].name


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to", "from_", "envelope_from"])
def test_address_that_readers_disagree_about_is_refused(field: str, address: str) -> None:
    """An address that could be taken for another one, or for two, is not taken in any field."""
    with pytest.raises(ValidationError) as refused:
        Message(**{"to": "bob@example.org", "text": "x", field: address})
    assert {problem.path.partition("[")[0] for problem in refused.value.problems} == {field.rstrip("_")}


@pytest.mark.parametrize("address", PLAIN_ADDRESSES)
def test_odd_address_is_sent_as_it_is(address: str) -> None:
    """An address that is odd but clear is the same in envelope and header."""
    message = Message(to=address, text="x")
    assert message.recipients[0].email == address
    assert wire.mailboxes(wire.read(wire_of(message)).get("To")) == [address]


@pytest.mark.parametrize("text", ["(" * 20_000, '"' * 50_000, "\\" * 50_000, "," * 50_000, "a@x.example, " * 20_000])
def test_endless_address_is_refused_for_its_length(text: str) -> None:
    """Text far longer than an address is refused before it is parsed."""
    with pytest.raises(ValidationError, match="characters; the most is"):
        Address.parse(text)


@pytest.mark.parametrize("name", ["bcc", "Bcc", "bCc", "BCC", "Resent-Bcc", "resent-bcc", "Resent-To"])
def test_bcc_is_no_free_header(name: str) -> None:
    """Bcc cannot be set as a header field in any spelling."""
    with pytest.raises(ValidationError, match="cannot be set"):
        Message(to="bob@example.org", text="x", headers={name: "evil@evil.example"})


def test_bcc_recipient_is_in_no_header() -> None:
    """Who is in bcc gets the message and is named nowhere in it."""
    data = wire_of(Message(to="bob@example.org", cc="cy@example.org", bcc="dan@example.org", text="x"))
    assert b"dan@" not in data
    assert b"bcc" not in data.lower()


def test_message_for_bcc_alone_names_nobody() -> None:
    """With nobody to show, To says so, since filters count a missing To against the sender."""
    result = wire.read(wire_of(Message(bcc="dan@example.org", text="x")))
    assert result.get("To") == "undisclosed-recipients:;"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A: b\r\nBcc": "evil@evil.example"},
        {"Bcc: evil@evil.example, X": "y"},
        {"X-A": "b\r\nBcc: evil@evil.example"},
        {"X-A": "b\nBcc: evil@evil.example"},
        {"X-A": "b\r\n\r\nbody"},
        {"X-A": "b\x00"},
        {"Bcc": "evil@evil.example"},
        {"Resent-Bcc": "evil@evil.example"},
        {"To": "evil@evil.example"},
        {"mime-version": "1.0"},
        {"Content-Type": "text/html"},
        {"X A": "b"},
        {"": "b"},
        {"References": "\u00e9"},
        {"References": "x" * 1000},
    ],
)
def test_gate_stops_what_went_past_the_model(headers: dict[str, str]) -> None:
    """A delivery made without checks still cannot bring a field of its own to the wire."""
    with pytest.raises(UnsafeMessage):
        composed(Message(to="bob@example.org", text="x"), headers=FrozenMap(headers))


@pytest.mark.parametrize(
    "message_id",
    [
        "",
        "a@b",
        "<ab>",
        "<a@b@c>",
        "<a@b",
        "<a@b>\r\nBcc: e@evil.example",
        "<a b@c>",
        "<a@b>\n",
        "<" + "x" * 3000 + "@y>",
        "<\u00e9@b>",
    ],
)
def test_gate_stops_a_message_id_that_is_none(message_id: str) -> None:
    """A Message-ID is one short token between angle brackets, or nothing is composed."""
    with pytest.raises(UnsafeMessage, match="Message-ID"):
        composed(Message(to="bob@example.org", text="x"), message_id=message_id)


@pytest.mark.parametrize(
    "data, found",
    [
        (b"a\x00b\r\n", "NUL"),
        (b"a\rb\r\n", "alone"),
        (b"a\nb\r\n", "alone"),
        (b"a\r\r\n", "alone"),
        (b"a\n\r\n", "alone"),
        (b"a" * 999 + b"\r\n", "998"),
        (b"a" * 900 + b"\r\n" + b"b" * 999 + b"\r\n" + b"c" * 900 + b"\r\n", "998"),
        (b"\xc3\xa9\r\n", "127"),
    ],
)
def test_gate_on_lines(data: bytes, found: str) -> None:
    """The gate names what it found."""
    with pytest.raises(UnsafeMessage, match=found):
        check_wire(data)


@pytest.mark.parametrize("length", [0, 1, 997, 998])
def test_gate_lets_the_longest_line_pass(length: int) -> None:
    """998 octets are allowed, wherever the line stands."""
    line = b"a" * length + b"\r\n"
    check_wire(line)
    check_wire(b"b" * 998 + b"\r\n" + line + b"c" * 500 + b"\r\n" + line)


@pytest.mark.parametrize(
    "head",
    [
        b"A: 1\r\nB: 2",
        b"A: 1\r\n\r\nB: 2\r\n",
        b"A: 1\r\n \r\nB: 2\r\n",
        b"A: 1\r\nB: 2\r\nC: 3\r\n",
        b"B: 2\r\nA: 1\r\n",
        b"A: 1\r\nB 2\r\n",
        b"A: 1\r\nx\r\nB: 2\r\n",
        b"A : 1\r\nB: 2\r\n",
        b" A: 1\r\nB: 2\r\n",
        b"AB: 1\r\n",
    ],
)
def test_gate_on_fields(head: bytes) -> None:
    """A header block that does not hold exactly what was set is stopped."""
    with pytest.raises(UnsafeMessage):
        check_header(head, ["A", "B"])


def test_gate_knows_folded_fields() -> None:
    """A continuation line is no field, even where it looks like one."""
    check_header(b"A: 1\r\n Bcc: x\r\nB: 2\r\n", ["A", "B"])


def test_attached_message_cannot_be_descended_into() -> None:
    """An attached message would be read as part of ours; it is refused, and as octets it is base64."""
    inner = b"Bcc: evil@evil.example\r\n\r\nx\r\n.\r\nMAIL FROM:<evil@evil.example>\r\n"
    with pytest.raises(ValidationError, match="message/rfc822"):
        Attachment(filename="a.eml", content=inner, content_type="message/rfc822")
    attachment = Attachment(filename="a.eml", content=inner, content_type="application/octet-stream")
    data = wire_of(Message(to="bob@example.org", text="x", attachments=[attachment]))
    assert b"MAIL FROM" not in data
    assert wire.read(data).parts[1].content == inner


@pytest.mark.parametrize(
    "given, kept",
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\evil.exe", "evil.exe"),
        ("C:\\x\\y.txt", "y.txt"),
        ("=?utf-8?q?a?=.pdf", "=?utf-8?q?a?=.pdf"),
        ('a";b="c.exe', 'a";b="c.exe'),
    ],
)
def test_file_name_is_only_a_name(given: str, kept: str) -> None:
    """Of a path the last part is kept, and no character of it ends the parameter."""
    attachment = Attachment(filename=given, content=b"x")
    assert attachment.filename == kept
    part = wire.read(wire_of(Message(to="bob@example.org", text="x", attachments=[attachment]))).parts[1]
    assert part.get("Content-Disposition").count("filename") == 1
    assert "evil" not in part.get("Content-Disposition") or kept == "evil.exe"
