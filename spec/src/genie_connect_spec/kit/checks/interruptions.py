"""Batches that an SMTP server interrupts: what it does after it has said good-bye, and what it never said.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import itertools
from typing import Final

from genie_connect.model.outcome import State
from genie_connect_spec.kit.check import Force, check
from genie_connect_spec.kit.checks.batches import FEW, MANY, SERVERS, sent
from genie_connect_spec.kit.conversation import exchange, offers, only_the, readers
from genie_connect_spec.kit.letters import letter
from genie_connect_spec.kit.rig import Rig
from genie_connect_spec.smtp_script import Action, Answer, Close, Decide, Reply421, Say, on

BATCHES: Final = ("GC-SMTP-040", "GC-SMTP-043")


@check("GC-SMTP-070", force=Force.SHOULD, after=("GC-SMTP-025",))
async def content_is_not_announced_for_nobody(rig: Rig) -> None:
    """Where each answer is waited for, it is known before DATA that there is nobody to send to."""
    for count in (1, 3):
        rules = [offers(), on("rcpt", Say(b"550 5.1.1 no such user\r\n"))]
        seen = await exchange(rig, rules, message=letter(*readers(count)))
        assert not seen.lines("data"), f"all {count} recipients are refused, and DATA follows"


@check("GC-SMTP-071", after=BATCHES)
async def a_server_that_stays_after_its_good_bye_is_believed(rig: Rig) -> None:
    """Whatever it answers afterwards counts, and what it leaves unanswered may have been taken."""
    for server in SERVERS:
        for stage in ("mail", "rset") if server is SERVERS[0] else ("mail",):
            for last in (5, 7):
                good_bye, end = only_the(4, Reply421(close=False)), only_the(last, Close())
                seen = await sent(rig, server, on(stage, good_bye), on("final", end), doubts=True)
                said = f"the server says 421 at the stage {stage} and stays, and goes at the {last}th message"
                unanswered = {each for message in seen.taken if not message.code for each in message.recipients}
                for outcome in seen.outcomes:
                    again = [message for message in seen.taken if outcome.recipient in message.recipients]
                    assert len(again) <= 1, f"{said}: {outcome.recipient} was handed over {len(again)} times"
                    hidden = outcome.recipient in unanswered and outcome.state is not State.UNKNOWN
                    assert not hidden, f"{said} without an answer: {outcome.recipient} is {outcome.state}"


@check("GC-SMTP-073", force=Force.SHOULD, after=("GC-SMTP-023",))
async def a_reply_out_of_step_is_told(rig: Rig) -> None:
    """Somebody has to find out what that server means by it."""
    for stage in ("mail", "rcpt", "data"):
        said = b"250 2.0.0 kit is out of step\r\n" if stage == "data" else b"354 kit is out of step\r\n"
        for more in (offers(), offers("PIPELINING")):
            seen = await exchange(rig, [more, on(stage, Say(said))], deadline_s=3.0)
            (outcome,) = seen.outcomes
            what = f"the server says {said!r} at the stage {stage}, and"
            assert outcome.reason == "protocol", f"{what} the reason is {outcome.reason}"
            assert "out of step" in (outcome.text or ""), f"{what} the text of the outcome is {outcome.text!r}"


@check("GC-SMTP-075", after=("GC-SMTP-045",))
async def a_reply_too_many_stands_for_no_other(rig: Rig) -> None:
    """Whoever counts it as the next one's has one to spare for the last message, which is never answered."""
    for server in SERVERS:
        count = MANY if server is SERVERS[0] else FEW
        for stage in ("rcpt", "final", "rset"):
            spare = only_the(4, Answer(after=b"250 2.1.5 once more, with other words\r\n"))
            for last in (count - 1, count):
                rules = [on(stage, spare), on("final", only_the(last, Close()))]
                if stage == "final":
                    rules = [on("final", _twice_and_gone(last))]
                seen = await exchange(rig, [server, *rules], copies=count, deadline_s=15.0)
                for outcome in seen.outcomes:
                    took = any(outcome.recipient in each.recipients and each.accepted for each in seen.taken)
                    lie = outcome.state is State.ACCEPTED and not took
                    assert not lie, (
                        f"a reply too many at {stage.upper()}, none to the {last}th message, and {outcome.recipient} "
                        f"is accepted"
                    )


def _twice_and_gone(last: int) -> Decide:
    """Two answers to the fourth message, and none to the last: of several rules for a stage the first one counts."""
    spare, count = Answer(after=b"250 2.1.5 once more, with other words\r\n"), itertools.count(1)
    actions: dict[int, Action] = {4: spare, last: Close()}
    return Decide(lambda record: actions.get(next(count), Answer()))
