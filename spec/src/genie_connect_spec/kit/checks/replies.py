"""What an SMTP server answers, stage by stage, and what the outcome makes of it.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.checks.failures import nowhere
from genie_connect_spec.kit.conversation import PLAIN, Exchange, exchange, offers, readers, server_of
from genie_connect_spec.kit.letters import letter
from genie_connect_spec.kit.provider import relocated
from genie_connect_spec.kit.rig import SHORT_S, Rig
from genie_connect_spec.smtp_script import (
    Action,
    Answer,
    Close,
    Drip,
    Garbage,
    HalfClose,
    Hang,
    Reply421,
    Reset,
    Rule,
    Say,
    on,
)

SENDS: Final = ("GC-SEND-001",)
STEPS: Final = ("GC-TEST-001",)
BEFORE: Final = ("banner", "ehlo", "auth", "mail", "rcpt", "data")
"""The stages before anything of a message has left."""
_STAGES: Final = {"greeting": "banner"}
_BREAKS: Final[Sequence[Action]] = (Close(), Reset(), HalfClose(), Garbage(), Reply421(), Reply421(close=False))
_UNREADABLE: Final = (
    b"2_50 ok\r\n",
    b"250-ok\r\n550 no\r\n",
    b"250ok\r\n",
    b"25\r\n",
    b"999 what\r\n",
    b"250 ok\rand more\r\n",
    b"250-" + b"x" * 70_000 + b"\r\n250 ok\r\n",
)


async def _said(rig: Rig, *script: Rule, to: Sequence[str] = ("reader00@example.com",)) -> Exchange:
    seen = await exchange(rig, script, message=letter(*to), deadline_s=3.0)
    seen.agree()
    return seen


def _cases() -> list[dict[str, Any]]:
    text = resources.files("genie_connect_spec").joinpath("vectors/classification.json").read_text(encoding="utf-8")
    cases: list[dict[str, Any]] = json.loads(text)["cases"]
    return cases


@check("GC-SMTP-020", after=SENDS)
async def refusals_mean_what_the_vectors_say(rig: Rig) -> None:
    """Whether to come again, where, and whom to suppress hangs on what a refusal is about."""
    for case in _cases():
        words = " ".join(word for word in (str(case["code"]), case["enhanced"], case["text"]) if word)
        stage = _STAGES.get(case["stage"], case["stage"])
        needs(stage != "auth" or rig.canaries, "its settings hold no secret")
        seen = await _said(rig, on(stage, Say(f"{words}\r\n".encode())))
        outcome = seen.outcomes[0]
        said = f"at the stage {stage} the server says {words!r}, and"
        for name in ("state", "reason", "scope", "retry", "suppress"):
            found = getattr(outcome, name)
            # "Too many" with the code of a greylist: whoever keeps a pace of its own may know better.
            paced = case["reason"] == "greylisted" and outcome.reason == "throttled"
            assert paced or found == case[name], f"{said} {name} is {found}, not {case[name]}"
        assert outcome.code == case["code"], f"{said} the code of the outcome is {outcome.code}"
        # An enhanced code of another class contradicts the reply, and the reply counts (RFC 3463 section 2).
        enhanced = case["enhanced"] if case["enhanced"][:1] == str(case["code"])[:1] else ""
        assert (outcome.enhanced or "") == enhanced, f"{said} its enhanced code is {outcome.enhanced}"
        assert case["text"] in (outcome.text or ""), f"{said} its text is {outcome.text!r}"


@check("GC-SMTP-021", after=SENDS)
async def what_breaks_before_the_end_is_deferred(rig: Rig) -> None:
    """Nothing was handed over, and it says nothing about the recipient: another try costs nothing."""
    for stage in BEFORE:
        for action in _BREAKS:
            if stage == "auth" and not rig.canaries:
                continue
            seen = await _said(rig, on(stage, action))
            _is_nobodys_fault(seen.outcomes[0], f"{action} at the stage {stage}")
    for stage in ("mail", "rcpt"):
        outcome = (await _said(rig, on(stage, Say(b"221 2.0.0 good bye\r\n")))).outcomes[0]
        _is_nobodys_fault(outcome, f"a good-bye at the stage {stage}")
        assert outcome.reason == "connect", f"a good-bye at the stage {stage}: the reason is {outcome.reason}"


def _is_nobodys_fault(outcome: Outcome, what: str) -> None:
    assert outcome.state is State.DEFERRED, f"{what}: the outcome is {outcome.state}"
    assert outcome.scope is Scope.CONNECTION, f"{what}: the scope is {outcome.scope}"
    assert outcome.retry in (Retry.ANY, Retry.OTHER), f"{what}: retry is {outcome.retry}"
    assert not outcome.suppress, f"{what}: the recipient is to be suppressed"


@check("GC-SMTP-022", after=SENDS)
async def what_cannot_be_read_is_no_yes(rig: Rig) -> None:
    """A reader that is lenient takes one reply for another (RFC 5321 section 4.2.1)."""
    for said in _UNREADABLE:
        for stage in ("ehlo", "mail", "rcpt", "data", "final"):
            seen = await exchange(rig, [on(stage, Say(said))], deadline_s=3.0)
            outcome = seen.outcomes[0]
            expected = State.UNKNOWN if stage == "final" else State.DEFERRED
            assert outcome.state is expected, f"{said[:20]!r} at the stage {stage}: the outcome is {outcome.state}"


@check("GC-SMTP-023", after=SENDS)
async def what_is_no_answer_to_this_is_no_yes(rig: Rig) -> None:
    """Replies out of step: a 354 to MAIL, a 250 to DATA, two for one, one to what nobody asked."""
    spare = b"250 2.0.0 once more\r\n"
    for stage, action in (
        ("mail", Say(b"354 go on\r\n")),
        ("rcpt", Say(b"354 go on\r\n")),
        ("data", Say(b"250 2.0.0 ok\r\n")),
        ("final", Say(b"354 go on\r\n")),
        ("body", Say(spare)),
        ("banner", Answer(after=spare)),
        ("ehlo", Answer(after=spare)),
    ):
        text = "words of a letter\n" * (20_000 if stage == "body" else 1)
        seen = await exchange(
            rig, [on(stage, action)], message=letter("reader00@example.com", text=text), deadline_s=3.0
        )
        seen.agree()
        for outcome in seen.outcomes:
            assert outcome.state is not State.REJECTED, (
                f"{action} at the stage {stage}: {outcome.recipient} is rejected"
            )
    for stage in ("mail", "rcpt", "data"):
        # Whose reply was whose cannot be known then: only a yes would be a lie.
        seen = await exchange(rig, [on(stage, Answer(after=spare))], message=letter(*readers(2)), deadline_s=3.0)
        for outcome in seen.outcomes:
            took = any(outcome.recipient in message.recipients and message.accepted for message in seen.taken)
            lie = outcome.state is State.ACCEPTED and not took
            assert not lie, f"the server says two things to {stage.upper()}, and {outcome.recipient} is accepted"


@check("GC-SMTP-024", after=SENDS)
async def each_recipient_has_its_own_answer(rig: Rig) -> None:
    """One who does not exist costs the others nothing."""
    to = readers(5)
    script = [
        on("rcpt", Say(b"550 5.1.1 no such user\r\n"), address=to[1]),
        on("rcpt", Say(b"450 4.2.1 mailbox busy\r\n"), address=to[3]),
    ]
    for more in ([], [offers()], [offers("PIPELINING")]):
        seen = await _said(rig, *more, *script, to=to)
        states = [outcome.state for outcome in seen.outcomes]
        expected = [State.ACCEPTED, State.REJECTED, State.ACCEPTED, State.DEFERRED, State.ACCEPTED]
        assert states == expected, f"the second is refused and the fourth put off, and the outcomes are {states}"
        assert [outcome.suppress for outcome in seen.outcomes] == [False, True, False, False, False]
        assert [outcome.code for outcome in seen.outcomes] == [250, 550, 250, 450, 250]
        plain = [
            on("rcpt", Say(b"550 no such user\r\n"), address=to[1]),
            on("rcpt", Say(b"452 4.2.2 mailbox full\r\n"), address=to[3]),
        ]
        seen = await _said(rig, *more, *plain, to=to)
        assert [outcome.code for outcome in seen.outcomes] == [250, 550, 250, 452, 250]
        assert len(seen.lines("rcpt")) == len(to), "a recipient who is refused for himself is named a second time"


@check("GC-SMTP-025", after=SENDS)
async def nothing_leaves_for_nobody(rig: Rig) -> None:
    """Where all recipients are refused, there is nobody to send to, even where the server wants the content."""
    to = readers(3)
    for more in (offers("PIPELINING"), offers()):
        for data in (Answer(), Say(b"354 go on\r\n")):
            seen = await exchange(
                rig, [more, on("rcpt", Say(b"550 5.1.1 no such user\r\n")), on("data", data)], message=letter(*to)
            )
            assert not any(message.data for message in seen.taken), "all recipients are refused, and the message left"
            states = {outcome.state for outcome in seen.outcomes}
            assert states == {State.REJECTED}, f"all recipients are refused, and the outcomes are {states}"


@check("GC-SMTP-026", after=SENDS)
async def too_many_recipients_are_for_later(rig: Rig) -> None:
    """A server takes so many in one transaction: the others wait for the next, or for later (section 4.5.3.1.10)."""
    to = readers(5)
    for said in (b"452 4.5.3 too many recipients\r\n", b"452 too many recipients\r\n", b"552 too many recipients\r\n"):
        script = [on("rcpt", Say(said), index=index) for index in (2, 3, 4)]
        for more in ([offers()], [offers("PIPELINING")]):
            seen = await _said(rig, *more, *script, to=to)
            states = {outcome.state for outcome in seen.outcomes}
            assert states <= {State.ACCEPTED, State.DEFERRED}, f"{said!r} after two recipients, and one is rejected"
            assert sum(len(message.recipients) for message in seen.taken) == len(
                [outcome for outcome in seen.outcomes if outcome.state is State.ACCEPTED]
            )


@check("GC-SMTP-027", force=Force.SHOULD, after=("GC-SMTP-026",))
async def too_many_recipients_go_in_the_next(rig: Rig) -> None:
    """Whoever was one too many in a transaction is not in the one behind it."""
    to = readers(5)
    script = [on("rcpt", Say(b"452 4.5.3 too many recipients\r\n"), index=index) for index in (2, 3, 4)]
    seen = await _said(rig, *script, to=to)
    late = [outcome.recipient for outcome in seen.outcomes if outcome.state is not State.ACCEPTED]
    assert not late, f"the server takes two recipients at a time, and {late[0]} is not accepted"


@check("GC-SMTP-028", after=SENDS)
async def silence_before_the_end_is_deferred(rig: Rig) -> None:
    """Nothing was handed over, so another connection may take it."""
    for stage in ("mail", "data"):
        seen = await exchange(rig, [on(stage, Hang())], deadline_s=2 * SHORT_S)
        seen.agree()
        _is_nobodys_fault(seen.outcomes[0], f"silence at the stage {stage}")


@check("GC-SMTP-029", after=SENDS)
async def one_answer_for_several_suppresses_nobody(rig: Rig) -> None:
    """It does not say which of them does not exist."""
    refusal = on("final", Say(b"550 5.1.1 no such user\r\n"))
    for count, suppressed in ((1, True), (2, False)):
        seen = await _said(rig, refusal, to=readers(count))
        found = [outcome.suppress for outcome in seen.outcomes]
        assert found == [suppressed] * count, f"a final 550 5.1.1 for {count}, and suppress is {found}"


@check("GC-SMTP-030", after=SENDS)
async def what_the_server_said_is_kept(rig: Rig) -> None:
    """Whoever looks for a message at the provider asks with these words."""
    odd: str | None = None
    for said, text in (
        (b"250 2.6.0 it is on its way\r\n", "it is on its way"),
        (b"250-2.6.0 it is\r\n250 2.6.0 on its way\r\n", "it is on its way"),
        (b"250-it is\r\n250 on its way\r\n", "it is on its way"),
        (b"250\r\n", ""),
        (b"252 5.1.1 odd, and a yes\r\n", "odd, and a yes"),
    ):
        outcome = (await _said(rig, on("final", Say(said)))).outcomes[0]
        assert outcome.code == int(said[:3]), f"the server says {said!r}, and the code is {outcome.code}"
        assert text in (outcome.text or ""), f"the server says {said!r}, and the text is {outcome.text!r}"
        odd = outcome.enhanced
    for stage, said in (
        ("mail", b"250-ok\r\n250 ok\r\n"),
        ("data", b"354 go on\r\n"),
        ("final", b"250-it is\r\n250 ok\r\n"),
    ):
        outcome = (await _said(rig, on(stage, Drip(said, 0.0)))).outcomes[0]
        assert outcome.state is State.ACCEPTED, f"the answer to {stage.upper()} comes byte by byte: {outcome}"
    assert odd is None, "an enhanced code of another class than the reply's is taken for one"


@check("GC-SMTP-031", force=Force.SHOULD, after=SENDS)
async def the_servers_name_for_a_message_is_kept(rig: Rig) -> None:
    """Logs and bounces of the server call the message by it."""
    for text, name in (
        ("2.0.0 Ok: queued as 4Xyz1B2c3D", "4Xyz1B2c3D"),
        ("OK id=1rXyZ2-000abc-1D", "1rXyZ2-000abc-1D"),
        ("2.0.0 4a5b6c7d Message accepted for delivery", "4a5b6c7d"),
        ("it is on its way", None),
    ):
        outcome = (await _said(rig, on("final", Say(f"250 {text}\r\n".encode())))).outcomes[0]
        assert outcome.provider_id == name, f"the server says {text!r}, and provider_id is {outcome.provider_id}"


async def _steps(rig: Rig, *script: Rule, send_to: str | None = None, deadline_s: float = 3.0) -> list[Step]:
    server = server_of(rig)
    server.forget()
    server.play(script)
    return await rig.steps(send_to=send_to, deadline_s=deadline_s)


@check("GC-SMTP-032", after=STEPS)
async def a_test_tells_what_the_server_said(rig: Rig) -> None:
    """The server's own words are what support asks for first."""
    for stage in ("banner", "ehlo", "auth", "mail"):
        if stage == "auth" and not rig.canaries:
            continue
        for code in (421, 554):
            steps = await _steps(rig, on(stage, Say(b"%d kit says no\r\n" % code)))
            last = steps[-1]
            said = f"the server says {code} at the stage {stage}, and the test"
            assert last.status is Status.FAIL, f"{said} ends as {last.status}"
            assert last.diagnosis is not None, f"{said} has no diagnosis"
            reply = last.diagnosis.server_reply or ""
            assert str(code) in reply and "kit says no" in reply, f"{said} tells {reply!r} as the server's reply"


