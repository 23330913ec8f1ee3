"""The session as a pure function of bytes."""

from __future__ import annotations

import base64
import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect.inbox import Policy, Received, Reply, Session, SessionSettings

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def open_session(settings: SessionSettings | None = None, **options: object) -> Session:
    """Return a session that has greeted its client."""
    session = Session(settings or SessionSettings(), now=lambda: NOON, **options)
    session.answer(session.greet())
    return session


def talk(session: Session, data: bytes) -> tuple[list[bytes], list[Received]]:
    """Feed bytes; return the replies, one for each turn, and the messages accepted."""
    session.receive(data)
    replies, messages = [], []
    while (turn := session.next_turn()) is not None:
        replies.append(session.answer(turn))
        if turn.message is not None and turn.reply.code == 250:
            messages.append(turn.message)
    return replies, messages


def codes(replies: list[bytes]) -> list[str]:
    """Return code and enhanced code of each reply's last line."""
    ends = [reply.splitlines()[-1].decode() for reply in replies]
    return [" ".join(end.split()[:2]) if end[4:5].isdigit() and end[5:6] == "." else end[:3] for end in ends]


def exchange(data: bytes, settings: SessionSettings | None = None, **options: object) -> list[str]:
    """Return the codes of all replies to these bytes."""
    return codes(talk(open_session(settings, **options), data)[0])


ENVELOPE = b"EHLO c.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n"


def test_a_whole_pipelined_session_gives_one_reply_to_each_command() -> None:
    """Commands of one segment are answered in order, and the message arrives."""
    session = open_session()
    replies, messages = talk(session, ENVELOPE + b"DATA\r\nSubject: hi\r\n\r\nhello\r\n.\r\nQUIT\r\n")
    assert codes(replies) == ["250", "250 2.1.0", "250 2.1.5", "354", "250 2.0.0", "221 2.0.0"]
    assert messages == [
        Received(
            envelope_from="a@x.test",
            recipients=("b@x.test",),
            data=b"Subject: hi\r\n\r\nhello\r\n",
            smtputf8=False,
            body="7BIT",
            auth_user=None,
            tls=False,
            received_at=NOON,
        )
    ]
    assert session.closed


def test_ehlo_lists_the_extensions_and_helo_does_not() -> None:
    """EHLO answers one keyword a line, with the size limit."""
    replies, _ = talk(open_session(SessionSettings(max_message_bytes=1000)), b"EHLO c\r\nHELO c\r\n")
    keywords = replies[0].decode().split("\r\n")[1:-1]
    assert [line[4:] for line in keywords] == [
        "8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 1000", "SMTPUTF8",
    ]  # fmt: skip
    assert replies[1] == b"250 localhost\r\n"


def test_enhanced_codes_are_left_out_where_they_are_not_offered() -> None:
    """A server without ENHANCEDSTATUSCODES answers with basic codes alone."""
    replies, _ = talk(open_session(SessionSettings(extensions=frozenset())), b"EHLO c\r\nMAIL FROM:<a@x.test>\r\n")
    assert replies[1] == b"250 sender ok\r\n"


