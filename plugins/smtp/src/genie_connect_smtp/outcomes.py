"""From verdicts to the outcomes that the core knows."""

from __future__ import annotations

import re
from typing import Final

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
    rule_id="before-mail-deadline",
)
BROKEN: Final = Verdict(
    kind="in_doubt",
    state=State.UNKNOWN,
    scope=Scope.MESSAGE,
    hint="An error of ours ended the attempt; whether the message was handed over is not known. The log has details.",
    rule_id="internal-error",
)


def outcome_of(recipient: str, connection: str, result: Result, *, text: str | None = None) -> Outcome:
    """The outcome of one recipient; ``text`` stands in where there is no reply."""
    verdict, reply = result.verdict, result.reply
    accepted = verdict.state is State.ACCEPTED
    return Outcome(
        recipient=recipient,
        state=verdict.state,
        connection=connection,
        stage=result.stage.value,
        code=reply.code if reply else None,
        enhanced=(reply.enhanced or None) if reply else None,
        text=reply.text if reply else text,
        reason=None if accepted else verdict.kind,
        hint=None if accepted else verdict.hint or None,
        scope=Scope.RECIPIENT if accepted else verdict.scope,
        retry=verdict.retry,
        retry_after_s=verdict.retry_after_s,
        provider_id=provider_id(reply) if accepted and reply else None,
        suppress=verdict.suppress,
    )


def result_of(error: SmtpError) -> Result:
    """The result for every recipient of a connection that could not be made."""
    reply = error.reply if isinstance(error, ServerRefused) else None
    return Result(stage=error.stage, verdict=classify_error(error), reply=reply)


def before_mail(verdict: Verdict) -> Result:
    """The result of a check that was made before the server was told anything."""
    return Result(stage=Stage.MAIL, verdict=verdict)


def provider_id(reply: Reply) -> str | None:
    """The id that the server gave the message, as it stands in the final reply."""
    text = reply.text
    for pattern in _PROVIDER_IDS:
        found = pattern.search(text)
        if found:
            return found[1].rstrip(".")
    return None
