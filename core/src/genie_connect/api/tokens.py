"""Merge fields for providers that fill them in themselves: one text for all, and the values of each copy.

What providers call substitution knows neither defaults nor HTML. So each field of the message becomes a token of its
own, one for each place that escapes differently, and the value of every copy is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from genie_connect.api.job import Copy, Job
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.merge import Field, Segment, Template, Texts, escaped, template_of, value_of


@attrs.frozen(kw_only=True, eq=False)
class Tokens:
    """The texts with tokens in place of fields; ``values`` gives what stands for each token in a copy."""

    texts: Texts
    _fields: Mapping[str, tuple[Field, bool]]

    def values(self, copy: Copy) -> dict[str, str]:
        """Token names to values. Raises ``ValidationError`` for a field without a value."""
        merge = copy.merge or EMPTY
        made: dict[str, str] = {}
        for name, (field, in_html) in self._fields.items():
            value = value_of(field, merge)
            made[name] = escaped(value) if in_html else value
        return made


def tokens_of(job: Job, spelled: Callable[[str], str]) -> Tokens:
    """The job's message with a token for each field. ``spelled`` writes a token's name as the provider wants it.

    Header fields are left alone: they are for ``Copy.headers``. Raises ``ValidationError``.
    """
    message = job.message
    if not job.merging:
        return Tokens(
            texts=Texts(subject=message.subject, text=message.text, html=message.html, headers=EMPTY), fields={}
        )
    template: Template = template_of(message)
    fields: dict[str, tuple[Field, bool]] = {}
    names: dict[tuple[Field, bool], str] = {}
    stem = _stem(template, spelled)

    def written(segments: Iterable[Segment] | None, *, in_html: bool = False) -> str | None:
        if segments is None:
            return None
        return "".join(each if isinstance(each, str) else spelled(named(each, in_html)) for each in segments)

    def named(field: Field, in_html: bool) -> str:
        known = names.get((field, in_html))
        if known is None:
            known = names[field, in_html] = f"{stem}{len(names)}"
            fields[known] = (field, in_html)
        return known

    texts = Texts(
        subject=written(template.subject) or "",
        text=written(template.text),
        html=written(template.html, in_html=True),
        headers=EMPTY,
        amp=written(template.amp, in_html=True),
    )
    return Tokens(texts=texts, fields=FrozenMap(fields))


def _stem(template: Template, spelled: Callable[[str], str]) -> str:
    """What tokens begin with, so that none of them stands in the text already."""
    every = (template.subject, template.text or (), template.html or (), template.amp or ())
    said = "\n".join(each for segments in every for each in segments if isinstance(each, str))
    stem = "f"
    while spelled(stem)[: spelled(stem).index(stem) + len(stem)] in said:
        stem += "x"
    return stem
