"""Ends of data that are none: whatever the content holds, it leaves as one message, or not at all."""

from __future__ import annotations

import pytest

from genie_connect import Attachment, Message
from genie_connect.errors import ValidationError
from genie_connect_smtp.content import Content
from genie_connect_smtp.stuffing import UnsendableContent
from tests.mime.making import wire_of
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
    """CR or LF alone and NUL are refused, dots are doubled; the most lenient server takes one message from each."""
    text = {"first": f"{end}{evil}", "middle": f"x{end}{evil}x", "last": f"x\r\n{evil}{end}"}[place]
    data = f"Subject: x\r\n\r\n{text}".encode()
    try:
        content = Content.of([data], len(data))
    except UnsendableContent:
        return
    server = ModelServer(lambda verb: "", lenient=True)
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


# Whole messages: every place of a body, in every transfer encoding that the composer chooses.

_PLACES = ("text first", "text", "text last", "html", "html last", "file")
# What makes the composer choose the encoding, and whether the server is one with 8BITMIME.
_ENCODINGS = {
    "7bit": ("plain\n", False),
    "8bit": ("häufig\n", True),
    "quoted-printable": ("now and then an ä between many plain words\n" * 40, False),
    "base64": ("ööööööööö\n" * 40, False),
}


def _message(end: str, place: str, filling: str) -> Message:
    """A message with a forged one behind the end, in that place. Raises ``ValidationError`` where it is refused."""
    forged = f"{end}{_EVIL}"
    text = {"text first": f"{forged}{filling}", "text": f"{filling}{forged}{filling}", "text last": f"{filling}{end}"}
    html = {"html": f"<p>{filling}</p>{forged}<p>{filling}</p>", "html last": f"<p>{filling}{forged}</p>{end}"}
    files = [Attachment(filename="a.txt", content=forged.encode(), content_type="text/plain")] * (place == "file")
    return Message(
        from_="0@s.example",
        to="a@x.example",
        subject="x",
        text=text.get(place, filling),
        html=html.get(place),
        attachments=files,
    )


@pytest.mark.parametrize("mode", ["next", "chunking"], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("encoding", _ENCODINGS)
@pytest.mark.parametrize("end", _ENDS, ids=repr)
def test_no_end_of_data_passes_in_a_whole_message(end: str, encoding: str, mode: str) -> None:
    """Composed and sent with another behind it: two messages arrive, and the only end marks are the two of ours."""
    filling, eight_bit = _ENCODINGS[encoding]
    for place in _PLACES:
        try:
            message = _message(end, place, filling)
        except ValidationError:
            assert "\x00" in end
            continue
        data = wire_of(message, eight_bit=eight_bit)
        assert f"Content-Transfer-Encoding: {encoding}\r\n".encode() in data
        server = ModelServer(lambda verb: "", lenient=True)
        talk = Talk(mode, letter(0, content=Content.of([data], len(data))), letter(1))
        wire = b""
        while out := b"".join(talk.session.output()):
            wire += out
            talk.hear_quietly(*server.receive(out))
        assert server.accepted == [("0@s.example", ("a@x.example",)), ("1@s.example", ("a@x.example",))]
        bare = wire.replace(b"\r\n", b"")
        assert not set(bare) & set(b"\r\n\x00")
        if mode == "next":
            assert wire.count(b"\r\n.\r\n") == 2


def test_every_place_and_encoding_is_tried() -> None:
    """Twenty ends, six places, four encodings, DATA and BDAT."""
    assert len(set(_ENDS)) == 20
    assert len(_PLACES) * len(_ENCODINGS) * 2 == 48
    for place in _PLACES:
        _message("\n.\n", place, "x\n")
