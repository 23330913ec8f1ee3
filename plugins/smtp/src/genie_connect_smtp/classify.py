"""What a reply or a fault means: pure functions over the rules of ``genie_connect.replies``.

The rules say what a reply is about; the few laws that no rule may break are below, in code: a 4xx never suppresses
anybody, 421 says nothing about a recipient, any 2xx after the final dot is an acceptance, and greylisting does not
move to another connection.
"""

from __future__ import annotations

from typing import Final

import attrs

from genie_connect.model.outcome import Retry, Scope, State
from genie_connect.replies import Rule, fault_rules, matching_rule, reply_rules
from genie_connect_smtp.errors import ConnectionFault, Fault, ServerRefused, SmtpError
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import PHASES, Stage
from genie_connect_smtp.waits import named_wait_s

__all__ = [
    "Rule",
    "Verdict",
    "classify",
    "classify_error",
    "classify_fault",
    "classify_reply",
    "fault_rules",
    "reply_rules",
]

_NEVER_SUPPRESS: Final = frozenset({"auth", "connect", "tls", "throttled", "policy", "temporary", "greylisted"})
_BEFORE_MAIL: Final = frozenset({"connect", "ehlo", "starttls", "auth"})
_SUPPRESSING_PHASES: Final = frozenset({"rcpt", "eod"})
_IN_DOUBT_HINT: Final = "The server had the whole message and gave no proper answer. It may or may not have arrived."


@attrs.frozen(kw_only=True)
class Verdict:
    """What a reply or fault says: what kind of trouble it is, whose, and where another try makes sense."""

    kind: str
    state: State
    scope: Scope
    retry: Retry = Retry.NEVER
    retry_after_s: float | None = None
    suppress: bool = False
    hint: str = ""
    rule_id: str = ""


def classify(stage: Stage | str, code: int, enhanced: str = "", text: str = "") -> Verdict:
    """What the reply to the command of this stage means. Pure; ``text`` is all lines of the reply in one."""
    phase = PHASES[Stage(stage)]
    if not enhanced.startswith(f"{code // 100}."):
        enhanced = ""
    if phase == "eod" and code // 100 == 2:
        return Verdict(kind="accepted", state=State.ACCEPTED, scope=Scope.MESSAGE, rule_id="final-2xx")
    if phase == "eod" and code // 100 == 3:
        # An answer out of step: it belongs to something else, so the message's own answer is not known.
        return _in_doubt("final-3xx")
    return _verdict(matching_rule(phase, code, enhanced, text), phase, code, text)


def classify_fault(fault: Fault | str, stage: Stage | str) -> Verdict:
    """What a fault means at this stage. Before the end mark nothing was handed over; from there on nobody knows."""
    stage, fault = Stage(stage), Fault(fault)
    if stage is Stage.FINAL:
        return _in_doubt(f"fault-{fault}-final")
    phases = {"body"} if stage is Stage.BODY else {PHASES[stage]}
    rule = next(
        (rule for name, rule in fault_rules() if name == fault and (not rule.phases or rule.phases & phases)), None
    )
    if rule is None:
        # A fault the table knows only from other stages, such as a reset while the end of TLS is being made.
        rule = next(rule for name, rule in fault_rules() if name in (fault, Fault.DISCONNECT))
    return Verdict(
        kind=rule.kind,
        state=State.DEFERRED,
        scope=Scope.CONNECTION,
        # A wrong certificate or password is as wrong in a minute; a connection that broke may not break again.
        retry=Retry.OTHER if rule.kind in ("auth", "tls") and fault not in _PASSING_FAULTS else Retry.ANY,
        retry_after_s=rule.retry_after_s,
        hint=rule.hint,
        rule_id=rule.id,
    )


def classify_error(error: SmtpError) -> Verdict:
    """The verdict on either kind of error."""
    if isinstance(error, ServerRefused):
        return classify_reply(error.stage, error.reply)
    if isinstance(error, ConnectionFault):
        return classify_fault(error.fault, error.stage)
    raise TypeError(f"{type(error).__name__} is neither a refusal nor a fault")


def classify_reply(stage: Stage, reply: Reply) -> Verdict:
    """The verdict on a reply that does not go on; a 2xx or 3xx among those is out of step, a fault of protocol."""
    if stage not in (Stage.STARTTLS, Stage.FINAL):
        if reply.code == 221:
            return classify_fault(Fault.DISCONNECT, stage)
        if reply.digit in (2, 3):
            return classify_fault(Fault.EXTRA_REPLY, stage)
    return classify(stage, reply.code, reply.enhanced, reply.text)


# Those that a second try may not meet, although their kind is one that needs a person.
_PASSING_FAULTS: Final = frozenset({Fault.SILENT, Fault.TLS_INTERRUPTED})


def _verdict(rule: Rule, phase: str, code: int, text: str) -> Verdict:
    if rule.kind == "accepted":
        return Verdict(kind="accepted", state=State.ACCEPTED, scope=rule.scope, rule_id=rule.id)
    # Before MAIL the server knows of no message, so it can have refused none.
    before_mail = phase in _BEFORE_MAIL
    passing = code // 100 == 4
    retry = _retry(rule, passing=passing)
    return Verdict(
        kind=rule.kind,
        state=State.REJECTED if code // 100 == 5 and not before_mail else State.DEFERRED,
        # RFC 5321 section 3.8: 421 announces the end of the connection, whatever it answers.
        scope=Scope.CONNECTION if code == 421 or before_mail else rule.scope,
        retry=Retry.OTHER if before_mail and retry is Retry.NEVER else retry,
        # The server knows better than any rule.
        retry_after_s=(named_wait_s(text) if passing else None) or rule.retry_after_s,
        suppress=(
            rule.suppress
            and code // 100 == 5
            and phase in _SUPPRESSING_PHASES
            and rule.kind not in _NEVER_SUPPRESS
            and rule.scope is Scope.RECIPIENT
        ),
        hint=rule.hint,
        rule_id=rule.id,
    )


def _retry(rule: Rule, *, passing: bool) -> Retry:
    # Another connection has another address, for which a greylist starts anew.
    if rule.kind == "greylisted" or rule.same_connection:
        return Retry.SAME
    if rule.kind == "policy" and not passing:
        return Retry.OTHER  # it is about us, so somebody else may be welcome
    if rule.kind in ("auth", "tls", "too_large") and rule.action == "other":
        return Retry.OTHER
    if rule.action == "other":
        return Retry.ANY if passing else Retry.OTHER
    if rule.action == "retry_same":
        return Retry.ANY
    return Retry.ANY if passing else Retry.NEVER


def _in_doubt(rule_id: str) -> Verdict:
    return Verdict(
        kind="in_doubt",
        state=State.UNKNOWN,
        scope=Scope.MESSAGE,
        hint=_IN_DOUBT_HINT,
        rule_id=rule_id,
    )
