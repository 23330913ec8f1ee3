"""The rules of a transaction against transcripts, without a network, one command at a time."""

from __future__ import annotations

import pytest

from genie_connect.model.outcome import Retry, Scope, State
from genie_connect_smtp.content import Content
from genie_connect_smtp.errors import Fault
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import Ladder
from genie_connect_smtp.session import Session
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.transaction import Envelope, SenderProbe, Transaction
from tests.smtp.talk import MODES, PEOPLE, Talk

_LARGE = Content(size_bytes=1_000_000, chunks=[b"x" * 998 + b"\r\n"] * 1000)


def _transaction(count: int = 1) -> Transaction:
    return Transaction(
        Envelope(sender="shop@example.com", recipients=PEOPLE[:count]), Content.of([b"Subject: x\r\n\r\nx\r\n"], 17)
    )


def _play(transaction: Transaction, *lines: str) -> list[str]:
    """Give the replies in turn; returns what was said, and whether the connection may go on."""
    talk = Talk("off", transaction)
    talk.go()
    for line in lines:
        talk.hear(line)
    if talk.session.over:
        return [*talk.said, "dropped"]
    return [*talk.said, "finished"] if talk.session.idle else talk.said


def _states(transaction: Transaction) -> list[str | None]:
    return [result.verdict.state.value if result else None for result in transaction.results]


def test_a_message_is_taken() -> None:
    """The plain case."""
    machine = _transaction(2)
    said = _play(machine, "250 ok", "250 ok", "251 will forward", "354 go", "250 2.0.0 queued as 4XYZ")
    people = ["RCPT TO:<a@x.example>", "RCPT TO:<b@x.example>"]
    assert said == ["MAIL FROM:<shop@example.com>", *people, "DATA", "body", ".", "finished"]
    assert _states(machine) == ["accepted", "accepted"]


def test_mail_carries_the_parameters_needed() -> None:
    """SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), and none that was not asked for."""
    line = Envelope(sender="a@b.example", recipients=(), size_bytes=7, eight_bit=True, smtputf8=True).mail_command()
    assert line == b"MAIL FROM:<a@b.example> SIZE=7 BODY=8BITMIME SMTPUTF8\r\n"
    assert Envelope(sender="", recipients=()).mail_command() == b"MAIL FROM:<>\r\n"


def test_recipients_are_judged_one_by_one() -> None:
    """T13, F20: one bad address does not keep the others from their mail."""
    machine = _transaction(3)
    replies = ("250 ok", "250 ok", "550 5.1.1 User unknown", "450 4.2.0 Greylisted", "354 go", "250 ok")
    assert _play(machine, *replies)[-1] == "finished"
    assert _states(machine) == ["accepted", "rejected", "deferred"]
    rejected, deferred = machine.results[1], machine.results[2]
    assert rejected is not None
    assert deferred is not None
    assert rejected.verdict.suppress
    assert deferred.verdict.retry is Retry.SAME


def test_without_any_recipient_no_data_is_sent() -> None:
    """And the connection may go on."""
    machine = _transaction(2)
    said = _play(machine, "250 ok", "550 5.1.1 no", "550 5.1.1 no")
    assert said[-1] == "finished"
    assert "DATA" not in said


def test_a_refused_sender_settles_everybody() -> None:
    """And asks for another connection, never for a rewritten From."""
    machine = _transaction(2)
    said = _play(machine, "550 5.1.7 bad sender")
    assert said == ["MAIL FROM:<shop@example.com>", "finished"]
    assert {result.verdict.retry for result in machine.settled()} == {Retry.OTHER}


@pytest.mark.parametrize("full", ["452 4.5.3 too many", "452 too many recipients", "552 too many recipients"])
def test_too_many_recipients_are_left_for_the_next_transaction(full: str) -> None:
    """T15, RFC 5321 section 4.5.3.1.10: those taken go now, the rest goes next, nobody twice."""
    machine = _transaction(5)
    said = _play(machine, "250 ok", "250 ok", "250 ok", full, "354 go", "250 ok")
    assert said[-4:] == ["DATA", "body", ".", "finished"]
    assert "RCPT TO:<d@x.example>" not in said
    assert _states(machine) == ["accepted", "accepted", None, None, None]
    assert machine.overflow == [2, 3, 4]


def test_a_server_with_no_room_for_the_first_recipient_is_a_deferral() -> None:
    """Otherwise the same would be asked for ever."""
    machine = _transaction(1)
    _play(machine, "250 ok", "452 4.5.3 too many")
    assert _states(machine) == ["deferred"]
    assert machine.overflow == []


@pytest.mark.parametrize("leaving", ["421 4.3.2 bye", "221 bye"])
@pytest.mark.parametrize("before", range(4))
def test_a_server_that_leaves_says_nothing_about_recipients(before: int, leaving: str) -> None:
    """T09, F18, F19: what was answered before stays, the rest was not handed over."""
    replies = ["250 ok", "550 5.1.1 no", "250 ok", "354 go"]
    machine = _transaction(2)
    said = _play(machine, *replies[:before], leaving)
    assert said[-1] == "dropped"
    assert "." not in said
    for index, result in enumerate(machine.results):
        assert result is not None
        if index == 0 and before >= 2:
            assert result.verdict.suppress
        else:
            assert (result.verdict.state, result.verdict.scope) == (State.DEFERRED, Scope.CONNECTION)
            assert not result.verdict.suppress


