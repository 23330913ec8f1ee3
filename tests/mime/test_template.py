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
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from genie_connect.errors import UnsafeMessage, ValidationError
from genie_connect.mime import compile_message, compose
from genie_connect.mime.body import Encoding
from genie_connect.mime.template import STREAMED_FROM_BYTES
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.message import Message, string_map
from tests.mime import wire
from tests.mime.injection_cases import CONTROLS, ENCODED_CONTROLS, PLAIN, REORDERING
from tests.mime.making import NOON, batch_of
from tests.mime.test_round_trip import BODIES, LINES, addresses, attachments

slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)

_LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
VALUES = st.one_of(
    st.sampled_from(["Ada", "", " ", "x" * 80, "Zoë", "<b>&\"'", "{{ first }}", "=", "é" * 40, ".", "a" * 998, "From "]),
    st.text(st.one_of(_LETTERS, st.sampled_from(" =.éb<&%{}")), max_size=60),
)
FIELDS = st.sampled_from(["{{ first }}", "{{first}}", "{{ last | you all }}", "{{ last|é }}", "{{{{", "{{ no | }}"])
WITH_FIELDS = st.lists(st.one_of(BODIES, FIELDS, st.sampled_from(["\n", "\r\n", "\r", " ", "%", "%s", "="])), max_size=8)
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


def both(batch: Batch, delivery: Delivery, *, eight_bit: bool) -> tuple[Any, Any]:
    """The copy as it is composed at once, and as it is spliced; or the error that each gives."""
    return tuple(
        _outcome(lambda make=make: make(delivery, date=NOON, eight_bit=eight_bit))
        for make in (lambda *a, **k: compose(batch, *a, **k), lambda *a, **k: compile_message(batch).compose(*a, **k))
    )


def _outcome(make: Any) -> Any:
    try:
        result = make()
    except ValidationError as error:
        return sorted(str(problem) for problem in error.problems)
    except UnsafeMessage as error:
        return str(error)
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
    given_values: dict[str, Any] = {"text": text, "html": html, "attachments": files}
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
    try:
        compiled = compile_message(batch)
    except ValidationError as refused:
        with pytest.raises(ValidationError) as refused_at_once:
            compose(batch, copies[0], date=NOON)
        assert refused_at_once.value.problems == refused.problems
        return
    for delivery in copies:
        at_once = _outcome(lambda delivery=delivery: compose(batch, delivery, date=NOON, eight_bit=eight_bit))
        spliced = _outcome(lambda delivery=delivery: compiled.compose(delivery, date=NOON, eight_bit=eight_bit))
        assert spliced == at_once
        if isinstance(spliced, tuple):
            assert len(spliced[0]) == spliced[2]
            wire.read(spliced[0])
