"""Merge fields: what is one, what is none and where it stands, and what takes its place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genie_connect.errors import ValidationError
from genie_connect.model.headers import header_map, one_click_problem
from genie_connect.model.merge import Field, fields_of, parse, plain_texts, rendered, template_of
from genie_connect.model.message import Message

_ATTACK = "x>, <https://evil.example/u"


def message(**given_values: object) -> Message:
    """A message with something to say."""
    return Message(**{"text": "Text", **given_values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text, segments",
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{{name}}", (Field("name"),)),
        ("{{ name }}", (Field("name"),)),
        ("{{\tname\n}}", (Field("name"),)),
        ("{{\u00a0name\u00a0}}", (Field("name"),)),
        ("a{{ b }}c{{ d }}", ("a", Field("b"), "c", Field("d"))),
        ("{{ First_name.2-x }}", (Field("First_name.2-x"),)),
        ("{{ name | there }}", (Field("name", "there"),)),
        ("{{name|there you are}}", (Field("name", "there you are"),)),
        ("{{ name | }}", (Field("name", ""),)),
        ("{{ name | a | b }}", (Field("name", "a | b"),)),
        ("{{ name | {curly} }}", (Field("name", "{curly}"),)),
        ("{{{{", ("{{",)),
        ("{{{{ name }}", ("{{ name }}",)),
        ("{{{{{{ name }}}}", ("{{", Field("name"), "}}")),
        ("{ name }, }} and {", ("{ name }, }} and {",)),
        ("a { b {{ c }} } d", ("a { b ", Field("c"), " } d")),
    ],
)
def test_grammar(text: str, segments: tuple[object, ...]) -> None:
    """A field is a name between two braces, with or without a default; four braces are two."""
    assert parse(text) == segments


@pytest.mark.parametrize(
    "text, where, shown",
    [
        ("{{ }}", "line 1, column 1", "'{{ }}'"),
        ("{{", "line 1, column 1", "'{{'"),
        ("ab {{ name", "line 1, column 4", "'{{ name'"),
        ("one\ntwo {{#if x}}", "line 2, column 5", "'{{#if x}}'"),
        ("one\r\ntwo\r\n{{ 1st }}", "line 3, column 1", "'{{ 1st }}'"),
        ("one\rtwo {{ a b }}", "line 2, column 5", "'{{ a b }}'"),
        ("{{ name | default", "line 1, column 1", "'{{ name | default'"),
        ("{{ name | two\nlines }}", "line 1, column 1", "'{{ name | two'"),
        ("{{ name | {{ other }} }}", "line 1, column 1", "'{{ name | {{ other }} }}'"),
        ("{{{ name }}}", "line 1, column 1", "'{{{ name }}}'"),
        ("{{ " + "x" * 65 + " }}", "line 1, column 1", "'{{ xxxxxx"),
        ("{{ né }}", "line 1, column 1", "'{{ né }}'"),
    ],
)
def test_what_is_no_field_is_named_with_its_place(text: str, where: str, shown: str) -> None:
    """The error says line, column, what stands there, and what to write instead."""
    with pytest.raises(ValidationError) as refused:
        parse(text)
    problem = refused.value.problems[0]
    assert problem.message.startswith(f"{where}: {shown}")
    assert "{{{{" in problem.fix


def test_every_malformed_field_is_reported() -> None:
    """All of them at once, each under the text that it stands in."""
    with pytest.raises(ValidationError) as refused:
        template_of(message(subject="{{ }}", text="{{ ok }} {{ 1 }} {{ 2 }}", html="{{", headers={"X-A": "{{ }}"}))
    assert [problem.path for problem in refused.value.problems] == ["subject", "text", "text", "html", "headers['X-A']"]


@given(st.text(st.sampled_from("{}| nam\n\r"), max_size=24))
@example("{{ a |}}}}")
def test_parsing_loses_nothing(text: str) -> None:
    """What is parsed can be written down again, and means the same; a malformed text says so and hangs nowhere."""
    try:
        segments = parse(text)
    except ValidationError:
        assert "{{" in text
        return
    written = "".join(
        segment.replace("{{", "{{{{")
        if isinstance(segment, str)
        else f"{{{{{segment.name}}}}}"
        if segment.default is None
        else f"{{{{{segment.name}|{segment.default}}}}}"
        for segment in segments
    )
    literal = [segment for segment in segments if isinstance(segment, str)]
    if not any(segment.endswith("{") for segment in literal):  # one brace beside a field would join its braces
        assert parse(written) == segments


def test_names_with_and_without_a_default() -> None:
    """A name is required where one of its fields has no default; each is listed once, in the message's order."""
    fields = fields_of(
        message(
            subject="{{ b | x }} {{ a }}",
            text="{{ c | y }} {{ b }}",
            html="{{ c | z }}",
            headers={"List-Unsubscribe": "<https://example.com/{{ token }}>"},
        )
    )
    assert fields.required == ("a", "b", "token")
    assert fields.optional == ("c",)


@pytest.mark.parametrize(
    "text, merge, expected",
    [
        ("Dear {{ name }}", {"name": "Ada"}, "Dear Ada"),
        ("Dear {{ name | friend }}", {}, "Dear friend"),
        ("Dear {{ name | friend }}", {"name": ""}, "Dear friend"),
        ("Dear {{ name | friend }}", {"name": "  "}, "Dear friend"),
        ("Dear {{ name }}", {"name": ""}, "Dear "),
        ("Dear{{ name | }}", {}, "Dear"),
        ("{{ name }}", {"name": "{{ other }}", "other": "x"}, "{{ other }}"),
        ("{{ name }}", {"name": "100 %s"}, "100 %s"),
    ],
)
def test_what_takes_the_place_of_a_field(text: str, merge: dict[str, str], expected: str) -> None:
    """The value; the default where there is no value or an empty one; and a value is never looked into again."""
    assert rendered(parse(text), merge) == expected