@pytest.mark.parametrize(
    ("line", "state", "reusable"),
    [
        ("250 ok", "accepted", True),
        ("251 ok", "accepted", True),
        ("259 ok", "accepted", True),
        ("200 ok", "accepted", True),
        ("354 go", "unknown", False),
        ("421 4.3.2 bye", "deferred", False),
        ("451 4.3.0 later", "deferred", True),
        ("550 5.7.1 policy", "rejected", True),
        ("554 no", "rejected", True),
    ],
)
def test_the_answer_to_the_message_decides(line: str, state: str, reusable: bool) -> None:
    """F32, F33."""
    machine = _transaction()
    said = _play(machine, "250 ok", "250 ok", "354 go", line)
    assert _states(machine) == [state]
    assert said[-1] == ("finished" if reusable else "dropped")


def test_a_final_answer_for_several_suppresses_nobody() -> None:
    """Which of them does not exist is not said."""
    machine = _transaction(2)
    _play(machine, "250 ok", "250 ok", "250 ok", "354 go", "550 5.1.1 User unknown")
    assert [result.verdict.suppress for result in machine.settled()] == [False, False]
    alone = _transaction(1)
    _play(alone, "250 ok", "250 ok", "354 go", "550 5.1.1 User unknown")
    assert [result.verdict.suppress for result in alone.settled()] == [True]


@pytest.mark.parametrize("replies", [["354 go"], ["250 ok", "354 go"], ["250 ok", "250 ok", "250 ok"], ["334 "]])
def test_a_reply_out_of_step_ends_the_connection(replies: list[str]) -> None:
    """F27, F28: nothing was handed over, and nothing further is believed."""
    machine = _transaction()
    assert _play(machine, *replies)[-1] == "dropped"
    (result,) = machine.settled()
    assert (result.verdict.kind, result.verdict.state) == ("protocol", State.DEFERRED)


def test_refused_data_settles_those_who_were_taken() -> None:
    """And the connection may go on."""
    machine = _transaction(2)
    said = _play(machine, "250 ok", "550 5.1.1 no", "250 ok", "451 4.3.0 later")
    assert said[-1] == "finished"
    assert _states(machine) == ["rejected", "deferred"]


@pytest.mark.parametrize(
    "replies",
    [["550 5.1.7 no"], ["250 ok", "550 5.1.1 no"], ["250 ok", "250 ok", "451 4.3.0 later"]],
    ids=["mail", "rcpt", "data"],
)
def test_a_transaction_that_ended_early_is_reset_before_the_next(replies: list[str]) -> None:
    """Or the next would go out under its envelope."""
    talk = Talk("off", _transaction(), _transaction())
    talk.go()
    for line in replies:
        said = talk.hear(line)
    assert said == ["RSET"]
    assert talk.hear("250 reset") == ["MAIL FROM:<shop@example.com>"]


def test_a_transaction_that_was_answered_needs_no_reset() -> None:
    """RFC 5321 section 4.1.1.4: the end of the data leaves nothing to reset, whatever was answered."""
    talk = Talk("off", _transaction(), _transaction())
    talk.go()
    for line in ("250 ok", "250 ok", "354 go"):
        talk.hear(line)
    assert talk.hear("554 no") == ["MAIL FROM:<shop@example.com>"]


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.TIMEOUT, Fault.MALFORMED_REPLY])
@pytest.mark.parametrize(("before", "state"), [(0, "deferred"), (1, "deferred"), (2, "deferred"), (3, "unknown")])
def test_a_lost_connection_leaves_doubt_only_after_the_end_mark(before: int, state: str, fault: Fault) -> None:
    """T03, T10."""
    talk = Talk("off", _transaction())
    talk.go()
    for line in ["250 ok", "250 ok", "354 go"][:before]:
        talk.hear(line)
    talk.lose(fault)
    assert _states(talk.done[0]) == [state]
    assert talk.session.over


def test_a_refusal_during_the_content_is_an_answer() -> None:
    """T12, F34: the end mark is never written, so nothing is in doubt."""
    machine = Transaction(Envelope(sender="shop@example.com", recipients=PEOPLE[:1]), _LARGE)
    talk = Talk("off", machine)
    talk.go()
    for line in ("250 ok", "250 ok", "354 go"):
        talk.hear(line)
    assert talk.session.streaming is machine
    assert talk.hear("552 5.3.4 too big") == []
    (result,) = machine.settled()
    assert (result.verdict.kind, result.verdict.state, result.stage) == ("too_large", State.REJECTED, Stage.BODY)
    assert talk.session.over


@pytest.mark.parametrize("pipelining", MODES)
def test_a_probe_sends_nothing(pipelining: str) -> None:
    """The connector test asks about the sender, and whatever follows begins with a reset."""
    probe = SenderProbe(Envelope(sender="a@b.example", recipients=("a@b.example",)))
    talk = Talk(pipelining, probe, _transaction())
    talk.go()
    while probe not in talk.done:
        said = talk.hear("250 ok")
    assert _states(probe) == ["accepted"]
    assert said[0] == "RSET"
    assert "DATA" not in talk.said[: talk.said.index("RSET")]


@pytest.mark.parametrize("address", ["a@x>\r\nRCPT TO:<e@y", "a@x> NOTIFY=NEVER", "a@x\tSIZE=1", "a@x\x00"])
def test_a_command_cannot_be_broken_out_of(address: str) -> None:
    """T30: the model refuses such addresses; this is the last line of defence."""
    with pytest.raises(ValueError, match="command"):
        Envelope(sender=address, recipients=()).mail_command()
    session = Session(Extensions(), Ladder("off"))
    session.supply = lambda: Transaction(Envelope(sender="a@b.example", recipients=(address,)))
    with pytest.raises(ValueError, match="command"):
        session.output()