@check("GC-SMTP-033", after=STEPS)
async def a_test_finds_a_server_that_breaks(rig: Rig) -> None:
    """Wherever the server ends or says something else, that is a failed step, not an exception."""
    for stage in ("connect", "banner", "ehlo", "auth", "mail"):
        for action in (Close(), Garbage()):
            if stage == "auth" and not rig.canaries:
                continue
            steps = await _steps(rig, on(stage, action))
            last = steps[-1]
            assert last.status is Status.FAIL, f"{action} at the stage {stage}, and the test ends as {last.status}"
            assert last.diagnosis is not None, f"{action} at the stage {stage}, and there is no diagnosis"


@check("GC-SMTP-034", after=STEPS)
async def a_test_message_that_is_refused_is_a_failed_step(rig: Rig) -> None:
    """Also where nobody knows whether it was taken."""
    needs(rig.declares("test.message"), "it does not declare test.message")
    to = "kit-tester@example.com"
    codes = []
    for rule in (
        on("rcpt", Say(b"550 5.1.1 kit says no\r\n"), address=to),
        on("data", Say(b"554 5.3.4 kit says no\r\n")),
        on("final", Say(b"554 5.6.0 kit says no\r\n")),
        on("final", Close()),
    ):
        steps = await _steps(rig, rule, send_to=to)
        last = steps[-1]
        said = f"{rule.action} at the stage {rule.stage}, and the test message"
        assert last.status is Status.FAIL, f"{said} is a step that ends as {last.status}"
        assert last.diagnosis is not None, f"{said} has no diagnosis"
        codes.append(last.diagnosis.code)
        if isinstance(rule.action, Say):
            assert "kit says no" in (last.diagnosis.server_reply or ""), f"{said} does not tell the server's reply"
    assert codes[-1] not in codes[:-1], f"a message that may have been taken has the code of a refusal: {codes[-1]}"


