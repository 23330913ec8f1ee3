"""Merge fields: text of a broadcast that is each recipient's own.

``{{ name }}`` stands for the recipient's value; ``{{ name | default }}`` for the default where there is no value, or an
empty one. ``{{{{`` stands for two braces. A name is a letter, then letters, digits, ``_`` ``.`` or ``-``; a default is
plain text on one line. Blanks at the ends count for nothing. There are fields in the subject, the text, the HTML and
the values of own header fields; in HTML, values and defaults are escaped.

The message of a broadcast is a template for every recipient. The message of a single send is none: what is written
there may speak about braces. A delivery says which it is: ``merge`` is ``None`` where the text stands as it is.
"""

from __future__ import annotations

import html as html_module
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import attrs

from genie_connect.errors import Problem, ValidationError
from genie_connect.model import text as characters
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.headers import STRUCTURED, value_problem
from genie_connect.model.message import Message

_FIX = "write {{ name }} or {{ name | default }}, or {{{{ where two braces are meant"
_BLANK = "[ \t\r\n\u00a0]*"
_OPEN = re.compile(r"\{\{(\{\{)?")
# The default is taken up to the first }} and looked at afterwards; blanks at its end go with strip.
_INSIDE = re.compile(
    rf"{_BLANK}(?P<name>[A-Za-z][A-Za-z0-9_.-]{{0,63}}){_BLANK}(?:\|(?P<default>(?:(?!\}}\}})[^\r\n])*))?\}}\}}"
)
_MARKUP = re.compile("[&<>\"']")
# What may stand inside a URI, a Message-ID or a token without ending it (RFC 5322 section 3.2.3, RFC 3986 section 2).
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@:-]*\Z")
_SHOWN = 30


class Field(NamedTuple):
    """A place in a text where a recipient's value is put."""

    name: str
    default: str | None = None


Segment: TypeAlias = str | Field
"""Text that stands as it is, or a field."""


def parse(text: str) -> tuple[Segment, ...]:
    """The text cut at its fields. Raises ``ValidationError`` with line and column of each that is none."""
    segments: list[Segment] = []
    problems: list[Problem] = []
    literal: list[str] = []
    position = 0
    while found := _OPEN.search(text, position):
        literal.append(text[position : found.start()])
        if found.group(1):
            literal.append("{{")
            position = found.end()
            continue
        inside = _INSIDE.match(text, found.end())
        default = inside["default"] if inside else None
        if inside is None or (default is not None and "{{" in default):
            problems.append(_malformed(text, found.start()))
            position = found.end()
            continue
        if any(literal):
            segments.append("".join(literal))
        literal = []
        segments.append(Field(inside["name"], None if default is None else default.strip(" \t\u00a0")))
        position = inside.end()
    literal.append(text[position:])
    if problems:
        raise ValidationError(problems)
    return (*segments, "".join(literal)) if any(literal) else tuple(segments)


def _malformed(text: str, start: int) -> Problem:
    before = text[:start].replace("\r\n", "\n").replace("\r", "\n")
    line, column = before.count("\n") + 1, start - max(text.rfind("\n", 0, start), text.rfind("\r", 0, start))
    shown = text[start : start + _SHOWN].splitlines()[0]
    return Problem("", f"line {line}, column {column}: {shown!r} is not the beginning of a merge field", _FIX)


def value_of(field: Field, merge: Mapping[str, str]) -> str:
    """What stands in the field's place, before any escaping. Raises ``ValidationError`` where there is nothing."""
    try:
        value = merge[field.name]
    except KeyError:
        if field.default is None:
            raise ValidationError([_missing(field.name)]) from None
        return field.default
    if field.default and not value.strip():
        return field.default
    if not value.isprintable():
        # Most of what is not printable is harmless; but no value may end a line, even one that no model has seen.
        problem = characters.line_problem(value, limit=len(value))
        if problem:
            raise ValidationError([problem.under(f"merge[{field.name!r}]")])
    return value


def _missing(name: str) -> Problem:
    fix = f"give every recipient a value, or the field a default: {{{{ {name} | default }}}}"
    return Problem(f"merge[{name!r}]", "has no value and the field has no default", fix)


def escaped(value: str) -> str:
    """The value as text in HTML, also between the quotes of an attribute."""
    return html_module.escape(value) if _MARKUP.search(value) else value


