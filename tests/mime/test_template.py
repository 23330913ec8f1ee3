"""A compiled message gives, for every copy, the bytes that composing it at once gives."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genie_connect.errors import UnsafeMessage, ValidationError
from genie_connect.mime import Composed, compile_message, compose
from genie_connect.mime.template import STREAMED_FROM_BYTES
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message, string_map
from tests.mime import wire
from tests.mime.injection_cases import CONTROLS, ENCODED_CONTROLS, PLAIN, REORDERING
from tests.mime.making import NOON, batch_of
from tests.mime.test_round_trip import BODIES, LINES, addresses, attachments

slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)

_LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
VALUES = st.one_of(
    st.sampled_from(
        ["Ada", "", " ", "x" * 80, "Zoë", "<b>&\"'", "{{ first }}", "=", "é" * 40, ".", "a" * 998, "From "]
    ),
    st.text(st.one_of(_LETTERS, st.sampled_from(" =.éb<&%{}")), max_size=60),
)
FIELDS = st.sampled_from(["{{ first }}", "{{first}}", "{{ last | you all }}", "{{ last|é }}", "{{{{", "{{ no | }}"])
WITH_FIELDS = st.lists(
    st.one_of(BODIES, FIELDS, st.sampled_from(["\n", "\r\n", "\r", " ", "%", "%s", "="])), max_size=8
)
LINE_WITH_FIELDS = st.lists(st.one_of(LINES, FIELDS, st.just("%d")), max_size=4)


def merge_of(first: str, last: str | None) -> FrozenMap[str]:
    """Merge data, plain where the model refuses it."""
    try:
        return string_map({"first": first} | ({} if last is None else {"last": last}))
    except ValidationError:
        return string_map({"first": "Ada"})


def deliveries(recipients: Sequence[Address], **given_values: Any) -> list[Delivery]:
    """A copy for each of them."""
    return [
        Delivery(message_id=f"<{number}.abc@example.com>", recipients=(), to=(recipient,), **given_values)
        for number, recipient in enumerate(recipients)
    ]


def _outcome(make: Any) -> Any:
    try:
        result = make()
    except ValidationError as error:
        return sorted(str(problem) for problem in error.problems)
    except UnsafeMessage as error:
        return str(error)
    if not isinstance(result, Composed):
        return result
    return result.as_bytes(), result.head, result.size_bytes, result.needs_8bit, result.needs_smtputf8


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Messages of all shapes, with fields in all places."""
    text = draw(st.none() | WITH_FIELDS.map("".join))
    html = draw(st.none() | WITH_FIELDS.map("".join))
    files = draw(st.lists(attachments(st.none()), max_size=2))
    if html is not None:
        images = draw(st.lists(attachments(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)), max_size=2))
        files += {image.content_id: image for image in images}.values()
    if text is None and html is None and not files:
        text = ""
    amp = None if text is None and html is None else draw(st.none() | WITH_FIELDS.map("".join))
    given_values: dict[str, Any] = {"text": text, "amp": amp, "html": html, "attachments": files}
    try:
        return Message(
            **given_values,
            reply_to=draw(st.lists(addresses(), max_size=1)),
            subject="".join(draw(LINE_WITH_FIELDS)),
            headers=draw(own_headers("".join(draw(LINE_WITH_FIELDS)))),
        )
    except ValidationError:
        return Message(subject="For {{ first }}", **{**given_values, "html": html and html.replace("cid:", "")})


def own_headers(free: str) -> st.SearchStrategy[dict[str, str]]:
    """Own header fields, free and structured."""
    fixed: dict[str, st.SearchStrategy[str]] = {
        "X-Free": st.just(free or "x"),
        "List-Unsubscribe": st.sampled_from(["<https://example.com/u>", "<https://example.com/{{ token | x }}>"]),
        "References": st.just(" ".join(f"<{number}@example.com>" for number in range(20))),
    }
    return st.fixed_dictionaries({}, optional=fixed)


def batch_for(message: Message, merge: Mapping[str, str] | None, **given_values: Any) -> Batch:
    """A batch of one copy, for Bob."""
    bob = Address(local="bob", domain="example.org")
    values = None if merge is None else FrozenMap(merge)
    return attrs.evolve(batch_of(message), deliveries=tuple(deliveries([bob], merge=values, **given_values)))


def spliced(
    message: Message, merge: Mapping[str, str] | None, *, eight_bit: bool = False, **given_values: Any
) -> bytes:
    """A copy for Bob, after making sure that it is the same as one composed at once."""
    batch = batch_for(message, merge, **given_values)
    result = compile_message(batch).compose(batch.deliveries[0], date=NOON, eight_bit=eight_bit).as_bytes()
    assert result == compose(batch, batch.deliveries[0], date=NOON, eight_bit=eight_bit).as_bytes()
    return result


