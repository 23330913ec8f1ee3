"""Bounce mail of servers that keep to no standard: whom it is about, and what was said of them.

Each form is known by a mark that its software writes. Nothing is guessed from a mail without one: a person who quotes
an error must not end a subscription.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import attrs

from genie_connect.bounces.returned import Returned

MOST: Final = 100
_ADDRESS: Final = r"[^\s<>()@:;,\"]{1,64}@[A-Za-z0-9.-]{1,253}"
_COPY: Final = re.compile(
    r"^-{2,}.{0,40}(copy of|original message|below this line|returned message|message header|unsent message).*$"
    r"|^(received|return-path|message-id): .*$",
    re.IGNORECASE | re.MULTILINE,
)
_QMAIL: Final = re.compile(rf"^<({_ADDRESS})>:\s*$", re.MULTILINE)
_EXIM: Final = re.compile(rf"^  ({_ADDRESS})\s*$", re.MULTILINE)
_ANGLED: Final = re.compile(rf"<({_ADDRESS})>")
_BARE: Final = re.compile(rf"(?<![\w.+-])({_ADDRESS})")
_CODE: Final = re.compile(r"(?:^|[\s(:#])[45]\d\d[\s-]|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])")
_SUBJECT: Final = re.compile(
    r"undeliver|delivery (status|failure|has failed|problem)|failure notice|returned mail|mail delivery failed"
    r"|could not be delivered|mail system error|nondeliverable|non remis|unzustellbar|no se puede entregar",
    re.IGNORECASE,
)
_SENDER: Final = re.compile(r"mailer-?daemon|postmaster|mail delivery (sub)?system|maildelivery", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Said:
    """Somebody, and what a server said of them."""

    recipient: str
    text: str


def is_bounce(mail: Returned) -> bool:
    """Whether a mail server wrote it about a mail that it could not deliver."""
    if "x-failed-recipients" in mail.headers:
        return True
    sender = mail.headers.get("from", "") + mail.headers.get("sender", "")
    empty = mail.headers.get("return-path", "").strip() == "<>"
    return bool(_SUBJECT.search(mail.headers.get("subject", ""))) and (empty or bool(_SENDER.search(sender)))


def said_of(mail: Returned) -> list[Said]:
    """Whom it is about, by the first form that fits; at most ``MOST``."""
    text = _without_copy(mail.text)
    for form in (_qmail, _exim, _any):
        found = form(mail, text)
        if found:
            return found[:MOST]
    return []


def _without_copy(text: str) -> str:
    found = _COPY.search(text)
    return text[: found.start()] if found else text


def _qmail(mail: Returned, text: str) -> list[Said]:
    """``<ada@example.com>:`` on a line by itself, then what was said, up to a blank line."""
    return _paragraphs(_QMAIL, text)


def _exim(mail: Returned, text: str) -> list[Said]:
    """``X-Failed-Recipients``, and the addresses set in by two blanks, each with lines that are set in further."""
    named = [each.strip() for each in mail.headers.get("x-failed-recipients", "").split(",") if each.strip()]
    if not named:
        return []
    said = {each.recipient.lower(): each for each in _paragraphs(_EXIM, text)}
    return [said.get(each.lower(), Said(recipient=each, text=_lines_with_code(text))) for each in named]


def _any(mail: Returned, text: str) -> list[Said]:
    """One address and a reply with a code: the lines around it are what was said."""
    lines = _lines_with_code(text)
    addresses = {each.lower(): each for pattern in (_ANGLED, _BARE) for each in pattern.findall(text)}
    ours = {mail.headers.get("to", "").lower(), *[each.lower() for each in _BARE.findall(mail.headers.get("from", ""))]}
    addresses = {key: each for key, each in addresses.items() if not any(key in own for own in ours)}
    if not lines or len(addresses) != 1:
        return []
    return [Said(recipient=each, text=lines) for each in addresses.values()]


def _paragraphs(pattern: re.Pattern[str], text: str) -> list[Said]:
    found = list(pattern.finditer(text))
    ends = [*[each.start() for each in found], len(text)][1:]
    return [
        Said(recipient=each[1], text=text[each.end() : end].strip().partition("\n\n")[0].strip())
        for each, end in zip(found, ends, strict=False)
    ]


def _lines_with_code(text: str) -> str:
    lines = text.splitlines()
    return " ".join([line.strip() for line in lines if _CODE.search(line)])[:1_000]


Form = Callable[[Returned, str], list[Said]]
