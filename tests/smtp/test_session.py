"""Sessions in each mode against transcripts, and each trap of pipelining by name."""

from __future__ import annotations

import logging

import pytest

from genie_connect.model.outcome import Retry
from genie_connect_smtp.content import Content
from genie_connect_smtp.errors import Fault
from genie_connect_smtp.ladder import Ladder, Rung
from genie_connect_smtp.outgoing import MAX_RESETS_IN_A_ROW
from tests.smtp.talk import Talk, letter, states

_FRAME = ("MAIL FROM:<{0}@s.example>", "RCPT TO:<a@x.example>", "BDAT 21 LAST", "body", "RSET")
_OK = ("250 2.1.0 sender", "250 2.1.5 recipient", "250 2.0.0 queued as 4XY7Z", "250 2.0.0 reset")


def _envelope(number: int) -> list[str]:
    return [f"MAIL FROM:<{number}@s.example>", "RCPT TO:<a@x.example>", "DATA"]


def _frame(number: int) -> list[str]:
    return [line.format(number) for line in _FRAME]


def _streaming(count: int, *, window: int = 16) -> Talk:
    """A session in which BDAT is known to work, with so many messages on their way."""
    talk = Talk("chunking", *(letter(number) for number in range(count)), window=window)
    talk.ladder.chunking_works = True
    talk.go()
    return talk


# What goes out when.


def test_one_at_a_time_waits_for_each_reply() -> None:
    """Rung A: four round trips."""
    talk = Talk("off", letter(0), letter(1))
    assert talk.go() == ["MAIL FROM:<0@s.example>"]
    assert talk.hear("250 ok") == ["RCPT TO:<a@x.example>"]
    assert talk.hear("250 ok") == ["DATA"]
    assert talk.hear("354 go") == ["body", "."]
    assert talk.hear("250 ok") == ["MAIL FROM:<1@s.example>"]


def test_the_envelope_goes_together() -> None:
    """Rung B2: two round trips."""
    talk = Talk("envelope", letter(0), letter(1))
    assert talk.go() == _envelope(0)
    assert talk.hear("250 ok", "250 ok", "354 go") == ["body", "."]
    assert talk.hear("250 ok") == _envelope(1)


def test_a_message_goes_with_the_next_envelope() -> None:
    """Rung B: one round trip, in one write."""
    talk = Talk("next", letter(0), letter(1), letter(2))
    assert talk.go() == _envelope(0)
    assert talk.hear("250 ok", "250 ok", "354 go") == ["body", ".", *_envelope(1)]
    assert talk.hear("250 ok", "250 ok", "250 ok", "354 go") == ["body", ".", *_envelope(2)]
    assert talk.hear("250 ok", "250 ok", "250 ok", "354 go") == ["body", "."]
    talk.hear("250 ok")
    assert states(*talk.done) == ["accepted"] * 3
    assert talk.session.idle


def test_many_messages_are_on_their_way() -> None:
    """Rung C: as many as the window has room for, and RSET between any two."""
    talk = _streaming(5, window=3)
    assert talk.said == ["RSET", *_frame(0), *_frame(1), *_frame(2)]
    assert talk.hear("250 2.0.0 reset", *_OK) == _frame(3)
    assert talk.hear(*_OK, *_OK) == _frame(4)
    talk.hear(*_OK, *_OK)
    assert states(*talk.done) == ["accepted"] * 5
    assert talk.session.idle


def test_the_window_counts_bytes_as_well() -> None:
    """Two messages of 21 bytes do not fit into 40."""
    talk = Talk("chunking", letter(0), letter(1), window_bytes=40)
    talk.ladder.chunking_works = True
    talk.go()
    assert talk.said == ["RSET", *_frame(0)]


def test_the_first_chunk_goes_alone() -> None:
    """Nothing is known of how the server takes BDAT before it has taken one."""
    talk = Talk("chunking", *(letter(number) for number in range(3)))
    assert talk.go() == ["RSET", *_frame(0)]
    assert talk.hear("250 2.0.0 reset", *_OK) == [*_frame(1), *_frame(2)]