@pytest.mark.parametrize(
    "commands, expected",
    [
        (b"MAIL FROM:<a@x>\r\n", ["503 5.5.1"]),
        (b"EHLO\r\n", ["501 5.5.4"]),
        (b"EHLO c\r\nRCPT TO:<a@x>\r\n", ["250", "503 5.5.1"]),
        (b"EHLO c\r\nDATA\r\n", ["250", "503 5.5.1"]),
        (b"EHLO c\r\nMAIL FROM:<a@x>\r\nDATA\r\n", ["250", "250 2.1.0", "554 5.5.1"]),
        (b"EHLO c\r\nMAIL FROM:<a@x>\r\nMAIL FROM:<a@x>\r\n", ["250", "250 2.1.0", "503 5.5.1"]),
        (ENVELOPE + b"RSET\r\nDATA\r\n", ["250", "250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1"]),
        (ENVELOPE + b"EHLO c\r\nDATA\r\n", ["250", "250 2.1.0", "250 2.1.5", "250", "503 5.5.1"]),
        (b"RSET\r\nNOOP\r\nVRFY x\r\nHELP\r\n", ["250 2.0.0", "250 2.0.0", "252 2.5.0", "214 2.0.0"]),
        (b"FROBNICATE\r\n\r\n", ["500 5.5.2", "500 5.5.2"]),
        (b"NOOP\nNOOP\r\n", ["500 5.5.2", "250 2.0.0"]),
        (b"NO\rOP\r\nNO\0OP\r\n", ["500 5.5.2", "500 5.5.2"]),
        (b"NOOP \xff\r\n", ["500 5.5.2"]),
        (b"N" * 5000 + b"\r\nNOOP\r\n", ["500 5.5.2", "250 2.0.0"]),
        (b"EHLO c\r\nSTARTTLS\r\nAUTH PLAIN\r\nBDAT x\r\n", ["250", "502 5.5.1", "502 5.5.1", "501 5.5.4"]),
    ],
)  # fmt: skip
def test_commands_out_of_order_or_out_of_shape_are_refused(commands: bytes, expected: list[str]) -> None:
    """The state table decides what may come when."""
    assert exchange(commands) == expected


@pytest.mark.parametrize(
    "argument, expected",
    [
        (b"FROM:<>", "250 2.1.0"),
        (b"from:<a@x.test>", "250 2.1.0"),
        (b'FROM:<"a b>c"@x.test>', "250 2.1.0"),
        (b"FROM:<@relay.test:a@x.test>", "250 2.1.0"),
        (b"FROM:<a@[127.0.0.1]>", "250 2.1.0"),
        (b"FROM:<a@x.test> SIZE=10 BODY=8BITMIME SMTPUTF8", "250 2.1.0"),
        ("FROM:<é@x.test> SMTPUTF8".encode(), "250 2.1.0"),
        ("FROM:<é@x.test>".encode(), "553 5.6.7"),
        (b"FROM: <a@x.test>", "501 5.1.7"),
        (b"FROM:a@x.test", "501 5.1.7"),
        (b"FROM:<a b@x.test>", "501 5.1.7"),
        (b"FROM:<a@x.test>SIZE=1", "501 5.1.7"),
        (b"FROM:<a@-x.test>", "501 5.1.7"),
        (b"FROM:<a>", "501 5.1.7"),
        (b"FROM:<postmaster>", "501 5.1.7"),
        (b"FROM:<" + b"a" * 65 + b"@x.test>", "501 5.1.7"),
        (b"FROM:<a@" + b"x." * 130 + b"test>", "501 5.1.7"),
        (b"FROM:<a@x.test> SIZE=26214401", "552 5.3.4"),
        (b"FROM:<a@x.test> SIZE=ten", "501 5.5.4"),
        (b"FROM:<a@x.test> SIZE=1 SIZE=1", "501 5.1.7"),
        (b"FROM:<a@x.test> BODY=BINARYMIME", "501 5.5.4"),
        (b"FROM:<a@x.test> SMTPUTF8=yes", "501 5.5.4"),
        (b"FROM:<a@x.test> RET=HDRS", "555 5.5.4"),
    ],
)
def test_the_argument_of_mail_is_read_strictly(argument: bytes, expected: str) -> None:
    """Paths and parameters follow the grammar, and every refusal has its own code."""
    assert exchange(b"EHLO c\r\nMAIL " + argument + b"\r\n")[-1] == expected


def test_parameters_need_ehlo() -> None:
    """A client that said HELO was offered no extensions."""
    assert exchange(b"HELO c\r\nMAIL FROM:<a@x.test> SIZE=1\r\n")[-1] == "555 5.5.4"


