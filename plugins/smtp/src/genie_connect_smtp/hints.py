"""What to tell a person: one table of hints, from which diagnoses and the troubleshooting page are made."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import attrs

from genie_connect.model.diagnosis import Diagnosis
from genie_connect_smtp.classify import classify_reply, reply_rules
from genie_connect_smtp.errors import ConnectionFault, ServerRefused, SmtpError
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage


@attrs.frozen(kw_only=True)
class Hint:
    """Why something does not work, what to do, and which setting to change."""

    title: str
    cause: str
    fixes: tuple[str, ...] = attrs.field(converter=tuple)
    field: str | None = None


@cache
def hints() -> dict[str, Hint]:
    """All hints by code."""
    rows = json.loads(resources.files(__package__).joinpath("hints.json").read_text(encoding="utf-8"))
    return {code: Hint(**row) for code, row in rows.items()}


_BY_STAGE = {
    Stage.GREETING: "greeting_refused",
    Stage.EHLO: "ehlo_refused",
    Stage.STARTTLS: "starttls_refused",
    Stage.AUTH: "auth_refused",
}


def diagnosis(code: str, *, evidence: str = "", reply: Reply | None = None, advice: str = "") -> Diagnosis:
    """The diagnosis of this code; ``advice`` is what is known of this very reply and goes first."""
    hint = hints()[code]
    return Diagnosis(
        code=code,
        title=hint.title,
        cause=hint.cause,
        evidence=evidence,
        fixes=tuple(dict.fromkeys([advice, *hint.fixes] if advice else hint.fixes)),
        field=hint.field,
        server_reply=str(reply) if reply is not None else None,
    )


def diagnosis_of(error: SmtpError, *, evidence: str = "") -> Diagnosis:
    """The diagnosis of a step of connecting that failed."""
    if isinstance(error, ConnectionFault):
        detail = "; ".join(part for part in (evidence, error.detail) if part)
        return diagnosis(error.fault.value, evidence=detail)
    if isinstance(error, ServerRefused):
        if error.reply.code in (221, 421) and error.stage is not Stage.GREETING:
            return diagnosis("disconnect", evidence=evidence, reply=error.reply)
        advice = classify_reply(error.stage, error.reply).hint
        return diagnosis(_BY_STAGE[error.stage], evidence=evidence, reply=error.reply, advice=advice)
    raise TypeError(f"{type(error).__name__} is neither a refusal nor a fault")


def troubleshooting_markdown() -> str:
    """The troubleshooting page: every hint, then what is known of providers' replies."""
    lines = ["## Connection problems", ""]
    for code, hint in hints().items():
        lines += [f"### {hint.title}", "", f"Code `{code}`" + (f", setting `{hint.field}`." if hint.field else "."), ""]
        lines += [hint.cause, "", *(f"- {fix}" for fix in hint.fixes), ""]
    lines += ["## Replies of servers and providers", "", "| Reply | Kind | What to do |", "|---|---|---|"]
    for rule in reply_rules():
        if rule.text is None or not rule.hint:
            continue
        code = rule.code.pattern.replace("|", ", ") if rule.code else ""
        enhanced = rule.enhanced.pattern.replace("\\", "").replace("|", ", ") if rule.enhanced else ""
        reply = " ".join(part for part in (code, enhanced, f"`{_cell(rule.text.pattern)}`") if part)
        lines.append(f"| {reply} | {rule.kind} | {_cell(rule.hint)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
