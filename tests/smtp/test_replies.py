"""The reply parser: strict, and the same however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect_smtp.replies import MAX_LINE_BYTES, MalformedReply, Reply, ReplyParser


def _all(*pieces: bytes) -> list[Reply]:
    parser = ReplyParser()
    replies = []
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.next_reply()) is not None:
            replies.append(reply)
    return replies


@pytest.mark.parametrize(
    "line",
    [
        b"2_50 ok",
        b"+250 ok",
        b" 25 ok",
        b"2500 ok",
        b"250ok",
        b"-25 ok",
        b"",
        b"25",
        b"199 x",
        b"600 x",
        b"\xb2\xb3\xb4 x",
        b"250\tok",
        b"250 a\rb",
        b"SSH-2.0-OpenSSH",
        b"HTTP/1.1 400 Bad Request",
        b"550-no\r\n250 ok",
        b"250-a\r\n250ok",
    ],
)
def test_what_is_no_reply_is_refused(line: bytes) -> None:
    """T16, F24, F45: nothing is guessed, and the text of the peer is not quoted."""
    with pytest.raises(MalformedReply) as caught:
        _all(line + b"\r\n")
    assert "SSH" not in str(caught.value)


def test_a_reply_of_several_lines_is_one() -> None:
    """All lines belong to one reply, and the enhanced code is not part of the text."""
    (reply,) = _all(b"550-5.1.1 no such\r\n550-5.1.1 user\r\n550 5.1.1 here\r\n")
    assert (reply.code, reply.enhanced, reply.text) == (550, "5.1.1", "no such user here")


def test_a_bare_code_is_a_reply() -> None:
    """RFC 5321 section 4.2 allows no text at all; and a bare LF ends a line as well."""
    assert [reply.code for reply in _all(b"250\r\n354\n")] == [250, 354]


def test_what_follows_a_reply_stays_visible() -> None:
    """Bytes nobody asked for are how one reply gets taken for another (F27 to F29)."""
    parser = ReplyParser()
    parser.feed(b"250 ok\r\n25")
    assert parser.next_reply() is not None
    assert parser.pending


@pytest.mark.parametrize("unit", [b"x" * 1024, b"250-and so on\r\n"])
def test_an_endless_reply_is_cut_off(unit: bytes) -> None:
    """T06: no memory is spent on a peer that never ends."""
    parser = ReplyParser()

    def flood() -> None:
        for _ in range(100_000):
            parser.feed(unit)
            parser.next_reply()

    with pytest.raises(MalformedReply):
        flood()
    assert len(parser._buffer) <= MAX_LINE_BYTES + 1024


def test_text_of_the_server_is_safe_to_show() -> None:
    """T17, F43: no control, no escape sequence, no broken UTF-8."""
    (reply,) = _all(b"550 5.1.1 \xe9\xff \x1b[31m\x00 \xe2\x80\xae\r\n")
    assert reply.text.isprintable()
    reply.text.encode()


def test_an_enhanced_code_of_another_class_is_not_one() -> None:
    """The digits then stay part of the text."""
    (reply,) = _all(b"450 5.1.1 later\r\n")
    assert (reply.enhanced, reply.text) == ("", "5.1.1 later")


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
_REPLY = st.tuples(st.integers(200, 599), st.lists(_TEXT, min_size=1, max_size=4))


@given(replies=st.lists(_REPLY, max_size=5), data=st.data())
def test_cuts_change_nothing(replies: list[tuple[int, list[str]]], data: st.DataObject) -> None:
    """However the network cuts the stream, the same replies come out."""
    stream = b"".join(
        f"{code}{' ' if number == len(lines) else '-'}{line}\r\n".encode()
        for code, lines in replies
        for number, line in enumerate(lines, start=1)
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert _all(*pieces) == _all(stream)
    assert [reply.code for reply in _all(stream)] == [code for code, _ in replies]


@given(st.binary(max_size=200))
def test_any_bytes_give_replies_or_an_error(noise: bytes) -> None:
    """Nothing else can come of it."""
    try:
        replies = _all(noise)
    except MalformedReply:
        return
    assert all(200 <= reply.code <= 599 for reply in replies)