def test_several_recipients_never_go_blindly() -> None:
    """Trap 3: which of them are taken has to be known before the content leaves; large content goes by DATA as well."""
    talk = _streaming(1)
    talk.queue += [letter(1, recipients=2), letter(2)]
    assert talk.hear("250 2.0.0 reset", *_OK) == [*_envelope(1)[:2], "RCPT TO:<b@x.example>", "DATA"]
    assert talk.hear("250 ok", "250 ok", "550 5.1.1 no", "354 go") == ["body", "."]
    assert talk.hear("250 ok")[-5:] == _frame(2)
    large = Talk("chunking", letter(0, content=Content(size_bytes=1 << 20, chunks=[b"x\r\n"])))
    assert large.go() == _envelope(0)


def test_without_the_extensions_nothing_runs_ahead() -> None:
    """PIPELINING for all of it, CHUNKING for BDAT."""
    assert Talk("auto", letter(0), keywords="").go() == ["MAIL FROM:<0@s.example>"]
    assert Talk("chunking", letter(0), keywords="pipelining").go() == _envelope(0)
    assert Talk("chunking", letter(0), keywords="chunking").go() == ["MAIL FROM:<0@s.example>"]


def test_one_message_alone_needs_no_chunks() -> None:
    """auto: BDAT is for broadcasts; a single message is never in more doubt than it has to be."""
    talk = Talk("auto", letter(0))
    talk.session.window.copies = 1
    assert talk.go() == _envelope(0)


def test_large_content_is_streamed_and_its_end_goes_apart() -> None:
    """A loss in the middle of it is certain, and the next envelope goes with the end mark."""
    first = letter(0, content=Content(size_bytes=1 << 20, chunks=[b"x\r\n"]))
    talk = Talk("next", first, letter(1))
    talk.go()
    assert talk.hear("250 ok", "250 ok", "354 go") == []
    assert talk.session.streaming is first
    talk.session.body_written()
    assert talk.go() == [".", *_envelope(1)]


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.TIMEOUT])
def test_a_loss_in_the_middle_of_streamed_content_is_certain(fault: Fault) -> None:
    """The end mark was never written."""
    talk = Talk("next", letter(0, content=Content(size_bytes=1 << 20, chunks=[b"x\r\n"])))
    talk.go()
    talk.hear("250 ok", "250 ok", "354 go")
    talk.lose(fault)
    assert states(*talk.done) == ["deferred"]


# Trap 1: the foreign envelope.


def test_a_reset_stands_before_every_message_behind_another() -> None:
    """Trap 1: Exim 4.96 sends a message under the envelope of the one before, if that is still open."""
    talk = _streaming(6)
    mails = [index for index, word in enumerate(talk.said) if word.startswith("MAIL")]
    assert [talk.said[index - 1] for index in mails] == ["RSET"] * 6


def test_a_message_accepted_without_its_sender_is_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """Trap 1: nobody knows under which envelope it went; nothing behind it is believed either."""
    talk = _streaming(3)
    talk.hear("250 2.0.0 reset", *_OK)
    talk.hear("550 5.1.7 bad sender", "250 ok", "250 2.0.0 queued as 5AB6C")
    assert states(*talk.done) == ["accepted", "unknown", "unknown"]
    assert talk.session.over
    assert [record.levelno for record in caplog.records if "envelope" in record.message] == [logging.ERROR]


def test_a_message_accepted_without_a_recipient_is_an_alarm() -> None:
    """Trap 1: the recipient of another message got it."""
    talk = _streaming(1)
    talk.hear("250 2.0.0 reset", "250 ok", "550 5.1.1 no", "250 2.0.0 queued as 5AB6C")
    assert states(*talk.done) == ["unknown"]
    assert talk.session.over


def test_a_refused_sender_in_the_middle_harms_nobody() -> None:
    """Its own reply counts, and not the one to BDAT."""
    talk = _streaming(3)
    talk.hear("250 2.0.0 reset", *_OK)
    talk.hear("550 5.1.7 bad sender", "503 no MAIL", "503 no RCPT", "250 2.0.0 reset", *_OK)
    assert states(*talk.done) == ["accepted", "rejected", "accepted"]
    (refused,) = talk.done[1].settled()
    assert refused.reply is not None
    assert refused.reply.code == 550


# Trap 2: DATA has gone before the recipients were known.


