"""What a reply says about a copy that has left: bounce class and reason.

In a bounce mail or a webhook nobody says which command a reply answered, so a rule counts only where it looks at the
enhanced code or the text. A bare 550 is anybody's guess: it is ``undetermined``, and suppresses nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from genie_connect.model.event import BounceClass, Reason
from genie_connect.model.text import clean_reply
from genie_connect.replies.rules import specific_rule

_PHASES: Final = ("rcpt", "eod")
_REASONS: Final[Mapping[str, Reason]] = {
    "recipient_rejected": Reason.RECIPIENT_REJECTED,
    "sender_rejected": Reason.SENDER_REJECTED,
    "content_rejected": Reason.CONTENT_REJECTED,
    "too_large": Reason.TOO_LARGE,
    "policy": Reason.POLICY,
    "auth": Reason.AUTH,
    "throttled": Reason.THROTTLED,
    "greylisted": Reason.GREYLISTED,
    "temporary": Reason.TEMPORARY,
    "connect": Reason.CONNECT,
    "tls": Reason.TLS,
    "protocol": Reason.PROTOCOL,
    "permanent": Reason.PERMANENT,
    "unsupported": Reason.PERMANENT,
}
_BLOCKED: Final = frozenset(
    {Reason.POLICY, Reason.AUTH, Reason.SENDER_REJECTED, Reason.THROTTLED, Reason.CONTENT_REJECTED}
)
_SOFT: Final = frozenset({Reason.TEMPORARY, Reason.GREYLISTED, Reason.CONNECT, Reason.TLS, Reason.MAILBOX_FULL})
_FULL: Final = re.compile(r"\b(mailbox|quota|inbox|storage)\b.{0,40}\b(full|exceed\w*)|over ?quota", re.IGNORECASE)
_CODE: Final = re.compile(r"(?:^|[\s(:;#])([245]\d\d)(?=[\s\-:]|$)")
_ENHANCED: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")


@attrs.frozen(kw_only=True)
class Meaning:
    """What a reply says: bounce class, reason, and the codes that it was read from."""

    bounce: BounceClass
    reason: Reason
    code: int | None = None
    enhanced: str | None = None


def meaning_of(text: str = "", *, code: int | None = None, enhanced: str | None = None) -> Meaning:
    """What a reply means, given in parts or as one text (``smtp; 550 5.1.1 No such user``).

    Codes that are given count before those in the text. Without any it says nothing: ``undetermined`` and ``other``.
    """
    said = clean_reply(text)
    if code is None:
        found = _CODE.search(said)
        code = int(found[1]) if found else None
    in_text = _ENHANCED.search(said)
    # 5.0.0 is what a report says that knows no better (RFC 3463 section 3.1).
    if in_text is not None and (enhanced is None or enhanced.endswith(".0.0")):
        enhanced = in_text[1]
    if enhanced is not None and not _ENHANCED.fullmatch(enhanced):
        enhanced = None
    if code is None and enhanced is not None:
        code = int(enhanced[0]) * 100 + 50
    if code is None or code // 100 not in (4, 5):
        return Meaning(bounce=BounceClass.UNDETERMINED, reason=Reason.OTHER, code=code, enhanced=enhanced)
    consistent = enhanced if enhanced is not None and enhanced[0] == str(code)[0] else None
    bounce, reason = _judged(code, consistent or "", said)
    return Meaning(bounce=bounce, reason=reason, code=code, enhanced=enhanced)


def _says_full(text: str) -> bool:
    small = text.lower()  # a look at three words is far quicker than the pattern, which nearly no text fits
    return ("full" in small or "exceed" in small or "quota" in small) and _FULL.search(text) is not None


def _judged(code: int, enhanced: str, text: str) -> tuple[BounceClass, Reason]:
    if enhanced[2:] == "2.2" or _says_full(text):
        return BounceClass.SOFT, Reason.MAILBOX_FULL
    if enhanced[2:] == "4.7":
        return BounceClass.SOFT, Reason.EXPIRED
    rule = None if code == 421 else specific_rule(_PHASES, code, enhanced, text)
    if rule is None:
        passing = code // 100 == 4
        return (BounceClass.SOFT, Reason.TEMPORARY) if passing else (BounceClass.UNDETERMINED, Reason.PERMANENT)
    reason = _REASONS.get(rule.kind, Reason.OTHER)
    if code // 100 == 4 or reason in _SOFT:
        return BounceClass.SOFT, reason
    if reason in _BLOCKED:
        return BounceClass.BLOCKED, reason
    hard = reason is Reason.RECIPIENT_REJECTED and rule.suppress
    return (BounceClass.HARD if hard else BounceClass.UNDETERMINED), reason