def rendered(segments: Iterable[Segment], merge: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """The text with its fields filled in. Raises ``ValidationError``."""
    return "".join([one if isinstance(one, str) else escape(value_of(one, merge)) for one in segments])


@attrs.frozen(kw_only=True)
class MergeFields:
    """The names of the fields of a message: those that every recipient must have, and those with a default."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Texts:
    """What a message says, as one copy has it."""

    subject: str
    text: str | None
    html: str | None
    headers: FrozenMap[str]
    amp: str | None = None


def plain_texts(message: Message) -> Texts:
    """What the message says, every brace as it stands."""
    return Texts(
        subject=message.subject, text=message.text, html=message.html, headers=message.headers, amp=message.amp
    )


@attrs.frozen(kw_only=True)
class Template:
    """The texts of a message, parsed. ``active`` says whether filling them in changes anything at all.

    ``names`` holds each name once, in the order of the message; one that lacks a default anywhere is required.
    """

    subject: tuple[Segment, ...]
    text: tuple[Segment, ...] | None
    html: tuple[Segment, ...] | None
    headers: FrozenMap[tuple[Segment, ...]]
    active: bool
    amp: tuple[Segment, ...] | None = None
    names: MergeFields = attrs.field(init=False)
    _in_texts: tuple[str, ...] = attrs.field(init=False, repr=False)
    _in_headers: FrozenMap[tuple[str, ...]] = attrs.field(init=False, repr=False)
    _subject_room: int = attrs.field(init=False, repr=False)
    _in_subject: tuple[str, ...] = attrs.field(init=False, repr=False)

    @names.default
    def _names(self) -> MergeFields:
        texts = (self.subject, self.text or (), self.html or (), self.amp or (), *self.headers.values())
        found = [segment for segments in texts for segment in segments if isinstance(segment, Field)]
        required = _required(*texts)
        optional = dict.fromkeys(field.name for field in found if field.name not in required)
        return MergeFields(required=required, optional=tuple(optional))

    @_in_texts.default
    def _required_in_texts(self) -> tuple[str, ...]:
        return _required(self.subject, self.text or (), self.html or (), self.amp or ())

    @_in_headers.default
    def _required_in_headers(self) -> FrozenMap[tuple[str, ...]]:
        filled = {name: segments for name, segments in self.headers.items() if has_fields(segments)}
        return FrozenMap({name: _required(segments) for name, segments in filled.items()})

    @_subject_room.default
    def _characters_left_in_subject(self) -> int:
        """How many each field may take there without a look at the whole; none, where a look is needed anyway."""
        said = "".join(segment for segment in self.subject if isinstance(segment, str))
        fields = [segment for segment in self.subject if isinstance(segment, Field)]
        if "=" in said or any(field.default is not None for field in fields):
            return 0
        return (characters.MAX_LINE_CHARACTERS - len(said)) // max(1, len(fields))

    @_in_subject.default
    def _required_in_subject(self) -> tuple[str, ...]:
        return _required(self.subject)

    def texts(self, merge: Mapping[str, str], own_headers: Iterable[str] = ()) -> Texts:
        """What one copy says, without the header fields that the recipient has of their own.

        Raises ``ValidationError`` naming the field whose value does not fit its place.
        """
        replaced = {name.lower() for name in own_headers}
        return Texts(
            subject=self.subject_of(merge),
            text=None if self.text is None else rendered(self.text, merge),
            html=None if self.html is None else rendered(self.html, merge, escaped),
            headers=FrozenMap(
                {name: "" if name.lower() in replaced else self.header_of(name, merge) for name in self.headers}
            ),
            amp=None if self.amp is None else rendered(self.amp, merge, escaped),
        )

    def subject_of(self, merge: Mapping[str, str]) -> str:
        """The subject of one copy, checked like one that was given. Raises ``ValidationError``."""
        return self.checked_subject(rendered(self.subject, merge))

    def checked_subject(self, subject: str) -> str:
        """The same, filled in already."""
        problem = characters.line_problem(subject)
        if problem:
            raise ValidationError([problem.under("subject")])
        return subject

    def header_of(self, name: str, merge: Mapping[str, str]) -> str:
        """The value of a header field of one copy, checked like one that was given. Raises ``ValidationError``."""
        segments = self.headers[name]
        value = rendered(segments, merge)
        found = (value_problem(name, value), *_outgrown(name, segments, merge))
        problems = [problem.under(f"headers[{name!r}]") for problem in found if problem]
        if problems:
            raise ValidationError(problems)
        return value

    def problems(self, merge: Mapping[str, str], own_headers: Iterable[str] = ()) -> tuple[Problem, ...]:
        """What keeps a copy with this data from being made; nothing, for nearly all.

        Header fields that the recipient has of their own replace the message's, which then need no data.
        """
        if not self._in_headers and self._is_plain(merge):
            return ()
        replaced = {name.lower() for name in own_headers}
        headers = [name for name in self._in_headers if name.lower() not in replaced]
        needed = dict.fromkeys((*self._in_texts, *(need for name in headers for need in self._in_headers[name])))
        absent = tuple(_missing(name) for name in needed if name not in merge)
        if absent:
            return absent
        problems: list[Problem] = []
        if has_fields(self.subject):
            problems += _problems_of(self.subject_of, merge)
        for name in headers:
            problems += _problems_of(partial(self.header_of, name), merge)
        return tuple(problems)

    def _is_plain(self, merge: Mapping[str, str]) -> bool:
        """Whether everything is there, and no value in the subject asks for a closer look: so with nearly all."""
        for name in self._in_texts:
            if name not in merge:
                return False
        for name in self._in_subject:
            value = merge[name]
            if len(value) > self._subject_room or not value.isascii() or not value.isprintable() or "=" in value:
                return False
        return bool(self._subject_room)


def has_fields(segments: Sequence[Segment]) -> bool:
    """Whether the text is not the same for everybody."""
    return any(isinstance(segment, Field) for segment in segments)


def _required(*texts: Iterable[Segment]) -> tuple[str, ...]:
    found = (segment for segments in texts for segment in segments if isinstance(segment, Field))
    return tuple(dict.fromkeys(field.name for field in found if field.default is None))


def _outgrown(name: str, segments: Iterable[Segment], merge: Mapping[str, str]) -> Iterator[Problem]:
    """In a field with a syntax of its own a value must not end the part that it stands in: a second URI, say."""
    if name.lower() not in STRUCTURED:
        return
    for field in (segment for segment in segments if isinstance(segment, Field)):
        if not _TOKEN.match(value_of(field, merge)):
            fix = "use ASCII letters, digits and signs that a URI may hold; percent-encode the rest"
            yield Problem("", f"the value of {field.name!r} holds a character that ends its part of this field", fix)


def _problems_of(make: Callable[[Mapping[str, str]], str], merge: Mapping[str, str]) -> tuple[Problem, ...]:
    try:
        make(merge)
    except ValidationError as error:
        return error.problems
    return ()


def template_of(message: Message) -> Template:
    """The message as a template. Raises ``ValidationError`` for braces that are no field, with each one's place."""
    template = template_of_texts(plain_texts(message))
    # What a template at the provider is filled in with cannot be seen from here.
    return template if message.template is None else attrs.evolve(template, active=True)


def literal_template_of(message: Message) -> Template:
    """The message as a template without fields, every brace as it stands."""
    texts = plain_texts(message)
    return Template(
        subject=_literal(texts.subject),
        text=None if texts.text is None else _literal(_one_line_end(texts.text)),
        html=None if texts.html is None else _literal(_one_line_end(texts.html)),
        headers=FrozenMap({name: _literal(value) for name, value in texts.headers.items()}),
        active=False,
        amp=None if texts.amp is None else _literal(_one_line_end(texts.amp)),
    )


def _literal(text: str) -> tuple[Segment, ...]:
    return (text,) if text else ()


def template_of_texts(texts: Texts) -> Template:
    """The same of texts that are no message yet, or no longer."""
    problems: list[Problem] = []

    def parsed(path: str, text: str) -> tuple[Segment, ...]:
        if "{{" not in text:
            return _literal(text)
        try:
            return parse(text)
        except ValidationError as error:
            problems.extend(error.under(path))
            return ()

    every = (texts.subject, texts.text or "", texts.html or "", texts.amp or "", *texts.headers.values())
    template = Template(
        subject=parsed("subject", texts.subject),
        text=None if texts.text is None else parsed("text", _one_line_end(texts.text)),
        html=None if texts.html is None else parsed("html", _one_line_end(texts.html)),
        headers=FrozenMap({name: parsed(f"headers[{name!r}]", value) for name, value in texts.headers.items()}),
        active=any("{{" in text for text in every),
        amp=None if texts.amp is None else parsed("amp", _one_line_end(texts.amp)),
    )
    if problems:
        raise ValidationError(problems, what="message")
    return template


def _one_line_end(text: str) -> str:
    # Before parsing: a CR on one side of an empty value and a LF on its other would become one line end.
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def fields_of(message: Message) -> MergeFields:
    """The names of the merge fields of a message. Raises ``ValidationError`` for braces that are no field."""
    return template_of(message).names