@pytest.mark.parametrize("pipelining", ["envelope", "next"])
@pytest.mark.parametrize("data", ["503 no recipients", "554 no valid recipients", "354 go"])
def test_the_reply_to_rcpt_counts_and_not_the_one_to_data(pipelining: str, data: str) -> None:
    """Trap 2: 450 stays temporary whatever DATA is answered, no content leaves, and the next begins with RSET."""
    talk = Talk(pipelining, letter(0), letter(1))
    talk.go()
    said = talk.hear("250 ok", "450 4.2.0 later", data)
    if data.startswith("354"):
        assert said[0] == "."
        said = said[1:] or talk.hear("250 2.0.0 queued, would you believe it")
        if pipelining == "next":
            talk.hear("554 no recipients")
    assert said == ["RSET", *_envelope(1)]
    (result,) = talk.done[0].settled()
    assert result.reply is not None
    assert (states(talk.done[0]), result.reply.code) == (["deferred"], 450)
    assert "body" not in talk.said


@pytest.mark.parametrize("pipelining", ["envelope", "next"])
def test_content_is_never_sent_for_a_refused_sender(pipelining: str) -> None:
    """Trap 2: a server that invites it all the same is out of step, and is left."""
    talk = Talk(pipelining, letter(0))
    talk.go()
    assert talk.hear("550 5.1.7 no", "503 no", "354 go") == []
    assert talk.session.over
    assert states(*talk.done) == ["rejected"]


@pytest.mark.parametrize("pipelining", ["envelope", "next"])
def test_recipients_without_room_wait_for_the_next_transaction(pipelining: str) -> None:
    """452 to one of several, with DATA behind them: those taken go now."""
    first = letter(0, recipients=4)
    talk = Talk(pipelining, first)
    talk.go()
    assert talk.hear("250 ok", "250 ok", "452 4.5.3 full", "250 ok", "550 5.1.1 no", "354 go") == ["body", "."]
    talk.hear("250 ok")
    assert states(first) == ["accepted", "-", "accepted", "rejected"]
    assert first.overflow == [1]


# Traps 4 and 5: the server leaves, or is gone.


@pytest.mark.parametrize(
    ("before", "its_own"),
    [([], "returned"), (["250 ok"], "deferred"), (["250 ok", "250 ok"], "deferred")],
    ids=["mail", "rcpt", "final"],
)
def test_good_bye_in_the_middle_of_a_window_is_certain(before: list[str], its_own: str) -> None:
    """Trap 4: answered before, stands; answered 421, deferred; behind it, not handed over, and free to go elsewhere.

    Where 421 is the first that it was told, it was not tried either: the server had left before.
    """
    talk = _streaming(5)
    talk.hear("250 2.0.0 reset", *_OK, *_OK)
    assert talk.hear(*before, "421 4.3.2 going down") == []
    talk.lose()
    assert states(*talk.done) == ["accepted", "accepted", its_own, "returned", "returned"]
    assert [result.verdict.suppress for result in talk.done[2].settled()] == [False] * (its_own == "deferred")


def test_good_bye_to_a_reset_in_the_middle_of_a_window_is_certain() -> None:
    """Trap 4: what is answered stands, and of what is behind nothing was handed over."""
    talk = _streaming(4)
    talk.hear("250 2.0.0 reset", *_OK, *_OK[:3])
    assert talk.hear("421 4.3.2 going down") == []
    talk.lose()
    assert states(*talk.done) == ["accepted", "accepted", "returned", "returned"]


def test_a_server_that_says_good_bye_and_stays_is_heard_out() -> None:
    """Trap 4: some go on all the same, and what they then accept is accepted."""
    talk = _streaming(3)
    talk.hear("250 2.0.0 reset", "421 4.3.2 busy", "503 no", "503 no", "250 2.0.0 reset")
    assert not talk.session.over
    talk.hear(*_OK)
    talk.hear("250 ok", "550 5.1.1 no", "554 no")
    assert not talk.done or "unknown" not in states(*talk.done)
    talk.hear("250 2.0.0 reset")
    assert states(*talk.done) == ["deferred", "accepted", "rejected"]
    assert talk.session.over