@slow
@given(
    message=messages(),
    recipients=st.lists(addresses(), min_size=1, max_size=3),
    first=VALUES,
    last=st.none() | VALUES,
    merged=st.booleans(),
    headers=own_headers("x é"),
    eight_bit=st.booleans(),
)
def test_the_same_bytes(
    message: Message,
    recipients: list[Address],
    first: str,
    last: str | None,
    merged: bool,
    headers: Mapping[str, str],
    eight_bit: bool,
) -> None:
    """Whatever the message, the values and the recipient's own fields are: same bytes, same flags, same errors."""
    merge = merge_of(first, last) if merged else None
    copies = deliveries(recipients, merge=merge, headers=FrozenMap(headers), cc=recipients[:1])
    batch = attrs.evolve(batch_of(message), deliveries=tuple(copies))
    compiled = _outcome(lambda: compile_message(batch))
    if isinstance(compiled, list):
        assert _outcome(lambda: compose(batch, copies[0], date=NOON)) == compiled
        return
    for delivery in copies:
        at_once = _outcome(lambda delivery=delivery: compose(batch, delivery, date=NOON, eight_bit=eight_bit))
        spliced = _outcome(lambda delivery=delivery: compiled.compose(delivery, date=NOON, eight_bit=eight_bit))
        assert spliced == at_once
        if isinstance(spliced, tuple):
            assert len(spliced[0]) == spliced[2]
            wire.read(spliced[0])


@pytest.mark.parametrize(
    "text, value, eight_bit, encoding",
    [
        ("{{ v }}\n", "plain", False, "7bit"),
        ("{{ v }}\n", "Zoë, with plenty of plain text around it", False, "quoted-printable"),
        ("{{ v }}\n", "Zoë", True, "8bit"),
        ("{{ v }}\n", "Привет", False, "base64"),
        ("{{ v }}", "x" * 998, False, "7bit"),
        ("{{ v }}.", "x" * 998, False, "quoted-printable"),
        ("é {{ v }}.", "x" * 998, True, "quoted-printable"),
        ("é and plain text {{ v }}\n" * 3, "=" * 90, False, "base64"),
        ("é and plain text\n" * 9 + "{{ v }}\n", "x" * 200, False, "quoted-printable"),
        ("x" * 999 + "\n{{ v }}", "y", True, "quoted-printable"),
    ],
)
def test_encoding_is_what_this_copy_needs(text: str, value: str, eight_bit: bool, encoding: str) -> None:
    """One recipient's value may need another encoding than the next one's, and gets it."""
    strict = wire.read(spliced(Message(text=text), {"v": value}, eight_bit=eight_bit))
    assert strict.get("Content-Transfer-Encoding") == encoding
    assert strict.content.decode().replace("\r\n", "\n").rstrip("\n") == text.replace("{{ v }}", value).rstrip("\n")


def test_copies_of_one_compiled_message_do_not_mix() -> None:
    """Any order of values, encodings, own fields and 8-bit abilities; each copy is what it would be alone."""
    message = Message(subject="{{ v }}", text="é {{ v }}\n", html="<p>{{ v }}</p>", headers={"X-V": "{{ v }}"})
    rounds = [("Ada", True), ("Привет " * 9, False), ("<&>", False), ("é", True), ("x" * 990, True), ("Ada", True)]
    bob = Address(local="bob", domain="example.org")
    copies = [
        delivery
        for index, (value, _) in enumerate(rounds)
        for delivery in deliveries(
            [bob] * 2,
            merge=FrozenMap({"v": value}),
            headers=FrozenMap({f"X-{index % 3}": value} if index % 2 else {}),
        )
    ]
    batch = attrs.evolve(batch_of(message), deliveries=tuple(copies))
    compiled = compile_message(batch)
    for delivery, (_, eight_bit) in zip(copies, [each for each in rounds for _ in range(2)], strict=True):
        expected = compose(batch, delivery, date=NOON, eight_bit=eight_bit).as_bytes()
        assert compiled.compose(delivery, date=NOON, eight_bit=eight_bit).as_bytes() == expected


def test_the_date_may_change() -> None:
    """A later attempt of a batch has a date of its own."""
    batch = batch_for(Message(text="x"), None)
    compiled = compile_message(batch)
    later = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
    for when in (NOON, later, NOON):
        assert compiled.compose(batch.deliveries[0], date=when).as_bytes() == (
            compose(batch, batch.deliveries[0], date=when).as_bytes()
        )


