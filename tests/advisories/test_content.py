"""Advisories about content that ends before its end, and about files that nobody attached."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from genie_connect import Attachment, Message
from genie_connect.errors import ValidationError
from genie_connect.model.codec import structure
from genie_connect.model.outcome import State
from genie_connect_smtp.content import Content
from genie_connect_smtp.stuffing import DotStuffer, UnsendableContent
from genie_connect_spec.fixtures import StartScriptedSmtp
from tests.mime.making import wire_of
from tests.smtp.model_server import ModelServer
from tests.smtp.support import batch, send_once, settings_for
from tests.smtp.talk import MODES, Talk, letter

_FORGED = (
    "MAIL FROM:<evil@evil.example>\r\nRCPT TO:<victim@x.example>\r\nDATA\r\nSubject: forged\r\n\r\nforged\r\n.\r\n"
)
# What Postfix, Sendmail and Exim took for the end of a message, and what careless relays before them let pass.
_ENDS = ("\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n.\n", "\r\n.\r\r\n", "\r\n.\r\n")


@pytest.mark.parametrize("end", _ENDS, ids=repr)
async def test_cve_2023_51764_a_body_holds_no_second_message(end: str, scripted_smtp: StartScriptedSmtp) -> None:
    """Postfix took LF.CRLF for the end of a message; what followed was read as commands. Ours is one message.

    Whatever the body says: on the wire every line ends in CRLF, the one end mark is our own, and dots are doubled.
    """
    server = await scripted_smtp()
    (outcome,) = await send_once(settings_for(server), batch(text=f"x{end}{_FORGED}", html=f"<p>{end}{_FORGED}</p>"))
    assert outcome.state is State.ACCEPTED
    (message,) = server.handed_over
    assert message.recipients == ("ada@example.com",)
    assert server.connections[0].stages().count("mail") == 1
    bare = server.wire.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare
    assert server.wire.count(b"\r\n.\r\n") == 1


@pytest.mark.parametrize("cut", range(1, 7))
@pytest.mark.parametrize("end", [end for end in _ENDS if end != "\r\n.\r\n"], ids=repr)
def test_cve_2023_51765_what_servers_read_differently_is_not_sent(end: str, cut: int) -> None:
    """Sendmail did the same. Content made by others that holds a bare CR or LF is refused, however it is cut."""
    data = f"Subject: x\r\n\r\nx{end}{_FORGED}".encode()
    with pytest.raises(UnsendableContent, match="alone"):
        Content.of([data], len(data))
    stuffer = DotStuffer()
    at = data.index(end.encode()) + cut

    def send() -> None:
        for piece in (data[:at], data[at:]):
            stuffer.feed(piece)
        stuffer.finish()

    with pytest.raises(UnsendableContent, match="alone"):
        send()


@pytest.mark.parametrize("mode", MODES)
def test_cve_2023_51766_an_end_mark_in_a_pipelined_message_ends_nothing(mode: str) -> None:
    """Exim did the same where PIPELINING and CHUNKING were offered. In every mode each sender's message is one."""
    data = f"Subject: x\r\n\r\n.\r\n{_FORGED}..\r\n".encode()
    letters = [letter(number, content=Content.of([data], len(data))) for number in range(3)]
    server = ModelServer(lambda verb: "")
    talk = Talk(mode, *letters)
    for _ in range(30):
        if out := b"".join(talk.session.output()):
            talk.hear_quietly(*server.receive(out))
    assert [sender for sender, _ in server.accepted] == [f"{number}@s.example" for number in range(3)]
    assert {recipients for _, recipients in server.accepted} == {("a@x.example",)}


@pytest.mark.parametrize("name", ["/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/", "data:text/plain,x"])
def test_ghsa_p6gq_j5cr_w38f_a_message_names_no_file_to_be_read(name: str) -> None:
    """Nodemailer before 9.0.1 read the file or URL that ``raw`` named, though reading was switched off.

    Here nothing is ever read by name: content is bytes, and a whole message cannot be given ready-made.
    """
    content: Any = name
    with pytest.raises(ValidationError, match="never read"):
        Attachment(filename="a.txt", content=content)
    for raw in ({"path": name}, {"href": name}, name):
        with pytest.raises(ValidationError, match="raw"):
            structure(Message, {"to": ["bob@example.org"], "text": "x", "raw": raw})


_watched: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event in ("open", "socket.connect", "socket.getaddrinfo", "os.listdir"):
        _watched.append(f"{event} {arguments[0]}")


sys.addaudithook(_watch)


@pytest.mark.parametrize("key", ["path", "href", "raw"])
def test_ghsa_wqvq_jvpq_h66f_plain_data_reaches_no_file_and_no_address(key: str) -> None:
    """Nodemailer before 8.0.9 read files and URLs for its JSON form, whatever was forbidden. Ours refuses the keys.

    And composing opens nothing at all: the audit hook of the interpreter would see it.
    """
    global _watched  # an audit hook can never be removed
    attachment = {"filename": "a.txt", key: "/etc/passwd"}
    with pytest.raises(ValidationError, match=key):
        structure(Message, {"to": ["bob@example.org"], "text": "x", "attachments": [attachment]})
    message = Message(
        to="bob@example.org",
        text="file:///etc/passwd",
        html='<img src="/etc/passwd"><img src="http://169.254.169.254/"><img src="data:image/png;base64,AA==">',
        attachments=[Attachment(filename="/etc/passwd", content=b"x")],
    )
    _watched = []
    try:
        data = wire_of(message)
        seen = list(_watched)
    finally:
        _watched = None
    assert seen == []
    assert b"root:" not in data
