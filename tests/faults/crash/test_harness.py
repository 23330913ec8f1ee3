"""The harness itself: it must see what goes wrong, or all its peace means nothing."""

from __future__ import annotations

import signal
import smtplib
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.crash.accounting import Ledger, judge
from tests.faults.crash.naive import recipients_of
from tests.faults.crash.nursery import DiedByItself, nursery
from tests.faults.crash.receiving import Receiver, Taken, receiver
from tests.faults.crash.table import Line, lines_of, markdown, sums

PEOPLE = frozenset(f"{name}@example.net" for name in ("ada", "bob", "cyd"))


def took(*names: str) -> Taken:
    """A server that has one message for each name."""
    return Taken(copies=Counter((f"<{name}@example.com>", f"{name}@example.net") for name in names))


def ledger(*, unfinished: int = 0, states: dict[str, str] | None = None, **counts: int) -> Ledger:
    """A ledger with these states and counts."""
    named = {f"{name}@example.net": state for name, state in (states or {}).items()}
    return Ledger(states=named, counts=counts, unfinished=unfinished)


def test_run_in_which_everybody_got_one_copy_is_right() -> None:
    """Nothing is wrong where ledger and server agree."""
    verdict = judge(PEOPLE, ledger(accepted=3), took("ada", "bob", "cyd"))
    assert verdict.wrong == ()
    assert (verdict.lost, verdict.repeated, verdict.unknown) == (0, 0, 0)


def test_recipient_without_a_copy_and_without_a_reason_is_lost() -> None:
    """The ledger's word for "accepted" is not believed: the server has to have it."""
    verdict = judge(PEOPLE, ledger(accepted=3), took("ada", "bob"))
    assert verdict.lost == 1
    assert any("cyd@example.net" in sentence for sentence in verdict.wrong)


def test_recipient_with_two_copies_is_a_repeat_whatever_the_message_ids() -> None:
    """A second copy under another Message-ID is a second copy in the mailbox."""
    taken = Taken(copies=took("ada", "bob", "cyd").copies + Counter({("<again@example.com>", "bob@example.net"): 1}))
    verdict = judge(PEOPLE, ledger(accepted=3), taken)
    assert verdict.repeated == 1
    assert any("bob@example.net" in sentence for sentence in verdict.wrong)


@pytest.mark.parametrize("names", [("ada", "bob"), ("ada", "bob", "cyd")])
def test_unknown_recipient_may_have_a_copy_or_none(names: tuple[str, ...]) -> None:
    """That is what unknown means; it is neither lost nor wrong."""
    verdict = judge(PEOPLE, ledger(accepted=2, unknown=1, states={"cyd": "unknown"}), took(*names))
    assert verdict.wrong == ()
    assert (verdict.lost, verdict.unknown) == (0, 1)


def test_copy_of_one_who_is_said_to_have_none_is_wrong() -> None:
    """Whoever is listed as refused has nothing in the mailbox."""
    verdict = judge(PEOPLE, ledger(accepted=2, rejected=1, states={"cyd": "rejected"}), took("ada", "bob", "cyd"))
    assert any("nobody sent one" in sentence for sentence in verdict.wrong)


@pytest.mark.parametrize("counts", [{"accepted": 2}, {"accepted": 2, "rejected": 1}, {"accepted": 3, "unknown": 1}])
def test_progress_that_differs_from_the_server_is_wrong(counts: dict[str, int]) -> None:
    """The numbers that a host sees are held to what really is there."""
    assert judge(PEOPLE, ledger(**counts), took("ada", "bob", "cyd")).wrong


def test_work_that_is_left_over_is_wrong() -> None:
    """A run ends when nothing is left to do, not when nobody does anything any more."""
    verdict = judge(PEOPLE, ledger(unfinished=1, accepted=3), took("ada", "bob", "cyd"))
    assert verdict.wrong == ("1 units of work are not finished",)


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    """A running receiving server."""
    with receiver() as running:
        yield running


def hand_over(server: Receiver, *recipients: str, message_id: str = "<1@example.com>") -> dict[str, tuple[int, bytes]]:
    """Send a message by other people's client; who was refused."""
    with smtplib.SMTP(server.host, server.port, timeout=10) as client:
        text = f"Subject: x\r\nMessage-ID: {message_id}\r\n\r\nMessage-ID: <no@example.com>\r\n.\r\n"
        return client.sendmail("shop@example.com", recipients, text)


def test_server_counts_the_copies_of_each_message_id_and_recipient(server: Receiver) -> None:
    """By the field of the header, not by what looks like one in the text."""
    server.forget()
    hand_over(server, "ada@example.net", "bob@example.net")
    hand_over(server, "ada@example.net")
    assert server.taken().copies == {
        ("<1@example.com>", "ada@example.net"): 2,
        ("<1@example.com>", "bob@example.net"): 1,
    }
    assert server.taken().by_recipient == {"ada@example.net": 2, "bob@example.net": 1}
    assert server.count() == 3


def test_server_that_cuts_the_line_after_the_body_has_the_message(server: Receiver) -> None:
    """What the client is not told of is taken all the same, and counts."""
    server.forget()
    server.behave(cut_of_1000=1000)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        hand_over(server, "ada@example.net")
    assert server.count() == 1
    hand_over(server, "ada@example.net")
    server.behave()
    assert server.count() == 2


def test_server_puts_off_once_and_refuses_always(server: Receiver) -> None:
    """So that work goes back to the ledger and comes again, and so that refusals are accounted for."""
    server.forget()
    server.behave(put_off_of_1000=1000)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        hand_over(server, "ada@example.net")
    assert hand_over(server, "ada@example.net") == {}
    server.behave(refused_of_1000=1000)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            hand_over(server, "bob@example.net")
    server.behave()
    assert server.count() == 1


def test_process_that_dies_by_itself_is_noticed() -> None:
    """A process that failed is no victim: its error is told."""
    with nursery() as born:
        life = born.birth("no such role")
        with pytest.raises(DiedByItself, match="no such role"):
            life.expect("working", 30.0)
        life.join(10.0)
        assert not life.ended
        assert life.send(signal.SIGKILL) is False


def test_table_keeps_ours_and_the_engine_alone_apart() -> None:
    """A sum for each, and no number of unknowns for those who cannot tell."""

    class Report:
        user_properties = (
            ("crash", line(ledger=False).dumped()),
            ("crash", line(ledger=True).dumped()),
            ("other", "x"),
        )

    found = lines_of([Report])
    assert [one.ledger for one in found] == [True, False]
    assert sums(found, ledger=True).kills == 7
    assert "| kills | no | sqlite | nats | 1 | 7 | 1,000 | 1 | 2 |  | 40 |" in markdown(found)


def line(*, ledger: bool) -> Line:
    """A line of the table."""
    return Line(
        scenario="kills",
        database="sqlite",
        engine="nats",
        kills=7,
        recipients=1000,
        lost=1,
        repeated=2,
        unknown=3,
        bound=40,
        ledger=ledger,
    )


def test_recipients_of_a_run_are_numbered() -> None:
    """The second half of a list goes on where the first ended."""
    assert recipients_of(1, 2, "b") == ["b1@example.net", "b2@example.net"]