def test_subject_may_come_out_empty() -> None:
    """Where nothing is left of a subject there is no Subject field, in this copy only."""
    message = Message(subject="{{ v | }}", text="x")
    batch = attrs.evolve(
        batch_of(message),
        deliveries=tuple(
            deliveries([Address(local="b", domain="example.org")], merge=FrozenMap({"v": value}))[0]
            for value in ("a", "", "b", "")
        ),
    )
    compiled = compile_message(batch)
    present = ["Subject" in wire.read(compiled.compose(each, date=NOON).as_bytes()).names for each in batch.deliveries]
    assert present == [True, False, True, False]


def test_token_that_stands_in_a_value_is_not_used() -> None:
    """Neither a value nor the text can end a part, even by guessing the delimiter."""
    plain = Message(text="{{ v }}", html="<p>")
    token = wire.read(spliced(plain, {"v": "x"})).get("Content-Type").partition("=_a_")[2][:-1]
    for message, value in ((plain, f"--=_a_{token}--"), (Message(text=f"--=_a_{token}\n{{{{ v }}}}", html="<p>"), "x")):
        strict = wire.read(spliced(message, {"v": value}))
        assert len(strict.parts) == 2
        assert token not in strict.get("Content-Type")


@pytest.mark.parametrize("eight_bit", [False, True], ids=["7bit", "8bit"])
def test_attachments_are_encoded_once_and_shared(eight_bit: bool) -> None:
    """All copies hold the same bytes of a file, and so does a second attachment of the same content."""
    content = bytes(range(256)) * 400
    files = [Attachment(filename=name, content=bytes(content)) for name in ("a.bin", "b.bin")]
    logo = Attachment(filename="logo.png", content=b"png", content_id="logo")
    message = Message(text="{{ v }}", html='<img src="cid:logo">', attachments=[*files, logo])
    bob = Address(local="bob", domain="example.org")
    batch = attrs.evolve(batch_of(message), deliveries=tuple(deliveries([bob] * 3, merge=FrozenMap({"v": "é"}))))
    compiled = compile_message(batch)
    results = [compiled.compose(each, date=NOON, eight_bit=eight_bit) for each in batch.deliveries]
    shared = [[id(chunk) for chunk in result.chunks() if len(chunk) > 100_000] for result in results]
    assert len(shared[0]) == 2
    assert len({identity for each in shared for identity in each}) == 1
    for result, delivery in zip(results, batch.deliveries, strict=True):
        assert result.as_bytes() == compose(batch, delivery, date=NOON, eight_bit=eight_bit).as_bytes()
        assert result.in_memory
        assert all(chunk.endswith(b"\r\n") for chunk in result.chunks())


@pytest.mark.parametrize("size", [0, 1, 57, 1000, STREAMED_FROM_BYTES - 1, STREAMED_FROM_BYTES])
def test_file_on_disk(tmp_path: Path, size: int) -> None:
    """A small file is read when the message is compiled, a big one each time it leaves; the bytes are the same."""
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(size))
    batch = batch_for(Message(text="x", attachments=[Attachment.from_path(path)]), None)
    result = compile_message(batch).compose(batch.deliveries[0], date=NOON)
    assert result.in_memory is (size < STREAMED_FROM_BYTES)
    data = result.as_bytes()
    assert data == compose(batch, batch.deliveries[0], date=NOON).as_bytes()
    assert len(data) == result.size_bytes


