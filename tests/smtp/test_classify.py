"""What replies mean: the laws over the whole grid of codes, and a row for each text of a provider."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from genie_connect.model.outcome import Retry, Scope, State
from genie_connect_smtp.classify import classify, classify_fault, classify_reply, fault_rules, reply_rules
from genie_connect_smtp.errors import Fault
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import PHASES, Stage

_CODES = tuple(range(400, 600))
_ENHANCED = {
    # Of the other class one is enough: it is dropped, which has a test of its own.
    digit: ("", f"{9 - digit}.1.1", *(f"{digit}.{subject}.{detail}" for subject in range(8) for detail in range(31)))
    for digit in (4, 5)
}
_STAGES = tuple(Stage)
_ONE_PER_PHASE = tuple({PHASES[stage]: stage for stage in reversed(_STAGES)}.values())
_QUIET_KINDS = {"auth", "connect", "tls", "throttled", "policy", "greylisted", "temporary"}


@pytest.mark.long
@pytest.mark.parametrize("stage", _ONE_PER_PHASE)
def test_no_reply_breaks_a_law(stage: Stage) -> None:
    """Over 200 codes and 250 enhanced codes each: who may be suppressed, what may never be tried again, whose fault."""
    for code in _CODES:
        for enhanced in _ENHANCED[code // 100]:
            verdict = classify(stage, code, enhanced)
            where = (stage, code, enhanced, verdict)
            if verdict.suppress:
                assert code >= 500, where
                assert stage in (Stage.RCPT, Stage.FINAL), where
                assert verdict.kind == "recipient_rejected", where
                assert verdict.scope is Scope.RECIPIENT, where
                assert verdict.retry is Retry.NEVER, where
            assert not (verdict.kind in _QUIET_KINDS and verdict.suppress), where
            assert verdict.state in (State.DEFERRED, State.REJECTED), where
            if code < 500:
                assert verdict.state is State.DEFERRED, where
                assert verdict.retry is not Retry.NEVER, where
            if code == 421:
                assert verdict.scope is Scope.CONNECTION, where
            if verdict.kind == "greylisted":
                assert verdict.retry is Retry.SAME, where
            if verdict.kind in ("content_rejected", "recipient_rejected"):
                assert verdict.retry in (Retry.NEVER, Retry.OTHER), where
                if stage in (Stage.RCPT, Stage.FINAL) and code >= 500:
                    assert verdict.retry is Retry.NEVER, where
            if stage in (Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH):
                assert verdict.state is State.DEFERRED, where
                assert verdict.scope is Scope.CONNECTION, where
                assert verdict.retry is not Retry.NEVER, where


@pytest.mark.parametrize("code", range(200, 300))
def test_any_2xx_after_the_final_dot_is_accepted(code: int) -> None:
    """Not only 250 (F6, F32)."""
    assert classify(Stage.FINAL, code).state is State.ACCEPTED


@pytest.mark.parametrize("code", [250, 251, 252])
def test_25x_at_rcpt_is_accepted(code: int) -> None:
    """252 is an acceptance as well (F21)."""
    assert classify(Stage.RCPT, code).state is State.ACCEPTED


@pytest.mark.parametrize("code", range(300, 400))
def test_a_3xx_after_the_final_dot_leaves_doubt(code: int) -> None:
    """It answers something else, so the message's answer is not known."""
    verdict = classify(Stage.FINAL, code)
    assert (verdict.state, verdict.retry) == (State.UNKNOWN, Retry.NEVER)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("stage", [stage for stage in _STAGES if stage is not Stage.RSET])
def test_a_fault_leaves_doubt_after_the_end_mark_and_none_before(fault: Fault, stage: Stage) -> None:
    """Whatever happens: unknown from the end mark on, nothing handed over before it, and never a suppression."""
    verdict = classify_fault(fault, stage)
    assert not verdict.suppress
    if stage is Stage.FINAL:
        assert (verdict.state, verdict.retry) == (State.UNKNOWN, Retry.NEVER)
    else:
        assert (verdict.state, verdict.scope) == (State.DEFERRED, Scope.CONNECTION)
        assert verdict.retry in (Retry.ANY, Retry.OTHER)
        assert verdict.hint


def test_a_contradicting_enhanced_code_is_dropped() -> None:
    """The first digit of the reply decides (RFC 5321 section 4.2.1)."""
    assert classify(Stage.RCPT, 450, "5.1.1").state is State.DEFERRED
    assert not classify(Stage.RCPT, 450, "5.1.1").suppress
    assert classify(Stage.RCPT, 550, "4.2.1").kind == classify(Stage.RCPT, 550).kind


