"""Dot-stuffing of content that leaves in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect_smtp.stuffing import DotStuffer, UnsendableContent, blocks

_PIECES = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"..", b"\r\n.\r\n"]), max_size=12).map(b"".join)


def _cut(content: bytes, cuts: list[int]) -> list[bytes]:
    places = [min(cut, len(content)) for cut in sorted(cuts)]
    return [content[start:end] for start, end in zip([0, *places], [*places, len(content)], strict=True)]


@given(content=_PIECES, cuts=st.lists(st.integers(0, 40), max_size=6))
def test_a_receiver_gets_what_was_sent(content: bytes, cuts: list[int]) -> None:
    """T40: wherever the content is cut, unstuffing gives it back, and nothing in it looks like the end mark."""
    stuffer = DotStuffer()
    wire = b"".join(stuffer.feed(piece) for piece in _cut(content, cuts)) + stuffer.finish()
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    unstuffed = b"".join(line.removeprefix(b".") for line in wire.splitlines(keepends=True))
    assert unstuffed in (content, content + b"\r\n")
    assert not wire or wire.endswith(b"\r\n")


@pytest.mark.parametrize("cut", range(6))
@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\r", b"\r\r\n.", b"\r\n\x00.\r\n", b"\n\n."])
def test_what_servers_read_in_different_ways_is_not_sent(end: bytes, cut: int) -> None:
    """T39, F48: a bare CR or LF, or a NUL, is how a second message is smuggled (CVE-2023-51764)."""
    content = b"text" + end + b"MAIL FROM:<evil@evil.example>\r\n"
    stuffer = DotStuffer()

    def send() -> None:
        for piece in (content[: 4 + cut], content[4 + cut :]):
            stuffer.feed(piece)
        stuffer.finish()

    with pytest.raises(UnsendableContent):
        send()


def test_a_carriage_return_at_the_very_end_is_not_sent() -> None:
    """It would make the end mark begin in the middle of a line end."""
    stuffer = DotStuffer()
    stuffer.feed(b"text\r")
    with pytest.raises(UnsendableContent):
        stuffer.finish()


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 20))
def test_blocks_are_the_same_bytes(chunks: list[bytes], size: int) -> None:
    """Small chunks are joined and big ones cut; nothing is lost, and no block is much too big."""
    found = list(blocks(chunks, size))
    assert b"".join(found) == b"".join(chunks)
    assert all(len(block) < 2 * size for block in found)