@check("GC-SMTP-035", after=STEPS)
async def a_test_asks_for_the_sender(rig: Rig) -> None:
    """Whether this From may send is what most connections fail at; nothing is sent to find out."""
    asked = await _steps(rig)
    said = [line for line in server_of(rig).said if line.stage == "mail"]
    assert any(b"shop@example.com" in line.line for line in said), "the default From is never asked for"
    assert not server_of(rig).taken, "nobody asked for a message, and one was handed over"
    bare = await _steps(rig, on("ehlo", PLAIN))
    wrong = [step.id for step in bare if step.status is Status.FAIL]
    assert not wrong, f"the server offers no extensions, which an ASCII sender does not need, and {wrong[0]} fails"
    gone = await _steps(rig, on("rcpt", Say(b"421 4.3.2 closing\r\n")))
    assert gone[-1].status is Status.FAIL, f"the server goes while it is asked, and the test ends as {gone[-1].status}"
    told = await _steps(rig, on("rcpt", Say(b"550 5.1.1 kit says no\r\n")))
    failed = [step.id for step in told if step.status is Status.FAIL]
    assert not failed, f"the sender has no mailbox, which is no reason why it may not send, and {failed[0]} fails"
    server_of(rig).play([on("ehlo", PLAIN)])
    odd = await rig.steps(default_from="jörg@example.com")
    assert odd[-1].status is Status.FAIL, f"the server cannot take the sender, and the test ends as {odd[-1].status}"
    assert len(told) <= len(asked), "there are more steps where the sender is refused as a recipient"
    assert all(step.diagnosis is not None for step in told if step.status in (Status.WARN, Status.FAIL))