@pytest.mark.parametrize(
    "argument, expected",
    [
        (b"TO:<Postmaster>", "250 2.1.5"),
        (b"TO:<>", "501 5.1.3"),
        (b"TO:<b@x.test> NOTIFY=NEVER", "555 5.5.4"),
        ("TO:<é@x.test>".encode(), "553 5.6.7"),
    ],
)
def test_the_argument_of_rcpt_is_read_strictly(argument: bytes, expected: str) -> None:
    """Recipients follow the grammar too."""
    assert exchange(b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT " + argument + b"\r\n")[-1] == expected


def test_recipients_beyond_the_limit_are_deferred_and_the_others_stay() -> None:
    """452 4.5.3 asks for another transaction (RFC 5321 section 4.5.3.1.10)."""
    session = open_session(SessionSettings(max_recipients=2))
    rcpts = b"".join(b"RCPT TO:<b%d@x.test>\r\n" % number for number in range(3))
    replies, messages = talk(session, b"EHLO c\r\nMAIL FROM:<a@x>\r\n" + rcpts + b"DATA\r\nx\r\n.\r\n")
    assert codes(replies)[4] == "452 4.5.3"
    assert messages[0].recipients == ("b0@x.test", "b1@x.test")


@pytest.mark.parametrize(
    "wire, content",
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n..a\r\nb.\r\n.\r\n", b"..\r\n.a\r\nb.\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
    ],
)
def test_dots_are_unstuffed_byte_for_byte(wire: bytes, content: bytes) -> None:
    """A dot at the start of a line is removed (RFC 5321 section 4.5.2), and nothing else changes."""
    _, messages = talk(open_session(), ENVELOPE + b"DATA\r\n" + wire)
    assert [message.data for message in messages] == [content]


@given(content=st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n", b"\r\n.", b" "]), max_size=30).map(b"".join))
def test_stuffed_content_comes_back_unchanged(content: bytes) -> None:
    """Stuffing by the client and unstuffing by the server cancel out."""
    content += b"\r\n"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    _, messages = talk(open_session(), ENVELOPE + b"DATA\r\n" + stuffed + b".\r\n")
    assert [message.data for message in messages] == [content]


@given(cuts=st.lists(st.integers(0, 200), max_size=20))
def test_segments_may_be_cut_anywhere(cuts: list[int]) -> None:
    """Replies and messages do not depend on where TCP cut the stream."""
    stream = ENVELOPE + b"DATA\r\n..a\r\nb\r\n.\r\n" + ENVELOPE[13:] + b"BDAT 4\r\nab\r\nBDAT 2 LAST\r\n\r\nQUIT\r\n"
    whole = talk(open_session(), stream)
    session = open_session()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [talk(session, stream[start:end]) for start, end in itertools.pairwise(edges)]
    assert ([r for replies, _ in pieces for r in replies], [m for _, messages in pieces for m in messages]) == whole
    assert [message.data for message in whole[1]] == [b".a\r\nb\r\n", b"ab\r\n\r\n"]


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\r\n\r.\r\n"]
)
def test_only_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    """Other end marks are content, so nothing can be smuggled behind them, and a lone CR or LF is refused."""
    session = open_session()
    replies, messages = talk(session, ENVELOPE + b"DATA\r\nx" + end + b"MAIL FROM:<evil@x>\r\n")
    assert (len(replies), messages) == (4, [])
    replies, messages = talk(session, b"\r\n.\r\n")
    if b"\0" in end:
        assert messages[0].data == b"x" + end + b"MAIL FROM:<evil@x>\r\n\r\n"
    else:
        assert (codes(replies), messages) == (["554 5.6.0"], [])


