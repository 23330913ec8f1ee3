"""Header fields a message may carry beside those that its own attributes make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from genie_connect.errors import Problem, ValidationError
from genie_connect.model import text
from genie_connect.model.frozen import FrozenMap

_NAME = re.compile(r"[!-9;-~]{1,76}\Z")  # RFC 5322 section 2.2: printable ASCII without the colon

OWNED = {
    "from": "from",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "reply-to": "reply_to",
    "subject": "subject",
    "date": "",
    "message-id": "",
    "mime-version": "",
    "sender": "",
    "return-path": "envelope_from",
    "received": "",
    "dkim-signature": "",
    "arc-seal": "",
    "arc-message-signature": "",
    "arc-authentication-results": "",
    "authentication-results": "",
}
"""Header fields that are not free, each with the attribute to use instead, or nothing where there is none."""

STRUCTURED = frozenset(
    [
        "references",
        "in-reply-to",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-id",
        "list-help",
        "list-post",
        "list-subscribe",
        "list-archive",
        "list-owner",
        "feedback-id",
        "auto-submitted",
        "precedence",
    ]
)
"""Header fields with a syntax of their own: ASCII, never encoded, folded only at blanks."""

MAX_VALUE_CHARACTERS = 8000  # References of a long thread take several lines
MAX_WORD_CHARACTERS = 900  # what holds no blank cannot be folded, and a line ends at 998 octets with the name in it


UNSUBSCRIBE = "list-unsubscribe"
POST = "list-unsubscribe-post"
ONE_CLICK = "List-Unsubscribe=One-Click"
_HTTPS = re.compile(r"<\s*https://[^>\s]+>", re.IGNORECASE)


def header_map(values: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> FrozenMap[str]:
    """Header fields by name, each name and value checked, every problem under its name."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    checked: dict[str, str] = {}
    for name, value in _pairs(values):
        found = list(_problems(name, value))
        if not found and name.lower() in seen:
            found = [Problem("", f"stands twice (also as {seen[name.lower()]!r})", "keep one")]
        if found:
            problems.extend(problem.under(f"[{str(name)[:80]!r}]") for problem in found)
            continue
        seen[name.lower()] = name
        checked[name] = value
    if problems:
        raise ValidationError(problems)
    return FrozenMap(checked)


def _pairs(values: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> Iterable[tuple[str, str]]:
    if values is None:
        return ()
    if isinstance(values, Mapping):
        return values.items()
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValidationError.single("", f"must map names to text, not {type(values).__name__}")
    return values


def _problems(name: object, value: object) -> Iterable[Problem]:
    if not isinstance(name, str) or not _NAME.match(name) or "=?" in name:
        yield Problem("", "is not a header name: printable ASCII without a colon or spaces, at most 76 characters")
        return
    lower = name.lower()
    if lower in OWNED or lower.startswith(("content-", "resent-")):
        attribute = OWNED.get(lower, "")
        fix = f"use {attribute}" if attribute else "leave it out"
        yield Problem("", "is made by Genie Connect and cannot be set", fix)
        return
    problem = value_problem(name, value)
    if problem:
        yield problem


def value_problem(name: str, value: object) -> Problem | None:
    """What keeps ``value`` from standing in the header field ``name``, or ``None``."""
    lower = name.lower()
    if not isinstance(value, str):
        return Problem("", f"must be text, not {type(value).__name__}")
    problem = text.line_problem(value, limit=MAX_VALUE_CHARACTERS)
    if problem:
        return problem
    if lower in STRUCTURED and not value.isascii():
        return Problem("", "must be ASCII (RFC 5322 gives this field a syntax of its own)")
    if lower in STRUCTURED and max(map(len, value.split(" "))) > MAX_WORD_CHARACTERS:
        return Problem("", f"has more than {MAX_WORD_CHARACTERS} characters without a blank", "it cannot be folded")
    if not value.strip():
        return Problem("", "is empty", "leave it out")
    if lower == POST and value.strip().lower() != ONE_CLICK.lower():
        return Problem("", f"can only be {ONE_CLICK} (RFC 8058 section 3.2)", f"write {ONE_CLICK}")
    return None


def one_click_problem(headers: Mapping[str, str]) -> Problem | None:
    """What keeps the one-click unsubscription that ``headers`` ask for from working, or ``None`` (RFC 8058).

    ``headers`` are all that a copy carries: the message may bring one of the two fields and the recipient the other.
    """
    values = {name.lower(): value for name, value in headers.items()}
    if POST not in values or _HTTPS.search(values.get(UNSUBSCRIBE, "")):
        return None
    fix = "give List-Unsubscribe with <https://...>, or leave List-Unsubscribe-Post out"
    return Problem("['List-Unsubscribe-Post']", "needs an https URI in List-Unsubscribe (RFC 8058 section 3.1)", fix)
