"""From verdicts to the outcomes that the core knows."""

from __future__ import annotations

import re
from typing import Final

import attrs

from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect_smtp.classify import Verdict, classify_error
from genie_connect_smtp.errors import ServerRefused, SmtpError
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.transaction import Result

# Where servers put the name they gave the message.
_PROVIDER_IDS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"queued as <?([\w.@+/=-]{4,200})",  # Postfix, OpenSMTPD's kin, SendGrid
        r"\bid=<?([\w.@+/=-]{4,200})",  # Exim
        r"message queued \(([\w.-]{4,200})\)",  # Haraka
        r"\[internalid=(\d{4,40})",  # Exchange
        r"\b([\w.-]{4,200}) - gsmtp\Z",  # Gmail
        r"\Aok ([0-9a-f][0-9a-f-]{20,99})\Z",  # Amazon SES
        r"\A([0-9a-f]{8}) message accepted for delivery",  # OpenSMTPD
    )
)

_STAGE_NAMES: Final = {stage: stage.value for stage in Stage}

UNSUPPORTED: Final = Verdict(
    kind="unsupported",
    state=State.REJECTED,
    scope=Scope.MESSAGE,
    retry=Retry.OTHER,
    hint="This server cannot carry non-ASCII addresses (it does not offer SMTPUTF8).",
    rule_id="before-mail-smtputf8",
)
TOO_LARGE: Final = Verdict(
    kind="too_large",
    state=State.REJECTED,
    scope=Scope.MESSAGE,
    retry=Retry.OTHER,
    hint="The message is larger than the server takes.",
    rule_id="before-mail-size",
)
UNREADABLE: Final = Verdict(
    kind="internal",
    state=State.REJECTED,
    scope=Scope.MESSAGE,
    hint="The message could not be put together: see the text.",
    rule_id="before-end-content",
)
NOT_TRIED: Final = Verdict(
    kind="temporary",
    state=State.DEFERRED,
    scope=Scope.MESSAGE,
    retry=Retry.ANY,
    hint="The time of this attempt was over before this message had its turn.",
    rule_id="plan-deadline",
)
TOO_MUCH_HINT: Final = "The server takes no more for now."
HELD_BACK: Final = Verdict(
    kind="throttled",
    state=State.DEFERRED,
    scope=Scope.CONNECTION,
    retry=Retry.ANY,
    hint="The server takes no more for now, so this message was not tried.",
    rule_id="plan-held-back",
)
BROKEN: Final = Verdict(
    kind="in_doubt",
    state=State.UNKNOWN,
    scope=Scope.MESSAGE,
    hint="An error of ours ended the attempt; whether the message was handed over is not known. The log has details.",
    rule_id="internal-error",
)


class OutcomeWriter:
    """Makes the outcomes of one connection setting. What a server says over and over is read once."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._read: tuple[Reply, str | None] | None = None

    def outcome(self, recipient: str, result: Result, *, text: str | None = None) -> Outcome:
        """The outcome of one recipient; ``text`` stands in where there is no reply."""
        verdict, reply = result.verdict, result.reply
        if reply is None:
            code, enhanced = None, None
        else:
            code, enhanced, text = reply.code, reply.enhanced or None, reply.text
        if verdict.state is State.ACCEPTED:
            return Outcome(
                recipient=recipient,
                state=State.ACCEPTED,
                connection=self._connection,
                stage=_STAGE_NAMES[result.stage],
                code=code,
                enhanced=enhanced,
                text=text,
                provider_id=self._provider_id(reply) if reply else None,
            )
        return Outcome(
            recipient=recipient,
            state=verdict.state,
            connection=self._connection,
            stage=_STAGE_NAMES[result.stage],
            code=code,
            enhanced=enhanced,
            text=text,
            reason=verdict.kind,
            hint=verdict.hint or None,
            scope=verdict.scope,
            retry=verdict.retry,
            retry_after_s=verdict.retry_after_s,
            suppress=verdict.suppress,
        )

    def _provider_id(self, reply: Reply) -> str | None:
        if self._read is None or self._read[0] is not reply:
            self._read = reply, provider_id(reply)
        return self._read[1]


def result_of(error: SmtpError) -> Result:
    """The result for every recipient of a connection that could not be made."""
    reply = error.reply if isinstance(error, ServerRefused) else None
    return Result(stage=error.stage, verdict=classify_error(error), reply=reply)


def before_mail(verdict: Verdict) -> Result:
    """The result of a check that was made before the server was told anything."""
    return Result(stage=Stage.MAIL, verdict=verdict)


def why_unreadable(error: Exception) -> str:
    """What is wrong with the content, without the path that a system's error has in it."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or "it cannot be read"


def untried(verdict: Verdict, retry_after_s: float) -> Result:
    """The result of somebody whose turn did not come; when it may be worth coming back."""
    return Result(stage=Stage.PLAN, verdict=attrs.evolve(verdict, retry_after_s=retry_after_s))


def told_when(said: Result, later: Result) -> Result:
    """What the server said the last time, and from ``later`` when it may be worth coming back."""
    after_s = later.verdict.retry_after_s
    if later.stage is not Stage.PLAN or after_s is None:
        return said
    verdict = attrs.evolve(said.verdict, retry_after_s=after_s)
    if verdict.kind == "greylisted":
        # "Try again in 60 seconds" alone reads like greylisting; about the pace it is known that it is not.
        verdict = attrs.evolve(HELD_BACK, retry_after_s=after_s, hint=TOO_MUCH_HINT)
    return attrs.evolve(said, verdict=verdict)


def provider_id(reply: Reply) -> str | None:
    """The id that the server gave the message, as it stands in the final reply."""
    text = reply.text
    for pattern in _PROVIDER_IDS:
        found = pattern.search(text)
        if found:
            return found[1].rstrip(".")
    return None