def test_html_is_escaped_and_text_is_not() -> None:
    """In HTML neither a value nor a default can be markup, between quotes either; the author's own markup stays."""
    body = '<a title="{{ name }}">{{ other | <i>R&D</i> }}</a>'
    texts = template_of(message(subject="{{ name }}", text="{{ name }}", html=body)).texts({"name": "<b>&\"'"})
    assert texts.html == ('<a title="&lt;b&gt;&amp;&quot;&#x27;">&lt;i&gt;R&amp;D&lt;/i&gt;</a>')
    assert texts.text == texts.subject == "<b>&\"'"


def test_no_value_and_no_default() -> None:
    """The problem names the field and both ways out."""
    template = template_of(message(subject="{{ a }}", text="{{ b }} {{ c | x }}"))
    assert [problem.path for problem in template.problems({})] == ["merge['a']", "merge['b']"]
    assert "{{ a | default }}" in template.problems({})[0].fix
    assert template.problems({"a": "", "b": "x"}) == ()
    with pytest.raises(ValidationError, match=r"merge\['a'\]"):
        template.texts({"b": "x"})


@pytest.mark.parametrize("value", ["x\r\nBcc: evil@evil.example", "x\ny", "x\x00", "x\u2028y", "x\x85y", "x\ud800"])
def test_value_that_ends_a_line_is_refused_even_if_no_model_has_seen_it(value: str) -> None:
    """In a header and in a body."""
    for template in (template_of(message(subject="{{ a }}")), template_of(message(text="{{ a }}"))):
        with pytest.raises(ValidationError, match=r"merge\['a'\]"):
            template.texts({"a": value})


@pytest.mark.parametrize(
    "given_values, merge, path",
    [
        ({"subject": "{{ a }}{{ a }}"}, {"a": "x" * 600}, "subject"),
        ({"subject": "=?utf-8?q?{{ a }}?="}, {"a": "=0A"}, "subject"),
        ({"headers": {"X-A": "{{ a }}"}}, {"a": ""}, "headers['X-A']"),
        ({"headers": {"X-A": "=?utf-8?q?{{a}}?="}}, {"a": "=0A"}, "headers['X-A']"),
        (
            {"headers": {"List-Unsubscribe": "<https://example.com/{{ a }}>"}},
            {"a": _ATTACK},
            "headers['List-Unsubscribe']",
        ),
        ({"headers": {"List-Unsubscribe": "<https://example.com/{{ a }}>"}}, {"a": "é"}, "headers['List-Unsubscribe']"),
        ({"headers": {"References": "<{{ a }}@example.com>"}}, {"a": "x y"}, "headers['References']"),
        ({"headers": {"Feedback-ID": "{{ a }}"}}, {"a": "x" * 950}, "headers['Feedback-ID']"),
    ],
)
def test_value_that_does_not_fit_its_header(given_values: dict[str, object], merge: dict[str, str], path: str) -> None:
    """What a header may hold is looked at once more when it is whole, and no value ends the part it stands in."""
    template = template_of(message(**given_values))
    assert {problem.path for problem in template.problems(merge)} == {path}


def test_a_whole_uri_may_be_a_value() -> None:
    """List-Unsubscribe can be a field and its brackets."""
    template = template_of(message(headers={"List-Unsubscribe": "<{{ link }}>"}))
    assert template.header_of("List-Unsubscribe", {"link": "https://example.com/u?t=a%20b&l=1"}) == (
        "<https://example.com/u?t=a%20b&l=1>"
    )


def test_without_fields_nothing_changes() -> None:
    """A message without braces is no template, and says the same either way."""
    plain = message(subject="S", text="a\nb", html="<p>", headers={"X-A": "b"})
    assert not template_of(plain).active
    assert template_of(plain).texts({"name": "x"}) == plain_texts(plain)


@pytest.mark.parametrize("value", ["List-Unsubscribe=One-Click", "list-unsubscribe=one-click"])
def test_one_click_value(value: str) -> None:
    """The only value that RFC 8058 knows, in any case."""
    assert header_map({"List-Unsubscribe-Post": value}) == {"List-Unsubscribe-Post": value}


def test_any_other_value_is_refused() -> None:
    """A List-Unsubscribe-Post that no reader would understand is refused where it is given."""
    with pytest.raises(ValidationError, match="RFC 8058"):
        header_map({"List-Unsubscribe-Post": "yes"})


@pytest.mark.parametrize(
    "unsubscribe, works",
    [
        (None, False),
        ("<mailto:u@example.com>", False),
        ("<http://example.com/u>", False),
        ("https://example.com/u", False),
        ("<https://example.com/u>", True),
        ("<mailto:u@example.com>, <HTTPS://example.com/u>", True),
    ],
)
def test_one_click_needs_https(unsubscribe: str | None, works: bool) -> None:
    """RFC 8058 section 3.1: an HTTPS URI in List-Unsubscribe, whatever else stands there."""
    headers = {"list-unsubscribe-post": "List-Unsubscribe=One-Click"}
    if unsubscribe is not None:
        headers["List-Unsubscribe"] = unsubscribe
    assert (one_click_problem(headers) is None) is works