@check("GC-SMTP-038", force=Force.SHOULD, after=STEPS)
async def a_diagnosis_says_where(rig: Rig) -> None:
    """Whoever is asked for help asks first which server it was, and on which port."""
    server = server_of(rig)
    for rule in (on("banner", Say(b"554 5.7.1 kit says no\r\n")), on("ehlo", Garbage()), on("mail", Close())):
        last = (await _steps(rig, rule))[-1]
        assert last.diagnosis is not None, f"{rule.action} at the stage {rule.stage}, and there is no diagnosis"
        evidence = last.diagnosis.evidence
        said = f"{rule.action} at the stage {rule.stage}, and the evidence is {evidence!r}, without"
        assert server.host in evidence, f"{said} the host"
        assert str(server.port) in evidence, f"{said} the port"


@check("GC-SMTP-039", force=Force.SHOULD, after=STEPS)
async def mistakes_can_be_told_apart(rig: Rig) -> None:
    """A wrong port, a port that wants TLS first, a server that is no mail server: each is put right in its own way."""
    server = server_of(rig)
    codes = {}
    with nowhere() as (host, port):
        rig.guard.allow(host, port)
        steps = await rig.steps(rig.structured(relocated(rig.data, server, host, port)), deadline_s=3.0)
        codes["nothing listens"] = _code(steps)
    for what, rule in (
        ("silence", on("banner", Hang())),
        ("another protocol", on("banner", Garbage())),
        ("the end", on("banner", Close())),
        ("a refusal", on("banner", Say(b"554 5.7.1 kit says no\r\n"))),
        ("a refusal of EHLO", on("ehlo", Say(b"554 5.7.1 kit says no\r\n"))),
    ):
        codes[what] = _code(await _steps(rig, rule, deadline_s=1.0))
    assert len(set(codes.values())) == len(codes), f"what goes wrong cannot be told by the codes {codes}"
    for stage, said in (("banner", _UNREADABLE[-1]), ("ehlo", _UNREADABLE[-1]), ("ehlo", _UNREADABLE[0])):
        code = _code(await _steps(rig, on(stage, Say(said))))
        assert code == codes["another protocol"], f"{said[:20]!r} at the stage {stage} has the code {code}"
    for stage in ("ehlo", "mail"):
        code = _code(await _steps(rig, on(stage, Close())))
        assert code == codes["the end"], f"the server goes at the stage {stage}, and the code is {code}"


