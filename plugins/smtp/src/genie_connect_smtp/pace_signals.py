"""Which answers say that we are too fast, too many, or too long on one connection; and the waits that they name.

The verdict of ``classify`` says what an answer means for a message. What it means for the pace is another question:
``451 4.7.0 Rate limit exceeded, try again in 60 seconds`` looks like greylisting to the one and is about all of us to
the other, while "this mailbox receives mail too quickly" is the other way round. Most specific rule first.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import attrs

from genie_connect.model.outcome import Scope
from genie_connect_smtp.classify import Verdict
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.waits import named_wait_s


class Signal(StrEnum):
    """What an answer says about the pace."""

    NONE = "none"
    """Nothing: accepted, refused for its own sake, greylisted, or about the sign-in."""
    UNCLEAR = "unclear"
    """A deferral that could be the server's own trouble; it counts only where nothing else is heard."""
    RATE = "rate"
    """Too many messages in a time."""
    QUOTA = "quota"
    """The allowance of hours or a day is used up: slower is no help, only waiting is."""
    CONNECTIONS = "connections"
    """Too many connections at once, or opened too fast."""
    SESSION = "session"
    """This connection has had its share of messages."""
    ENDED = "ended"
    """421 without a reason: the connection's share, or the rate. The numbers tell."""


@attrs.frozen
class Reading:
    """A signal, the wait in seconds that the server itself named, and the longest wait that makes sense."""

    signal: Signal
    named_wait_s: float | None = None
    longest_wait_s: float = 60.0


NOTHING: Final = Reading(Signal.NONE)

QUOTA_FROM_S: Final = 900.0
"""From this ``retry_after_s`` of a verdict on, a limit is one of hours or days."""

_BEFORE_SIGN_IN: Final = frozenset({Stage.GREETING, Stage.EHLO})
_MESSAGE: Final = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY, Stage.FINAL})
_SERVER_TROUBLE: Final = frozenset({450, 451, 452, 454})

_TEXTS: Final = tuple(
    (signal, re.compile("|".join(patterns), re.IGNORECASE))
    for signal, patterns in (
        # RFC 3463 X.4.2 and what servers say when they leave: about this connection's past, not about our pace.
        (Signal.NONE, (r"\bidle\b", r"time[d -]*out", "shutting down", "restart")),
        # Exim, MailerSend, Sendmail: the share of one connection.
        (
            Signal.SESSION,
            (
                r"too many (messages|mails|transactions).{0,30}\b(connection|session)\b",
                r"\b(messages?|mails?|transactions?) (limit )?per (connection|session)",
            ),
        ),
        # Exchange, SES, Exim, Postfix (anvil): connections at a time.
        (
            Signal.CONNECTIONS,
            (
                "concurrent|simultaneous|parallel",
                r"too many (\w+ )?(connections|sessions)",
                "connection (rate )?limit",
                "thread limit",
            ),
        ),
        # SES, Postfix (anvil), Exchange, and the words that others use.
        (
            Signal.RATE,
            (
                "sending rate|rate[ -]?limit|throttl",
                "too much mail",
                "too many (messages|mails|emails)",
                "slow down|too (fast|quickly)",
                "(messages?|mails?) per (second|minute)",
            ),
        ),
    )
)


def reading_of(stage: Stage, verdict: Verdict, reply: Reply | None) -> Reading:
    """What the answer to this stage says about the pace. Without a reply it says nothing."""
    if reply is None or reply.digit not in (4, 5):
        return NOTHING
    signal = _signal(stage, verdict, reply)
    if signal is Signal.NONE:
        return NOTHING
    retry_s = verdict.retry_after_s
    longest = retry_s if signal is Signal.QUOTA and retry_s else min(60.0, max(15.0, retry_s or 60.0))
    return Reading(signal, named_wait_s(reply.text), longest)


def _signal(stage: Stage, verdict: Verdict, reply: Reply) -> Signal:
    if stage is Stage.AUTH:
        # A refused sign-in is the breaker's business; too many of them is a matter of how often we connect.
        return Signal.CONNECTIONS if verdict.kind == "throttled" else Signal.NONE
    # RFC 5321 section 4.2.1: 5yz is permanent. Only where a rule knows better is it a limit.
    if reply.digit == 5:
        return Signal.QUOTA if verdict.kind == "throttled" and verdict.scope is Scope.CONNECTION else Signal.NONE
    if stage in _BEFORE_SIGN_IN:
        return Signal.CONNECTIONS if verdict.kind in ("connect", "throttled") else Signal.NONE
    if stage not in _MESSAGE or (verdict.kind == "throttled" and verdict.scope is Scope.RECIPIENT):
        return Signal.NONE
    told = next((signal for signal, pattern in _TEXTS if pattern.search(reply.text)), None)
    if told is not None and not (told is Signal.RATE and _is_quota(verdict)):
        return told
    return _by_verdict(verdict, reply)


def _by_verdict(verdict: Verdict, reply: Reply) -> Signal:
    if verdict.kind == "throttled":
        return Signal.QUOTA if _is_quota(verdict) else Signal.RATE
    if reply.code == 421:
        return Signal.ENDED
    if verdict.scope is Scope.RECIPIENT or verdict.kind not in ("temporary", "connect"):
        return Signal.NONE
    return Signal.UNCLEAR if reply.code in _SERVER_TROUBLE else Signal.NONE


def _is_quota(verdict: Verdict) -> bool:
    return verdict.kind == "throttled" and (verdict.retry_after_s or 0.0) >= QUOTA_FROM_S
