"""Ends of data that are none: whatever the content holds, it leaves as one message, or not at all."""

from __future__ import annotations

import pytest

from genie_connect_smtp.content import Content
from genie_connect_smtp.stuffing import UnsendableContent
from tests.smtp.model_server import ModelServer
from tests.smtp.talk import MODES, Talk, letter

_ENDS = [
    *(f"{before}.{after}" for before in ("\n", "\r", "\r\n", "\n\n") for after in ("\n", "\r", "\r\n", "\r\r\n")),
    "\r\n.\x00\r\n",
    "\r\n\x00.\r\n",
    "\n\x00.\n",
    "\r.\r\n.\n",
]
_EVIL = "MAIL FROM:<evil@s.example>\r\nRCPT TO:<victim@x.example>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"
_EVIL_CHUNK = "RSET\r\nMAIL FROM:<evil@s.example>\r\nRCPT TO:<victim@x.example>\r\nBDAT 6 LAST\r\nevil\r\n"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("evil", [_EVIL, _EVIL_CHUNK], ids=["data", "bdat"])
@pytest.mark.parametrize("end", _ENDS, ids=repr)
def test_no_end_of_data_passes(end: str, evil: str, place: str, mode: str) -> None:
    """CR or LF alone and NUL are refused, dots are doubled; the server takes one message from each sender."""
    text = {"first": f"{end}{evil}", "middle": f"x{end}{evil}x", "last": f"x\r\n{evil}{end}"}[place]
    data = f"Subject: x\r\n\r\n{text}".encode()
    try:
        content = Content.of([data], len(data))
    except UnsendableContent:
        return
    server = ModelServer(lambda verb: "")
    talk = Talk(mode, letter(0, content=content), letter(1))
    for _ in range(20):
        out = b"".join(talk.session.output())
        if out:
            talk.hear_quietly(*server.receive(out))
    assert [sender for sender, _ in server.accepted] == ["0@s.example", "1@s.example"]
    assert [len(recipients) for _, recipients in server.accepted] == [1, 1]


def test_some_ends_are_sent_and_not_all_refused() -> None:
    """Or the test above would say nothing of dots."""
    Content.of([b"x\r\n.\r\n"], 6)
    with pytest.raises(UnsendableContent):
        Content.of([b"x\n.\r\n"], 5)
