"""What a reply or a fault means: pure functions over the rules in ``replies.json``.

The rules say what a reply is about; the few laws that no rule may break are below, in code: a 4xx never suppresses
anybody, 421 says nothing about a recipient, any 2xx after the final dot is an acceptance, and greylisting does not
move to another connection.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any, Final

import attrs

from genie_connect.model.outcome import Retry, Scope, State
from genie_connect_smtp.errors import ConnectionFault, Fault, ServerRefused, SmtpError
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import PHASES, Stage
from genie_connect_smtp.waits import named_wait_s

_SCOPES: Final = {"recipient": Scope.RECIPIENT, "message": Scope.MESSAGE, "connector": Scope.CONNECTION}
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


@attrs.frozen(kw_only=True)
class Rule:
    """One row of the table; ``None`` matches anything."""

    id: str
    kind: str
    action: str
    scope: Scope
    phases: frozenset[str] | None = None
    code: re.Pattern[str] | None = None
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None
    retry_after_s: float | None = None
    suppress: bool = False
    same_connection: bool = False
    hint: str = ""
    source: str = ""
    verified: str = ""


@cache
def reply_rules() -> tuple[Rule, ...]:
    """The rules for replies, in the order of trying."""
    return tuple(_rule(row, row["id"]) for row in _data()["rules"])


@cache
def fault_rules() -> tuple[tuple[str, Rule], ...]:
    """The rules for faults the client noticed itself, each with the fault's name."""
    return tuple((row["fault"], _rule(row, f"fault-{row['fault']}")) for row in _data()["faults"])


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
    for rule in _candidates(phase, code):
        if rule.enhanced is not None and not (enhanced and rule.enhanced.fullmatch(enhanced)):
            continue
        if rule.text is not None and not rule.text.search(text):
            continue
        return _verdict(rule, phase, code, text)
    raise AssertionError(f"no default rule for {code}")


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


@cache
def _data() -> Any:
    return json.loads(resources.files(__package__).joinpath("replies.json").read_text(encoding="utf-8"))


def _rule(row: dict[str, Any], identifier: str) -> Rule:
    def pattern(key: str) -> re.Pattern[str] | None:
        return re.compile(row[key], re.IGNORECASE) if key in row else None

    return Rule(
        id=identifier,
        kind=row["kind"],
        action=row["action"],
        scope=_SCOPES[row["scope"]],
        phases=frozenset(row["phases"]) if "phases" in row else None,
        code=pattern("code"),
        enhanced=pattern("enhanced"),
        text=pattern("text"),
        retry_after_s=row.get("retry_after_s"),
        suppress=row.get("suppress", False),
        same_connection=row.get("same_connection", False),
        hint=row["hint"],
        source=row.get("source", ""),
        verified=row.get("verified", ""),
    )


@cache
def _candidates(phase: str, code: int) -> tuple[Rule, ...]:
    return tuple(
        rule
        for rule in reply_rules()
        if (rule.phases is None or phase in rule.phases) and (rule.code is None or rule.code.fullmatch(str(code)))
    )


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