def test_file_that_is_gone_is_said_when_compiling(tmp_path: Path) -> None:
    """As soon as possible: nothing has left yet."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    message = Message(text="x", attachments=[Attachment.from_path(path)])
    path.unlink()
    with pytest.raises(FileNotFoundError):
        compile_message(batch_for(message, None))


def test_delivery_without_merge_data_is_no_template() -> None:
    """In one batch, text stands as it is in the one copy and is filled in for the other."""
    message = Message(subject="{{ v }}", text="{{ v }} {{{{ {{oops")
    assert b"{{ v }} {{{{ {{oops" in spliced(message, None)
    with pytest.raises(ValidationError, match="line 1, column 14"):
        compile_message(batch_for(message, {}))


def test_own_field_of_the_recipient_needs_no_merge_data() -> None:
    """A header field of the message that the recipient replaces is not filled in."""
    message = Message(text="x", headers={"List-Unsubscribe": "<https://example.com/{{ token }}>", "X-Kept": "1"})
    own = FrozenMap({"list-unsubscribe": "<https://example.com/own>"})
    strict = wire.read(spliced(message, {}, headers=own))
    assert strict.get("list-unsubscribe") == "<https://example.com/own>"
    assert strict.get("X-Kept") == "1"
    assert template_of(message).problems({}, own) == ()
    assert [problem.path for problem in template_of(message).problems({})] == ["merge['token']"]


_HOSTILE = {**CONTROLS, **ENCODED_CONTROLS, **PLAIN, **REORDERING}
_PLACES: dict[str, dict[str, Any]] = {
    "subject": {"subject": "a {{ v }} b"},
    "whole subject": {"subject": "{{ v }}"},
    "free header": {"headers": {"X-Attack": "a {{ v }}"}},
    "list-unsubscribe": {"headers": {"List-Unsubscribe": "<https://example.com/{{ v }}>"}},
    "references": {"headers": {"References": "<{{ v }}@example.com>"}},
    "text": {"text": "a\n{{ v }}\nb\n"},
    "long line": {"text": "é" * 70 + "{{ v }}" + "=" * 70},
    "html": {"html": '<a title="{{ v }}">{{ v }}</a>\n', "text": "Text\n"},
    "amp": {"amp": '<a title="{{ v }}">{{ v }}</a>\n', "text": "Text\n"},
}


@pytest.mark.parametrize("eight_bit", [False, True], ids=["7bit", "8bit"])
@pytest.mark.parametrize("place", _PLACES)
@pytest.mark.parametrize("attack", _HOSTILE)
def test_hostile_value_gets_nowhere(place: str, attack: str, eight_bit: bool) -> None:
    """An attack in any place, past the model, is refused or stands for nothing but itself: no field, part or tag."""
    value = _HOSTILE[attack]
    message = Message(**{"text": "Text\n", **_PLACES[place]})
    batch = batch_for(message, {"v": value})
    try:
        data = spliced(message, {"v": value}, eight_bit=eight_bit)
    except (ValidationError, UnsafeMessage):
        with pytest.raises((ValidationError, UnsafeMessage)):
            compose(batch, batch.deliveries[0], date=NOON, eight_bit=eight_bit)
        return
    assert attack not in CONTROLS
    strict = wire.read(data)
    names = [name for name in strict.names if not name.startswith("Content-")]
    shown = ["Subject"] if message.subject else []
    assert names == ["From", "To", *shown, "Date", "Message-ID", *message.headers, "MIME-Version"]
    assert wire.mailboxes(strict.get("To")) == ["bob@example.org"]
    if message.subject:
        assert wire.decoded(strict.get("Subject")) == message.subject.replace("{{ v }}", value)
    leaves = [part for part in strict.walk() if not part.parts]
    assert len(leaves) == 1 + (message.html is not None) + (message.amp is not None)
    assert leaves[0].content.decode().replace("\r\n", "\n").rstrip("\n") == (
        (message.text or "").replace("{{ v }}", value).rstrip("\n")
    )
    if message.html is not None or message.amp is not None:
        markup = leaves[1].content.decode()
        assert (markup.count("<"), markup.count(">"), markup.count('"')) == (2, 2, 2)
    python = email.message_from_bytes(data, policy=email.policy.default)
    assert [part.defects for part in python.walk() if part.defects] == []
    assert python["Bcc"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A: b\r\nBcc": "evil@evil.example"},
        {"X-A": "b\r\nBcc: evil@evil.example"},
        {"X-A": "b\nBcc: evil@evil.example"},
        {"X-A": "b\r\n\r\nbody"},
        {"X-A": "b\x00"},
        {"Bcc": "evil@evil.example"},
        {"To": "evil@evil.example"},
        {"Content-Type": "text/html"},
        {"X A": "b"},
        {"": "b"},
        {"References": "é"},
    ],
)
def test_gate_stops_what_went_past_the_model(headers: dict[str, str]) -> None:
    """On the first copy with such a field and, where only the value is bad, on a later one as well."""
    (name,) = headers
    good, bad = batch_for(Message(text="x"), None, headers=FrozenMap({name: "good"})), FrozenMap(headers)
    compiled = compile_message(good)
    if name in ("X-A", "References"):
        compiled.compose(good.deliveries[0], date=NOON)
    with pytest.raises(UnsafeMessage):
        compiled.compose(attrs.evolve(good.deliveries[0], headers=bad), date=NOON)


@pytest.mark.parametrize("message_id", ["", "a@b", "<a@b>\r\nBcc: e@evil.example", "<a b@c>", "<a@b>\n", "<é@b>"])
def test_gate_stops_a_message_id_that_is_none(message_id: str) -> None:
    """As it does for a message composed at once."""
    batch = batch_for(Message(text="x"), None)
    compiled = compile_message(batch)
    compiled.compose(batch.deliveries[0], date=NOON)
    with pytest.raises(UnsafeMessage, match="Message-ID"):
        compiled.compose(attrs.evolve(batch.deliveries[0], message_id=message_id), date=NOON)
