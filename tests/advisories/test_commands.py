"""Advisories about SMTP commands that carry a second command, or a parameter nobody asked for; and about replies."""

from __future__ import annotations

from typing import Any

import pytest

from genie_connect import Address, Message
from genie_connect.errors import SettingsError, ValidationError
from genie_connect.model.outcome import State
from genie_connect.model.settings import structure_settings
from genie_connect_smtp import plugin
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import Ladder
from genie_connect_smtp.replies import MalformedReply, ReplyParser
from genie_connect_smtp.session import Session
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.transaction import Envelope, Transaction
from genie_connect_spec.fixtures import StartScriptedSmtp
from genie_connect_spec.smtp_script import Say, on
from tests.smtp.support import SENDER, batch, context, delivery, send_once, settings_for

_PLACES = ("to", "cc", "bcc", "from_", "reply_to", "envelope_from")


def _refused_everywhere(text: str, *, match: str = ".") -> None:
    """By the address itself, and by every field of a message that takes one."""
    with pytest.raises(ValidationError, match=match):
        Address.parse(text)
    for place in _PLACES:
        with pytest.raises(ValidationError, match=match):
            Message(**{"to": "bob@example.org", "text": "x", place: text})


def _refused_in_a_command(address: str) -> None:
    """By the command itself, should an address come past the model."""
    with pytest.raises(ValueError, match="end it"):
        Envelope(sender=address, recipients=()).mail_command()
    session = Session(Extensions(), Ladder("off"))
    session.supply = lambda: Transaction(Envelope(sender="a@b.example", recipients=(address,)))
    with pytest.raises(ValueError, match="end it"):
        session.output()


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_cve_2026_53533_no_line_end_in_a_command(end: str) -> None:
    """In aiosmtplib before 5.1.1 the server got what followed a line end in an address as a command of its own."""
    for text in (f"a@x.example>{end}RCPT TO:<evil@evil.example", f"a@x.example{end}DATA", f"a{end}@x.example"):
        _refused_everywhere(text, match="control character")
        _refused_in_a_command(text)


@pytest.mark.parametrize("extra", ["> SIZE=1", "> NOTIFY=NEVER", "> BODY=BINARYMIME", ">\tSIZE=1", "> <b@y.example"])
def test_aiosmtplib_5_1_3_an_address_brings_no_parameter(extra: str) -> None:
    """In aiosmtplib before 5.1.3 an address could end its own angle brackets, and a parameter of ESMTP followed."""
    _refused_everywhere(f"a@x.example{extra}")
    _refused_in_a_command(f"a@x.example{extra}")


async def test_aiosmtplib_5_1_3_the_ehlo_name_is_one_name(scripted_smtp: StartScriptedSmtp) -> None:
    """The same release: the host name given to EHLO could carry more. Ours is a domain or an address, or refused."""
    for name in ("x XCLIENT ADDR=192.0.2.1", "x\tHELO y", "[192.0.2.1] x", "x<y>"):
        with pytest.raises(SettingsError, match=r"EHLO can carry|control"):
            structure_settings(SmtpSettings, {"host": "smtp.example.com", "ehlo_name": name})
    server = await scripted_smtp()
    await send_once(settings_for(server, ehlo_name="mail.example.com"))
    assert server.wire.startswith(b"EHLO mail.example.com\r\nMAIL FROM:")


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_cve_2026_30227_no_line_end_in_a_quoted_local_part(end: str) -> None:
    """MimeKit before 4.15.1 took a line end between quotes for a part of the address, and the server did not."""
    text = f'"a{end}RCPT TO:<evil@evil.example>{end}"@x.example'
    _refused_everywhere(text, match="control character")
    _refused_in_a_command(text)


@pytest.mark.parametrize(
    "text",
    [
        '"toni@x.example> ORCPT=rfc822;evil@evil.example"@x.example',
        '"a> NOTIFY=NEVER "@x.example',
        '"a@evil.example>\\" "@x.example',
    ],
)
def test_cve_2025_59937_a_quoted_local_part_does_not_end_the_path(text: str) -> None:
    """go-mail before 0.7.1 wrote a quoted local part without its quotes, and what stood in it became ESMTP syntax."""
    _refused_everywhere(text)
    _refused_in_a_command(text)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\r\n\r\n"])
@pytest.mark.parametrize("place", ["before", "inside", "behind"])
def test_cve_2026_48019_what_is_called_an_address_has_no_line_end(place: str, end: str) -> None:
    """Laravel's rule for addresses let a line end pass, and a header field followed it. Blanks are no way around."""
    texts = {
        "before": f"{end}victim@x.example",
        "inside": f"victim@x.example{end}Bcc: evil@evil.example",
        "behind": f"victim@x.example{end}",
    }
    _refused_everywhere(texts[place], match="control character")