def test_a_message_over_the_limit_is_refused_and_the_session_goes_on() -> None:
    """The text is read to its end, without being kept, and answered 552 5.3.4."""
    session = open_session(SessionSettings(max_message_bytes=100))
    talk(session, ENVELOPE + b"DATA\r\n")
    for _ in range(1000):
        assert talk(session, b"x" * 70 + b"\r\n") == ([], [])
    replies, messages = talk(session, b".\r\n" + ENVELOPE + b"DATA\r\nsmall\r\n.\r\n")
    assert codes(replies)[0] == "552 5.3.4"
    assert [message.data for message in messages] == [b"small\r\n"]


def test_the_size_limit_counts_unstuffed_bytes() -> None:
    """A message of exactly the limit passes even if stuffing makes it longer on the wire."""
    settings = SessionSettings(max_message_bytes=6)
    assert exchange(ENVELOPE + b"DATA\r\n..\r\n..\r\n.\r\n", settings)[-1] == "250 2.0.0"
    assert exchange(ENVELOPE + b"DATA\r\n..\r\n..a\r\n.\r\n", settings)[-1] == "552 5.3.4"


def test_lines_of_998_octets_pass_and_longer_ones_do_not() -> None:
    """RFC 5321 section 4.5.3.1.6, without the CR LF."""
    assert exchange(ENVELOPE + b"DATA\r\n" + b"x" * 998 + b"\r\n.\r\n")[-1] == "250 2.0.0"
    assert exchange(ENVELOPE + b"DATA\r\n" + b"x" * 999 + b"\r\n.\r\n")[-1] == "554 5.6.0"


def test_eight_bit_content_must_be_declared() -> None:
    """BODY=8BITMIME announces it (RFC 6152)."""
    body = "DATA\r\né\r\n.\r\n".encode()
    assert exchange(ENVELOPE + body)[-1] == "554 5.6.1"
    declared = ENVELOPE.replace(b"<a@x.test>", b"<a@x.test> BODY=8BITMIME")
    assert exchange(declared + body)[-1] == "250 2.0.0"


def test_chunks_are_joined_byte_for_byte() -> None:
    """BDAT needs no dots and no line at the end (RFC 3030)."""
    stream = ENVELOPE + b"BDAT 5\r\n.\r\n.\r" + b"BDAT 1\r\n\nBDAT 0 LAST\r\n"
    replies, messages = talk(open_session(), stream)
    assert codes(replies)[3:] == ["250 2.0.0", "250 2.0.0", "250 2.0.0"]
    assert messages[0].data == b".\r\n.\r\n"


@pytest.mark.parametrize(
    "stream, expected",
    [
        (b"EHLO c\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n", ["250", "503 5.5.1", "250 2.0.0"]),
        (b"EHLO c\r\nMAIL FROM:<a@x>\r\nBDAT 6 LAST\r\nQUIT\r\n", ["250", "250 2.1.0", "554 5.5.1"]),
        (ENVELOPE + b"BDAT 2\r\n\r\nDATA\r\n", ["250", "250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1"]),
    ],
)
def test_the_octets_of_a_refused_chunk_are_not_read_as_commands(stream: bytes, expected: list[str]) -> None:
    """They are on their way whatever the answer is."""
    assert exchange(stream) == expected


def test_chunks_over_the_limit_are_refused() -> None:
    """The octets are consumed, not kept, and the transaction is over."""
    settings = SessionSettings(max_message_bytes=3)
    stream = ENVELOPE + b"BDAT 4\r\nabcdBDAT 1 LAST\r\ne"
    assert exchange(stream, settings)[3:] == ["552 5.3.4", "503 5.5.1"]
    assert exchange(ENVELOPE + b"BDAT 4 LAST\r\nabcd", settings)[3:] == ["552 5.3.4"]


AUTH = SessionSettings(auth_mechanisms=("PLAIN", "LOGIN", "XOAUTH2"), require_auth=True, allow_plaintext_auth=True)
USERS = {"ada": "s3cret"}


def b64(text: str) -> bytes:
    """Encode for AUTH."""
    return base64.b64encode(text.encode())


