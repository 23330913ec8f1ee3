"""The messages that every provider is given: each feature alone, several together, and what is awkward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Recipient
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.features import LIMITS
from genie_connect.model.message import Message, Purpose
from genie_connect.model.provider_template import ProviderTemplate

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@attrs.frozen
class Case:
    """A message, to those that it names or to each of ``recipients`` by itself."""

    name: str
    message: Message
    recipients: tuple[Recipient, ...] = ()


def _case(name: str, recipients: Sequence[Recipient] = (), **fields: Any) -> Case:
    to = {} if recipients else {"to": ["ada@example.com"]}
    text = {} if "template" in fields else {"text": "Hello"}
    return Case(name, Message(**{**to, "subject": "Hello", **text, **fields}), tuple(recipients))


def _each(*merges: dict[str, str], **more: Any) -> list[Recipient]:
    return [Recipient(address=f"r{number}@example.com", merge=merge, **more) for number, merge in enumerate(merges)]


_LOGO = Attachment(filename="logo.png", content=PNG, content_id="logo")
_PDF = Attachment(filename="terms.pdf", content=b"%PDF-1.7\n")

CASES = (
    _case("text"),
    _case("html", text=None, html="<p>Hello</p>"),
    _case("text and html", html="<p>Hello</p>"),
    _case("name of the recipient", to=["Ada Lovelace <ada@example.com>"]),
    _case("name with a comma and quotes", to=['"Lovelace, Ada \\"the first\\"" <ada@example.com>']),
    _case("name in another script", to=["Ада Лавлейс <ada@example.com>"], from_="Магазин <shop@example.com>"),
    _case("international domain", to=["ada@bücher.example"]),
    _case("international mailbox", to=["jürgen@example.com"]),
    _case("two in to", to=["ada@example.com", "bob@example.com"]),
    _case("cc", cc=["Bob <bob@example.com>"]),
    _case("bcc", bcc=["cy@example.com"]),
    _case("cc and bcc", cc=["bob@example.com"], bcc=["cy@example.com", "dee@example.com"]),
    _case("the same in to and cc", cc=["ADA@example.com", "bob@example.com"]),
    _case("reply-to", reply_to=["help@example.com"]),
    _case("two reply-to", reply_to=["Help <help@example.com>", "desk@example.com"]),
    _case("envelope sender", envelope_from="bounce@example.com"),
    _case("header", headers={"X-Campaign": "spring"}),
    _case("list headers", headers={"List-Unsubscribe": "<https://example.com/u>", "X-Entity-Ref-ID": "7"}),
    _case("header in another script", headers={"X-Town": "Köln"}),
    _case("tag", tags=["receipt"]),
    _case("three tags", tags=["receipt", "eu", "a-b_c"]),
    _case("tag with blanks", tags=["two words"]),
    _case("metadata", metadata={"order": "7", "tenant": "acme"}),
    _case("metadata in another script", metadata={"town": "Köln"}),
    _case("attachment", attachments=[_PDF]),
    _case("attachment alone", text=None, attachments=[_PDF]),
    _case("empty attachment", attachments=[Attachment(filename="empty.txt", content=b"")]),
    _case("attachment in another script", attachments=[Attachment(filename="Übersicht.txt", content=b"x")]),
    _case("inline image", text=None, html='<img src="cid:logo">', attachments=[_LOGO]),
    _case("inline image and file", html='<img src="cid:logo">', attachments=[_LOGO, _PDF]),
    _case("emoji and long lines", subject="\U0001f600 " + "ü" * 90, text="\U0001f680" * 2000),
    _case("braces that are text", text="{{ name }} {% if %} %recipient.x% [[var:x]] -x- $x ${x}", subject="{{x}}"),
    _case("no subject", subject=""),
    _case("empty text", text=""),
    _case("lines of dots and CRLF", text=".\r\n..\r\n\r\nend"),
    _case("opens tracked", track_opens=True, html="<p>Hello</p>"),
    _case("opens not tracked", track_opens=False, html="<p>Hello</p>"),
    _case("clicks tracked", track_clicks=True, html="<p>Hello</p>"),
    _case("clicks not tracked", track_clicks=False, html="<p>Hello</p>"),
    _case("scheduled", send_at=SOON),
    _case("amp", html="<p>Hello</p>", amp="<!doctype html><html ⚡4email></html>"),
    _case("template", template=ProviderTemplate(id=1234, data={"name": "Ada", "n": 3})),
    _case("template by name", template=ProviderTemplate(id="welcome-mail"), subject=""),
    _case("template by UUID", template=ProviderTemplate(id="0b8f2f6e-0a4b-4d1c-9a55-0a1b2c3d4e5f"), subject=""),
    _case("marketing", purpose=Purpose.MARKETING),
    _case("each their own", _each({}, {}, {})),
    _case("one of a broadcast", _each({"name": "Ada"}), text="Dear {{ name }}"),
    _case(
        "merge",
        _each({"name": "Ada & Co"}, {"name": "<Bob>"}, {}),
        subject="For {{ name | you }}",
        text="Dear {{ name | friend }}",
        html="<p>{{ name | R&D }}</p>",
        headers={"X-Name": "{{ name | none }}"},
    ),
    _case("template for each", _each({"name": "Ada"}, {"name": "Bob"}), template=ProviderTemplate(id=7, data={"n": 1})),
    _case("headers of each", _each({}, {}, headers={"X-Own": "2"}), headers={"X-Own": "1", "X-All": "3"}),
    _case("metadata of each", _each({}, {}, metadata={"row": "2"}), metadata={"row": "1", "all": "3"}),
    _case("file for each", _each({}, {}), attachments=[_PDF]),
    _case(
        "nearly everything",
        to=["Ada <ada@example.com>"],
        cc=["bob@example.com"],
        bcc=["cy@example.com"],
        reply_to=["help@example.com"],
        html="<p>Hello</p>",
        attachments=[_PDF],
        headers={"X-Campaign": "spring"},
        tags=["receipt"],
    ),
    _case(
        "everything",
        to=["Ada <ada@example.com>"],
        cc=["bob@example.com"],
        bcc=["cy@example.com"],
        reply_to=["help@example.com"],
        html='<img src="cid:logo">',
        attachments=[_LOGO, _PDF],
        headers={"X-Campaign": "spring"},
        tags=["receipt"],
        metadata={"order": "7"},
    ),
)

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _names(count: int) -> list[str]:
    return [f"{_LETTERS[index % 26]}{index}" for index in range(count)]


_AT_LIMIT = {
    ("send.transactional", "max_subject_characters"): lambda n: {"subject": "s" * n},
    ("send.transactional", "max_html_bytes"): lambda n: {"html": "h" * n},
    ("send.transactional", "max_text_bytes"): lambda n: {"text": "t" * n},
    ("send.attachments", "max_files"): lambda n: {
        "attachments": [Attachment(filename=f"{name}.txt", content=b"x") for name in _names(n)]
    },
    ("send.cc_bcc", "max_cc"): lambda n: {"cc": [f"{name}@example.com" for name in _names(n)]},
    ("send.cc_bcc", "max_bcc"): lambda n: {"bcc": [f"{name}@example.com" for name in _names(n)]},
    ("send.reply_to", "max_addresses"): lambda n: {"reply_to": [f"{name}@example.com" for name in _names(n)]},
    ("send.headers", "max_fields"): lambda n: {"headers": {f"X-{name}": "1" for name in _names(n)}},
    ("send.tags", "max_tags"): lambda n: {"tags": _names(n)},
    ("send.tags", "max_characters"): lambda n: {"tags": ["t" * n]},
    ("send.metadata", "max_entries"): lambda n: {"metadata": dict.fromkeys(_names(n), "1")},
    ("send.metadata", "max_key_characters"): lambda n: {"metadata": {"k" * n: "1"}},
    ("send.metadata", "max_value_characters"): lambda n: {"metadata": {"k": "v" * n}},
}
_OURS = {
    "max_characters": 128,
    "max_entries": 50,
    "max_tags": 50,
    "max_key_characters": 64,
    "max_value_characters": 998,
}
"""What the core's own limits leave of a provider's."""


def limit_cases(table: CapabilityTable) -> Iterator[tuple[Case, bool]]:
    """For each limit of a table a message below it, one at it and one above it, and whether the table allows it."""
    assert set(_AT_LIMIT) == set(LIMITS)
    for (name, limit), made in _AT_LIMIT.items():
        most = table.limit(name, limit)
        if most is None:
            continue
        for number in (most - 1, most, most + 1):
            if 0 < number <= _OURS.get(limit, number):
                yield _case(f"{name} {limit} {number}", **made(number)), number <= most