@pytest.mark.parametrize("name", ["x\r\nMAIL FROM:<evil@evil.example>", "x\n", "x\r", "\r\nRSET"])
async def test_ghsa_vvjj_xcjg_gr5g_the_name_of_the_client_is_no_command(
    name: str, scripted_smtp: StartScriptedSmtp
) -> None:
    """Nodemailer before 8.0.5 wrote its option ``name`` into EHLO as it was. Ours, given or taken from From, cannot."""
    with pytest.raises(SettingsError, match="ehlo_name"):
        structure_settings(SmtpSettings, {"host": "smtp.example.com", "ehlo_name": name})
    with pytest.raises(ValidationError):
        Address.parse(f"shop@{name}")
    server = await scripted_smtp()
    state = await plugin.connector_open(settings_for(server), plugin.Runtime(connection="primary", default_from=SENDER))
    await plugin.connector_send(state, batch(), context())
    await plugin.connector_close(state)
    assert server.wire.startswith(b"EHLO example.com\r\nMAIL FROM:")


async def test_ghsa_c7w3_x93f_qmm8_the_size_is_a_number(scripted_smtp: StartScriptedSmtp) -> None:
    """Nodemailer before 8.0.4 wrote the caller's ``size`` into MAIL. Ours is counted, and written as a number only."""
    evil: Any = "1\r\nDATA"
    with pytest.raises(ValueError, match="format code"):
        Envelope(sender="a@b.example", recipients=(), size_bytes=evil).mail_command()
    server = await scripted_smtp()
    (outcome,) = await send_once(settings_for(server), batch(metadata={"size": "1"}, headers={"X-Size": "SIZE=1"}))
    assert outcome.state is State.ACCEPTED
    (message,) = server.accepted
    assert f"MAIL FROM:<shop@example.com> SIZE={len(message.data)}\r\n".encode() in server.wire


def test_nodemailer_8_0_5_a_reply_is_decoded_by_whole_lines() -> None:
    """Nodemailer decoded each segment by itself, and a letter cut in two became two others. Lines are decoded whole."""
    data = "550 5.1.1 Ünknöwn — “Empfänger”\r\n".encode()
    for cut in range(len(data)):
        parser = ReplyParser()
        replies = [*parser.take(data[:cut]), *parser.take(data[cut:])]
        assert [reply.text for reply in replies] == ["Ünknöwn — “Empfänger”"]
    (broken,) = ReplyParser().take(b"550 5.1.1 \xe9\xff \x1b[31m\x00 \xed\xa0\x80 gone\r\n")
    assert broken.text.encode().endswith(b"gone")
    assert broken.text.isprintable()


@pytest.mark.parametrize(
    "line",
    [b"2_50 ok", b"+250 ok", b" 250 ok", b"2500 ok", b"250ok", b"-250 ok", b"550-no\r\n250 ok", b"", b"250 o\rk"],
)
async def test_nodemailer_9_0_2_what_is_no_reply_is_not_read_as_one(
    line: bytes, scripted_smtp: StartScriptedSmtp
) -> None:
    """Nodemailer read replies too leniently until it was hardened. Anything but three digits ends the connection."""
    parser = ReplyParser()
    parser.feed(line + b"\r\n")
    with pytest.raises(MalformedReply):
        parser.next_reply()
    server = await scripted_smtp([on("rcpt", Say(line + b"\r\n"))])
    (outcome,) = await send_once(settings_for(server))
    assert (outcome.state, outcome.reason, outcome.stage) == (State.DEFERRED, "protocol", "rcpt")
    assert server.handed_over == []


async def test_ghsa_rp4q_8m6x_c43c_what_a_server_refuses_behind_a_message_goes_again(
    scripted_smtp: StartScriptedSmtp,
) -> None:
    """Haraka, against smuggling, answers 503 to what comes behind the end of data. Nothing is lost or sent twice."""
    behind = [on(stage, Say(b"503 5.5.1 out of step\r\n"), message=1) for stage in ("mail", "rcpt", "data")]
    server = await scripted_smtp(behind)
    copies = [delivery(f"r{number}@x.example", number=number) for number in range(6)]
    outcomes = await send_once(settings_for(server, pipelining="next", max_connections=1), batch(*copies))
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert [message.recipients for message in server.accepted] == [(f"r{number}@x.example",) for number in range(6)]
    assert len(server.connections) == 1