@pytest.mark.parametrize(
    "lines, expected",
    [
        (b"AUTH PLAIN " + b64("\0ada\0s3cret"), ["235 2.7.0"]),
        (b"auth plain " + b64("ada\0ada\0s3cret"), ["235 2.7.0"]),
        (b"AUTH PLAIN\r\n" + b64("\0ada\0s3cret"), ["334", "235 2.7.0"]),
        (b"AUTH LOGIN\r\n" + b64("ada") + b"\r\n" + b64("s3cret"), ["334", "334", "235 2.7.0"]),
        (b"AUTH LOGIN " + b64("ada") + b"\r\n" + b64("s3cret"), ["334", "235 2.7.0"]),
        (b"AUTH XOAUTH2 " + b64("user=ada\x01auth=Bearer s3cret\x01\x01"), ["235 2.7.0"]),
        (b"AUTH XOAUTH2 " + b64("user=ada\x01auth=Bearer old\x01\x01") + b"\r\n", ["334", "535 5.7.8"]),
        (b"AUTH PLAIN " + b64("\0ada\0wrong"), ["535 5.7.8"]),
        (b"AUTH PLAIN " + b64("\0eve\0\0"), ["501 5.5.2"]),
        (b"AUTH LOGIN " + b64("eve") + b"\r\n" + b64("\0"), ["334", "535 5.7.8"]),
        (b"AUTH PLAIN " + b64("eve\0ada\0s3cret"), ["501 5.5.2"]),
        (b"AUTH PLAIN =", ["501 5.5.2"]),
        (b"AUTH PLAIN !!", ["501 5.5.2"]),
        (b"AUTH PLAIN\r\n*", ["334", "501 5.7.0"]),
        (b"AUTH CRAM-MD5", ["504 5.5.4"]),
        (b"MAIL FROM:<a@x>", ["530 5.7.0"]),
        (b"AUTH PLAIN " + b64("\0ada\0s3cret") + b"\r\nAUTH PLAIN", ["235 2.7.0", "503 5.5.1"]),
    ],
)
def test_authentication(lines: bytes, expected: list[str]) -> None:
    """Each mechanism accepts the right credentials and nothing else."""
    assert exchange(b"EHLO c\r\n" + lines + b"\r\n", AUTH, credentials=USERS)[1:] == expected


def test_the_authenticated_user_is_kept_with_the_message() -> None:
    """A message says on whose account it came."""
    session = open_session(AUTH, credentials=USERS)
    login = b"EHLO c\r\nAUTH PLAIN " + b64("\0ada\0s3cret") + b"\r\n"
    _, messages = talk(session, login + ENVELOPE[13:] + b"DATA\r\nx\r\n.\r\n")
    assert messages[0].auth_user == "ada"


def test_auth_is_neither_offered_nor_taken_in_clear() -> None:
    """Without TLS, and without leave to do so, credentials are refused."""
    settings = SessionSettings(auth_mechanisms=("PLAIN",), starttls=True)
    replies, _ = talk(open_session(settings), b"EHLO c\r\nAUTH PLAIN " + b64("\0ada\0s3cret") + b"\r\n")
    assert b"AUTH" not in replies[0]
    assert codes(replies)[1] == "538 5.7.11"
    replies, _ = talk(open_session(settings, tls=True), b"EHLO c\r\n")
    assert b"250 AUTH PLAIN\r\n" in replies[0]
    assert b"STARTTLS" not in replies[0]


def test_starttls_forgets_what_was_said_in_clear() -> None:
    """After the handshake EHLO must come again (RFC 3207 section 4.2)."""
    session = open_session(SessionSettings(starttls=True, require_tls=True))
    replies, _ = talk(session, b"EHLO c\r\nMAIL FROM:<a@x>\r\nSTARTTLS\r\n")
    assert codes(replies) == ["250", "530 5.7.0", "220 2.0.0"]
    assert session.wants_tls
    session.tls_started()
    assert codes(talk(session, b"MAIL FROM:<a@x>\r\nEHLO c\r\nMAIL FROM:<a@x>\r\nSTARTTLS\r\n")[0]) == [
        "503 5.5.1",
        "250",
        "250 2.1.0",
        "503 5.5.1",
    ]