def test_a_lost_connection_leaves_the_window_in_doubt_and_nothing_else() -> None:
    """Trap 5: what had left whole and was not answered; what had not begun may go elsewhere."""
    talk = _streaming(5, window=3)
    talk.hear("250 2.0.0 reset", *_OK[:3])
    talk.lose()
    assert states(*talk.done) == ["accepted", "unknown", "unknown"]
    assert len(talk.queue) == 2
    assert {result.verdict.retry for result in talk.done[1].settled()} == {Retry.NEVER}
    assert talk.ladder.top is Rung.NEXT


def test_a_lost_connection_leaves_at_most_one_in_doubt() -> None:
    """Trap 5, rung B: the envelope that ran ahead was not handed over."""
    talk = Talk("next", letter(0), letter(1))
    talk.go()
    talk.hear("250 ok", "250 ok", "354 go")
    talk.lose()
    assert states(*talk.done) == ["unknown", "returned"]


@pytest.mark.parametrize("pipelining", ["off", "envelope", "next"])
@pytest.mark.parametrize("gone", ["421 4.3.2 bye", "221 bye", "451 4.4.2 timed out", ""])
def test_a_stale_first_reply_costs_nothing(pipelining: str, gone: str) -> None:
    """The server had left meanwhile; on a connection that has carried nothing it is a failure like any other."""
    for carried, wanted in (([letter(0)], ["accepted", "returned"]), ([], ["deferred"])):
        talk = Talk(pipelining, *carried)
        talk.go()
        for line in ("250 ok", "250 ok", "354 go", "250 ok") if carried else ():
            talk.hear(line)
        talk.queue.append(letter(1))
        talk.session.resumed = True
        talk.go()
        if gone:
            talk.hear(gone)
        if not talk.session.over:
            talk.lose()
        assert states(*talk.done) == wanted


def test_nothing_goes_blindly_over_a_connection_that_was_idle() -> None:
    """With BDAT the whole message would be in doubt if the server had left; RSET asks first."""
    talk = _streaming(1)
    talk.hear("250 2.0.0 reset", *_OK)
    talk.session.resumed = True
    talk.queue += [letter(1), letter(2)]
    assert talk.go() == ["RSET"]
    talk.lose()
    assert states(*talk.done) == ["accepted", "returned"]
    talk = _streaming(1)
    talk.hear("250 2.0.0 reset", *_OK)
    talk.session.resumed = True
    talk.queue += [letter(1), letter(2)]
    talk.go()
    assert talk.hear("250 2.0.0 reset") == [*_frame(1), *_frame(2)]


# Trap 6: replies that nobody asked for.


def test_a_reply_too_many_among_the_chunks_is_noticed() -> None:
    """The replies to RSET differ then; QUIT shows that the count is wrong, and nothing of that stretch is believed."""
    talk = _streaming(3)
    talk.hear("250 2.0.0 reset", *_OK)
    said = talk.hear("250 2.1.0 sender", "250 2.0.0 what is this", "250 2.1.5 recipient", "250 2.0.0 queued as 4XY7Z")
    assert said == ["QUIT"]
    talk.hear("250 2.0.0 reset", *_OK)
    assert states(*talk.done) == ["accepted", "unknown", "unknown"]
    assert talk.ladder.top is Rung.NEXT


def test_a_server_that_words_its_replies_anew_each_time_is_believed() -> None:
    """Where 221 stands in its place every reply was in its place."""
    talk = _streaming(2)
    talk.hear("250 2.0.0 reset", *_OK[:3])
    assert talk.hear("250 2.0.0 as fresh as a daisy") == ["QUIT"]
    talk.hear("250 ok", "550 5.1.1 no", "554 no", "250 2.0.0 forgotten")
    assert not talk.done
    talk.hear("221 bye")
    assert states(*talk.done) == ["accepted", "rejected"]
    assert talk.ladder.top is Rung.NEXT


def test_ids_in_replies_to_reset_are_no_difference() -> None:
    """Gmail names the session in each reply."""
    talk = _streaming(1)
    talk.hear("250 2.1.5 Flushed d2e1a72fcca58-6b1 - gsmtp", *_OK[:3], "250 2.1.5 Flushed 9f0e8d7c-11 - gsmtp")
    assert states(*talk.done) == ["accepted"]
    assert not talk.session.over