def _code(steps: Sequence[Step]) -> str:
    diagnosis = steps[-1].diagnosis
    assert diagnosis is not None, f"the test ends as {steps[-1].status}, without a diagnosis"
    return diagnosis.code


@check("GC-SMTP-066", force=Force.SHOULD, after=SENDS)
async def a_wait_that_is_named_is_kept(rig: Rig) -> None:
    """The server knows better than any rule when it is worth coming back."""
    for stage in ("rcpt", "final"):
        for words, seconds in (("try again in 300 seconds", 300.0), ("try again in 5 minutes", 300.0)):
            seen = await _said(rig, on(stage, Say(f"450 4.2.1 mailbox busy, {words}\r\n".encode())))
            found = seen.outcomes[0].retry_after_s
            assert found == seconds, f"the server says {words!r} at the stage {stage}, and retry_after_s is {found}"
        seen = await _said(rig, on(stage, Say(b"550 5.2.1 mailbox closed, try again in 300 seconds\r\n")))
        found = seen.outcomes[0].retry_after_s
        assert found is None, f"the server refuses for good, and retry_after_s is {found}"


@check("GC-SMTP-067", force=Force.SHOULD, after=("GC-SMTP-034",))
async def a_test_message_can_be_found(rig: Rig) -> None:
    """By its Message-ID in a mailbox, and by the server's name for it in a log."""
    steps = await _steps(rig, on("final", Say(b"250 2.0.0 Ok: queued as 4Xyz1B2c3D\r\n")), send_to="kit@example.com")
    (message,) = server_of(rig).taken
    field = re.search(rb"(?im)^message-id:\s*(\S+)", message.data)
    assert field is not None, "the test message has no Message-ID"
    facts = {str(value).strip("<>") for step in steps for value in step.facts.values()}
    for what, value in (
        ("Message-ID", field[1].decode().strip("<>")),
        ("name", "4Xyz1B2c3D"),
        ("recipient", "kit@example.com"),
    ):
        assert value in facts, f"no fact of a step is the {what} of the test message"
    assert message.recipients == ("kit@example.com",), f"the test message went to {message.recipients}"
    assert message.envelope_from == "shop@example.com", f"the test message came from {message.envelope_from}"