def test_bytes_that_follow_starttls_end_the_session() -> None:
    """They would be read as if they had come inside TLS."""
    session = open_session(SessionSettings(starttls=True))
    replies, _ = talk(session, b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@x>\r\n")
    assert codes(replies) == ["250", "421 4.7.0"]
    assert session.closed


class Strict(Policy):
    """Refuses something at every point."""

    def on_connect(self, peer: str) -> Reply | None:
        """No client from one address."""
        return Reply(554, "5.7.1", "go away") if peer == "192.0.2.1" else None

    def on_mail(self, envelope_from: str, auth_user: str | None) -> Reply | None:
        """One sender is refused."""
        return Reply(550, "5.7.1", "not this sender") if envelope_from == "no@x.test" else None

    def on_rcpt(self, recipient: str, envelope_from: str) -> Reply | None:
        """One recipient is the end, and one a bug."""
        if recipient == "crash@x.test":
            raise RuntimeError("a bug in the policy")
        return Reply(421, "4.3.2", "bye") if recipient == "bye@x.test" else None

    def on_message(self, message: Received) -> Reply | None:
        """Content decides."""
        return Reply(250, "2.0.0", "queued as 1") if b"ok" in message.data else Reply(554, "5.6.0", "no\nreally no")


def test_a_policy_decides_on_senders_and_messages() -> None:
    """Its reply replaces the server's, over several lines if it likes."""
    session = open_session(policy=Strict())
    replies, messages = talk(
        session,
        b"EHLO c\r\nMAIL FROM:<no@x.test>\r\n" + ENVELOPE[13:] + b"DATA\r\nok\r\n.\r\n"
        + ENVELOPE[13:] + b"DATA\r\nbad\r\n.\r\n",
    )  # fmt: skip
    assert replies[1] == b"550 5.7.1 not this sender\r\n"
    assert replies[5] == b"250 2.0.0 queued as 1\r\n"
    assert replies[-1] == b"554-5.6.0 no\r\n554 5.6.0 really no\r\n"
    assert len(messages) == 1


def test_a_policy_that_fails_defers(caplog: pytest.LogCaptureFixture) -> None:
    """The client is asked to come back, and the log has the traceback."""
    replies = exchange(b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<crash@x.test>\r\n", policy=Strict())
    assert replies[-1] == "451 4.3.0"
    assert "a bug in the policy" in caplog.text


def test_a_421_of_the_policy_ends_the_session() -> None:
    """421 always means that the connection closes."""
    session = open_session(policy=Strict())
    talk(session, b"EHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<bye@x.test>\r\n")
    assert session.closed


def test_a_refused_client_may_only_quit() -> None:
    """A 554 greeting leaves QUIT (RFC 5321 section 3.1)."""
    session = Session(SessionSettings(), policy=Strict(), peer="192.0.2.1")
    assert session.answer(session.greet()) == b"554 5.7.1 go away\r\n"
    assert codes(talk(session, b"EHLO c\r\nQUIT\r\n")[0]) == ["503 5.5.1", "221 2.0.0"]


def test_credentials_are_not_shown() -> None:
    """The turn that carries a password does not print it."""
    session = open_session(AUTH)
    session.receive(b"EHLO c\r\n")
    turn = session.next_turn()
    assert turn is not None
    session.answer(turn)
    session.receive(b"AUTH PLAIN " + b64("\0ada\0s3cret") + b"\r\n")
    turn = session.next_turn()
    assert turn is not None
    assert turn.credentials is not None
    assert turn.credentials.password == "s3cret"
    assert "s3cret" not in repr(turn)
    assert b64("\0ada\0s3cret").decode() not in repr(turn)