@pytest.mark.parametrize("pipelining", ["envelope", "next"])
def test_a_reply_too_many_in_an_envelope_takes_all_of_it_back(pipelining: str) -> None:
    """A refusal that may have been another command's refuses nobody."""
    talk = Talk(pipelining, letter(0, recipients=2))
    talk.go()
    talk.hear("250 ok", "550 5.1.1 no such user", "250 ok", "250 ok")
    assert states(*talk.done) == ["deferred", "deferred"]
    assert {result.verdict.kind for result in talk.done[0].settled()} == {"protocol"}
    assert talk.session.over


# Traps 9 and 11: what servers do not like.


def test_what_is_refused_behind_the_end_of_a_message_goes_again() -> None:
    """Trap 9: Haraka answers 503 to it; nothing was accepted, and nothing runs ahead on that server any more."""
    talk = Talk("next", letter(0), letter(1), letter(2))
    talk.go()
    talk.hear("250 ok", "250 ok", "354 go")
    assert talk.hear("250 ok", "503 bad sequence", "503 bad sequence", "503 bad sequence") == ["RSET", *_envelope(1)]
    assert talk.hear("250 reset", "250 ok", "250 ok", "354 go") == ["body", "."]
    assert talk.hear("250 ok") == _envelope(2)
    assert states(*talk.done) == ["accepted", "accepted"]
    assert talk.ladder.top is Rung.ENVELOPE


def test_503_to_a_sender_that_did_not_run_ahead_is_a_refusal() -> None:
    """Trap 9: or it would be tried for ever."""
    talk = Talk("next", letter(0))
    talk.go()
    talk.hear("503 no", "503 no", "503 no")
    assert states(*talk.done) == ["rejected"]


def test_a_server_without_bdat_that_offers_it_gets_data() -> None:
    """Nothing was accepted, the content may have been read as commands, so it goes again over another connection."""
    talk = Talk("chunking", letter(0), letter(1))
    talk.go()
    talk.hear("250 reset", "250 ok", "250 ok", "502 what is BDAT")
    assert states(*talk.done) == ["returned"]
    assert talk.session.over
    assert talk.ladder.top is Rung.NEXT


@pytest.mark.parametrize("pipelining", ["next", "chunking"])
def test_a_run_of_refused_messages_gets_a_new_connection(pipelining: str) -> None:
    """Trap 11: Postfix takes a hundred RSETs with no message between them for junk."""
    talk = Talk(pipelining, *(letter(number) for number in range(200)), window=4)
    talk.ladder.chunking_works = True
    talk.go()
    if pipelining == "chunking":
        talk.hear("250 2.0.0 reset")
    for _ in range(200):
        if pipelining == "chunking":
            talk.hear("250 ok", "550 5.1.1 no", "554 no", "250 2.0.0 reset")
        else:
            talk.hear(*["250 reset"] * bool(talk.done), "250 ok", "550 5.1.1 no", "554 no")
        if talk.session.idle:
            break
    assert talk.session.full
    assert MAX_RESETS_IN_A_ROW <= len(talk.done) <= MAX_RESETS_IN_A_ROW + 1
    assert talk.said.count("RSET") <= MAX_RESETS_IN_A_ROW + 1


def test_the_ladder_only_steps_down() -> None:
    """What one connection has learned holds for all of that server."""
    ladder = Ladder("auto")
    assert ladder.top is Rung.CHUNKING
    ladder.step_down(Rung.ENVELOPE, "of a test")
    ladder.step_down(Rung.NEXT, "of a test")
    assert ladder.top is Rung.ENVELOPE


def test_a_connection_carries_no_more_than_it_may() -> None:
    """MAILMAX of RFC 9422, or the setting; what runs ahead counts."""
    for pipelining in ("off", "next", "chunking"):
        talk = Talk(pipelining, *(letter(number) for number in range(5)), most=2)
        talk.ladder.chunking_works = True
        talk.go()
        for _ in range(12):
            if not talk.session.idle:
                last = talk.said[-1]
                talk.hear("354 go" if last == "DATA" else "250 2.0.0 ok")
        assert sum(word.startswith("MAIL") for word in talk.said) <= 2
