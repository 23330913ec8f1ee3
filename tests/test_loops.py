"""The loop that the tests run in: what is left open is found where it was left."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.loops import TidyLoop


def test_what_is_left_open_is_told_when_the_loop_closes() -> None:
    """A connection and a listener that nobody closes fail the test that made them, and are closed."""
    loop = TidyLoop()
    listener = socket.create_server(("127.0.0.1", 0))
    server = loop.run_until_complete(asyncio.start_server(lambda *_: None, sock=listener))
    _, writer = loop.run_until_complete(asyncio.open_connection(*listener.getsockname()))
    with pytest.raises(AssertionError, match=r"left open.*StreamReaderProtocol"):
        loop.close()
    assert loop.is_closed()
    server.close()
    assert writer.is_closing()


def test_what_was_closed_a_moment_ago_has_time_to_let_go() -> None:
    """A transport that was closed without waiting is no fault: its socket goes a turn later."""
    loop = TidyLoop()
    near, far = socket.socketpair()
    _, writer = loop.run_until_complete(asyncio.open_connection(sock=near))
    writer.close()
    loop.close()
    assert near.fileno() == -1
    far.close()