def test_a_server_that_leaves_is_no_verdict_on_a_recipient() -> None:
    """421 and 221 say something about the connection alone, even with a text about recipients (T09, F18)."""
    for reply in (Reply(code=421, lines=("User unknown",)), Reply(code=421, enhanced="4.7.1"), Reply(code=221)):
        verdict = classify_reply(Stage.RCPT, reply)
        assert verdict.scope is Scope.CONNECTION
        assert not verdict.suppress


_SAMPLES = [
    # stage, reply, kind, state, retry, scope, suppress
    ("auth", "534 5.7.9 Application-specific password required. For more information, go to", "auth", "other", False),
    ("auth", "534 5.7.14 Please log in with your web browser and then try again.", "auth", "other", False),
    ("auth", "535 5.7.8 Username and Password not accepted. BadCredentials", "auth", "other", False),
    ("auth", "454 4.7.0 Too many login attempts, please try again later.", "throttled", "any", False),
    ("auth", "454 4.7.0 Cannot authenticate due to temporary system problem.", "temporary", "any", False),
    ("final", "550 5.4.5 Daily user sending limit exceeded.", "throttled", "other", False),
    ("rcpt", "550 5.7.1 Daily SMTP relay limit exceeded for user.", "throttled", "other", False),
    ("rcpt", "450 4.2.1 The user you are trying to contact is receiving mail too quickly.", "throttled", "same", False),
    ("final", "421 4.7.28 Our system has detected an unusual rate of unsolicited mail", "throttled", "any", False),
    ("final", "550 5.7.26 This mail is unauthenticated, SPF and DKIM did not pass", "policy", "other", False),
    ("mail", "530 5.7.0 TLS required for RCPT domain", "tls", "other", False),
    (
        "final",
        "550 5.7.1 Messages missing a valid address are not RFC 5322 compliant",
        "content_rejected",
        "never",
        False,
    ),
    ("final", "550 5.7.1 likely suspicious due to the very low reputation", "content_rejected", "never", False),
    (
        "final",
        "552 5.7.0 This message was blocked: content presents a potential security",
        "content_rejected",
        "never",
        False,
    ),
    ("auth", "550 5.7.30 Basic authentication is not supported for Client Submission.", "auth", "other", False),
    ("auth", "535 5.7.139 SmtpClientAuthentication is disabled for the Tenant.", "auth", "other", False),
    ("auth", "535 5.7.139 user is locked by your organization's security defaults policy", "auth", "other", False),
    ("auth", "535 5.7.3 Authentication unsuccessful", "auth", "other", False),
    ("mail", "530 5.7.57 Client not authenticated to send mail.", "auth", "other", False),
    ("final", "554 5.2.252 SendAsDenied; ada@example.com not allowed to send as", "sender_rejected", "other", False),
    ("mail", "550 5.2.251 Mailbox paused", "throttled", "other", False),
    ("mail", "432 4.3.2 Concurrent connections limit exceeded.", "throttled", "any", False),
    ("rcpt", "550 5.2.2 Submission quota exceeded", "throttled", "other", False),
    ("rcpt", "451 4.7.500 Server busy. Please try again later", "throttled", "any", False),
    ("rcpt", "451 4.7.650 The mail server has been temporarily rate limited", "throttled", "any", False),
    ("mail", "421 RP-001 The mail server IP connecting has exceeded the rate limit", "throttled", "any", False),
    ("rcpt", "550 5.7.1 part of their network is on our block list (S3150)", "policy", "other", False),
    ("rcpt", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found", "recipient_rejected", "never", True),
    ("rcpt", "550 5.4.1 Recipient address rejected: Access denied.", "recipient_rejected", "never", True),
    ("mail", "421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume", "throttled", "any", False),
    ("mail", "421 4.7.1 [TS03] All messages will be permanently deferred", "throttled", "any", False),
    ("mail", "553 5.7.1 [BL21] Connections will not be accepted", "policy", "other", False),
    ("rcpt", "554 delivery error: dd This user doesn't have a yahoo.com account", "recipient_rejected", "never", True),
    ("auth", "535 #AUTH005 Too many bad auth attempts.", "auth", "other", False),
    ("final", "454 Throttling failure: Maximum sending rate exceeded.", "throttled", "any", False),
    ("final", "454 Throttling failure: Daily message quota exceeded.", "throttled", "any", False),
    ("auth", "454 Temporary authentication failure", "temporary", "any", False),
    ("greeting", "421 Too many concurrent SMTP connections", "throttled", "any", False),
    ("auth", "535 Authentication Credentials Invalid", "auth", "other", False),
    ("final", "554 Message rejected: Email address is not verified.", "sender_rejected", "other", False),
    ("final", "554 Sending paused for this account", "policy", "other", False),
    ("final", "554 Access denied: User arn:aws:iam::1 is not authorized", "auth", "other", False),
    ("final", "451 Authentication failed: Maximum credits exceeded", "throttled", "any", False),
    ("auth", "535 Authentication failed: Bad username / password", "auth", "other", False),
    ("mail", "550 The from address does not match a verified Sender Identity.", "sender_rejected", "other", False),
    ("rcpt", "452 Too many recipients received this hour", "throttled", "any", False),
    ("mail", "550 temporarily blocked due to repeated bad requests", "throttled", "other", False),
    ("final", "550 5.7.1 domain example.com is not allowed to send: Account disabled", "policy", "other", False),
    ("final", "550 sandbox subdomains are for test purposes only, authorized recipients", "policy", "other", False),
    ("rcpt", "550 5.7.1 that domain isn't verified", "sender_rejected", "other", False),
    ("rcpt", "554 5.7.1 <a@b.example>: Relay access denied", "auth", "other", False),
    ("rcpt", "450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted", "greylisted", "same", False),
    ("rcpt", "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown", "recipient_rejected", "never", True),
    ("rcpt", "550 No such user here", "recipient_rejected", "never", True),
    ("rcpt", "554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org", "policy", "other", False),
    ("rcpt", "450 4.7.25 Client host rejected: cannot find your reverse hostname", "policy", "any", False),
    ("rcpt", "553 5.1.8 <x@y.example>: Sender address rejected: Domain not found", "sender_rejected", "other", False),
    ("final", "554 5.7.1 Message contains spam or virus", "content_rejected", "never", False),
    ("rcpt", "552 5.2.2 The mailbox is over quota", "temporary", "same", False),
    ("rcpt", "452 4.2.2 mailbox full", "temporary", "same", False),
    ("rcpt", "452 4.5.3 Too many recipients", "throttled", "any", False),
    ("starttls", "454 4.7.0 TLS not available due to temporary reason", "tls", "any", False),
    ("starttls", "502 5.5.1 command not implemented", "tls", "other", False),
    ("greeting", "554 5.7.1 no service for you", "policy", "other", False),
    ("mail", "552 5.3.4 message size exceeds fixed limit", "too_large", "other", False),
    ("rcpt", "550 5.6.7 internationalized address not supported", "unsupported", "other", False),
    ("rcpt", "550 go away", "recipient_rejected", "never", False),
    ("rcpt", "556 5.1.10 domain does not accept mail", "recipient_rejected", "never", True),
    ("final", "550 5.7.1 refused by policy", "policy", "other", False),
    ("final", "554 transaction failed", "content_rejected", "never", False),
    ("rcpt", "421 4.3.2 shutting down", "connect", "any", False),
]


@pytest.mark.parametrize(
    ("stage", "line", "kind", "retry", "suppress"), _SAMPLES, ids=[row[1][:60] for row in _SAMPLES]
)
def test_a_real_reply_is_understood(stage: str, line: str, kind: str, retry: str, suppress: bool) -> None:
    """Kind, where another try makes sense, and whether the mailbox does not exist."""
    reply = Reply.of(int(line[:3]), (line[4:],))
    verdict = classify_reply(Stage(stage), reply)
    assert (verdict.kind, verdict.retry.value, verdict.suppress) == (kind, retry, suppress), verdict
    assert verdict.hint


def test_the_table_is_whole() -> None:
    """Every rule has an id of its own, a source that is listed, and words for people unless it accepts."""
    data = json.loads(resources.files("genie_connect.replies").joinpath("replies.json").read_text(encoding="utf-8"))
    ids = [rule.id for rule in reply_rules()]
    assert len(ids) == len(set(ids))
    for rule in reply_rules():
        assert rule.source in data["sources"], rule.id
        assert rule.kind == "accepted" or rule.hint, rule.id
        assert rule.verified in ("", "seen", "memory"), rule.id
    assert {name for name, _ in fault_rules()} == {fault.value for fault in Fault}
