"""Each action of the scripted server does to a client exactly what it says."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
import struct
from collections.abc import AsyncIterator

import pytest

from genie_connect_spec.fixtures import StartScriptedSmtp
from genie_connect_spec.smtp_certificates import CERTIFICATES, TRUSTED, CertificateSet
from genie_connect_spec.smtp_record import ConnectionRecord
from genie_connect_spec.smtp_script import (
    GARBAGE,
    Action,
    AfterBytes,
    Answer,
    Close,
    Decide,
    Delay,
    Drip,
    Flood,
    Garbage,
    HalfClose,
    Hang,
    Refuse,
    Reply421,
    Reset,
    Rule,
    Say,
    SayThen,
    StopReading,
    Unanswered,
    ehlo_reply,
    first_code,
    on,
    rules_of,
)
from genie_connect_spec.smtp_server import ScriptedSmtpServer, refusing_port, unanswered_port

ENVELOPE = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n"
MESSAGE = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n..hi\r\n.\r\n"
OVER = (b"", None)


@contextlib.asynccontextmanager
async def connect(
    server: ScriptedSmtpServer, **options: object
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to a server."""
    reader, writer = await asyncio.open_connection(server.host, server.port, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_end(reader: asyncio.StreamReader) -> str:
    """Read until the server ends it; say how."""
    try:
        await reader.read()
    except ConnectionResetError:
        return "reset"
    return "closed"


async def converse(server: ScriptedSmtpServer, data: bytes) -> bytes:
    """Send everything at once, then QUIT; return everything that came."""
    async with connect(server) as (reader, writer):
        writer.write(b"EHLO c\r\n" + data + b"QUIT\r\n")
        return await reader.read()


async def test_without_a_script_it_is_a_proper_server(scripted_smtp: StartScriptedSmtp) -> None:
    """A client of the standard library delivers, and everything is on record."""
    server = await scripted_smtp()

    def deliver() -> None:
        with smtplib.SMTP(server.host, server.port) as client:
            client.login("ada", "anything")
            client.sendmail("a@x.test", ["b@x.test"], b".dot\r\n")

    await asyncio.to_thread(deliver)
    await server.wait_until_idle(5)
    (connection,) = server.connections
    assert connection.stages() == ["ehlo", "auth", "mail", "rcpt", "data", "final", "quit"]
    (message,) = server.accepted
    assert (message.data, message.auth_user, message.number) == (b".dot\r\n", "ada", 0)
    assert server.auth_attempts == 1
    assert connection.wire == connection.received_plain == server.wire
    assert b"..dot\r\n.\r\n" in connection.wire


async def test_a_recipient_is_chosen_by_index_or_by_address(scripted_smtp: StartScriptedSmtp) -> None:
    """Only the selected RCPT gets the scripted reply, and the message goes to the others."""
    server = await scripted_smtp(
        [on("rcpt", Say(b"550 5.1.1 no\r\n"), index=1), on("rcpt", Say(b"450 4.2.0 later\r\n"), address="d@x.test")]
    )
    rcpts = b"".join(b"RCPT TO:<%s@x.test>\r\n" % name for name in (b"b", b"c", b"d", b"e"))
    replies = await converse(server, b"MAIL FROM:<a@x.test>\r\n" + rcpts + b"DATA\r\nx\r\n.\r\n")
    assert b"550 5.1.1 no\r\n450 4.2.0 later\r\n250 2.1.5" in replies
    assert server.accepted[0].recipients == ("b@x.test", "e@x.test")


async def test_the_nth_message_and_the_nth_connection_are_chosen(scripted_smtp: StartScriptedSmtp) -> None:
    """Rules with selectors leave every other message and connection alone."""
    server = await scripted_smtp(
        [
            on("final", Say(b"554 5.6.0 no\r\n"), connection=0, message=1),
            on("mail", Reply421(), connection=1, message=1),
        ]
    )
    await converse(server, MESSAGE * 3)
    assert (await converse(server, MESSAGE * 3)).endswith(b"transmission channel\r\n")
    await converse(server, MESSAGE)
    assert [(message.connection, message.number) for message in server.accepted] == [(0, 0), (0, 2), (1, 0), (2, 0)]
    assert [message.accepted for message in server.handed_over] == [True, False, True, True, True]
    with pytest.raises(TimeoutError):
        await server.wait_for_connections(4, 0.01)


async def test_each_message_has_its_own_answer(scripted_smtp: StartScriptedSmtp) -> None:
    """Although another connection hands one over while the first still waits for its answer."""
    server = await scripted_smtp([on("final", Delay(0.1), connection=0), on("final", Say(b"451 no\r\n"), connection=1)])
    await asyncio.gather(converse(server, MESSAGE), converse(server, MESSAGE))
    assert [(message.connection, message.accepted) for message in server.handed_over] == [(0, True), (1, False)]


async def test_the_first_rule_that_applies_wins(scripted_smtp: StartScriptedSmtp) -> None:
    """Later rules are the general case."""
    server = await scripted_smtp([on("noop", Say(b"250 first\r\n"), connection=0), on("noop", Say(b"250 other\r\n"))])
    assert b"250 first\r\n" in await converse(server, b"NOOP\r\n")
    assert b"250 other\r\n" in await converse(server, b"NOOP\r\n")


async def test_a_function_decides_when_it_comes_to_that(scripted_smtp: StartScriptedSmtp) -> None:
    """A server that counts: the third NOOP is one too many."""

    def count(connection: ConnectionRecord) -> Action:
        return Say(b"450 4.7.0 too many\r\n") if connection.stages().count("noop") > 2 else Answer()

    server = await scripted_smtp({"noop": Decide(count)})
    replies = await converse(server, b"NOOP\r\n" * 3)
    assert b"250 2.0.0 ok\r\n250 2.0.0 ok\r\n450 4.7.0 too many\r\n" in replies


async def test_a_lie_is_kept_up(scripted_smtp: StartScriptedSmtp) -> None:
    """The server goes on as if it had meant the reply it was told to give."""
    server = await scripted_smtp({"mail": Say(b"250 fine\r\n"), "rcpt": Say(b"550 no\r\n"), "data": Say(b"354 go\r\n")})
    replies = await converse(server, b"MAIL nonsense\r\nRCPT nonsense\r\nDATA\r\nx\r\n.\r\n")
    assert b"250 fine\r\n550 no\r\n354 go\r\n250 2.0.0" in replies
    assert (server.accepted[0].recipients, server.accepted[0].data) == ((), b"x\r\n")


@pytest.mark.parametrize(
    "data, code",
    [
        (b"250 ok\r\n", 250),
        (b"250\r\n", 250),
        (b"250-a\r\n250 b\r\n550 c\r\n", 250),
        (b"550-a\r\n250 b\r\n", 0),
        (b"2_50 ok\r\n", 0),
        (b"+250 ok\r\n", 0),
        (b"2500 ok\r\n", 0),
        (b"250ok\r\n", 0),
        (b"250 ok\n", 0),
        (b"250 ok", 0),
        (b"250-ok\r\n", 0),
        (b"\r\n", 0),
        (b"", 0),
    ],
)
def test_the_code_said_is_read_strictly(data: bytes, code: int) -> None:
    """Only a well-formed first reply counts."""
    assert first_code(data) == code


async def test_bytes_can_be_put_round_the_proper_answer(scripted_smtp: StartScriptedSmtp) -> None:
    """They come in the segment of the answer."""
    server = await scripted_smtp({"ehlo": Answer(before=b"250 early\r\n", after=b"250 late\r\n")})
    async with connect(server) as (reader, writer):
        await reader.readline()
        writer.write(b"EHLO c\r\n")
        segment = await reader.read(65536)
    assert segment.startswith(b"250 early\r\n250-scripted.test\r\n")
    assert segment.endswith(b"\r\n250 late\r\n")


ENDINGS: list[tuple[Action, bytes, str]] = [
    (Close(), b"", "closed"),
    (Reset(), b"", "reset"),
    (SayThen(b"250 ok\r\n", Close()), b"250 ok\r\n", "closed"),
    (SayThen(b"25", Close()), b"25", "closed"),
    (Reply421(), b"421 4.3.2 service not available, closing transmission channel\r\n", "closed"),
    (Delay(0.0, Close()), b"", "closed"),
]


@pytest.mark.parametrize("action, said, end", ENDINGS, ids=str)
@pytest.mark.parametrize("stage", ["connect", "banner", "ehlo", "mail", "rcpt", "data", "final"])
async def test_conversations_end_as_scripted(
    scripted_smtp: StartScriptedSmtp, stage: str, action: Action, said: bytes, end: str
) -> None:
    """At every stage, after exactly the bytes of the script."""
    server = await scripted_smtp({stage: action})
    async with connect(server) as (reader, writer):
        commands = [b"", b"EHLO c\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<b@x.test>\r\n", b"DATA\r\n", b".\r\n"]
        steps = dict(zip(["banner", "ehlo", "mail", "rcpt", "data", "final"], commands, strict=True))
        for name, command in steps.items():
            writer.write(command)
            if name == stage or stage == "connect":
                break
            await reader.readuntil(b"AUTH PLAIN LOGIN\r\n" if name == "ehlo" else b"\r\n")
        if end == "closed":
            assert await reader.read() == said
        else:
            with pytest.raises(ConnectionResetError):
                await reader.read()
    await server.wait_until_idle(5)
    assert server.accepted == ([] if stage != "final" or not said.startswith(b"250 ") else server.handed_over)


async def test_421_without_closing_goes_on(scripted_smtp: StartScriptedSmtp) -> None:
    """Some servers say 421 and stay."""
    server = await scripted_smtp([on("mail", Reply421(close=False), message=0)])
    replies = await converse(server, b"MAIL FROM:<a@x.test>\r\n" + MESSAGE)
    assert b"421 4.3.2" in replies
    assert len(server.accepted) == 1


async def test_hang_reads_and_says_nothing(scripted_smtp: StartScriptedSmtp) -> None:
    """The client's bytes are recorded until it leaves."""
    server = await scripted_smtp({"mail": Hang()})
    async with connect(server) as (reader, writer):
        writer.write(b"EHLO c\r\n")
        await reader.readuntil(b"AUTH PLAIN LOGIN\r\n")
        writer.write(b"MAIL FROM:<a@x.test>\r\nhello?\r\n")
        writer.write_eof()
        assert await reader.read() == b""
    await server.wait_until_idle(5)
    assert server.connections[0].wire.endswith(b"hello?\r\n")


async def test_half_close_ends_one_direction(scripted_smtp: StartScriptedSmtp) -> None:
    """The client reads an end of file and can still write."""
    server = await scripted_smtp({"mail": HalfClose()})
    async with connect(server) as (reader, writer):
        writer.write(b"EHLO c\r\nMAIL FROM:<a@x.test>\r\n")
        await reader.read()
        writer.write(b"still here\r\n")
        await writer.drain()
        writer.write_eof()
        await server.wait_until_idle(5)
    assert server.connections[0].wire.endswith(b"still here\r\n")


async def test_stop_reading_closes_the_window(scripted_smtp: StartScriptedSmtp) -> None:
    """The client cannot get rid of its message, and the server notices when it gives up."""
    server = await scripted_smtp({"body": AfterBytes(1000, StopReading())}, receive_buffer_bytes=16384)
    async with connect(server) as (reader, writer):
        writer.write(b"EHLO c\r\n" + ENVELOPE + b"DATA\r\n")
        await reader.readuntil(b"354")
        writer.write(b"x" * 16_000_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.2)
        # A polite close would wait behind the bytes that nobody reads.
        no_linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    await server.wait_until_idle(5)
    assert len(server.connections[0].wire) < 1_000_000
    assert server.handed_over == []


async def test_actions_happen_in_the_middle_of_a_body(scripted_smtp: StartScriptedSmtp) -> None:
    """A refusal after so many bytes comes before the end mark is looked at."""
    server = await scripted_smtp({"body": AfterBytes(10, SayThen(b"552 5.3.4 too big\r\n", Close()))})
    async with connect(server) as (reader, writer):
        writer.write(b"EHLO c\r\n" + ENVELOPE + b"DATA\r\n")
        await reader.readuntil(b"354 end data with <CR><LF>.<CR><LF>\r\n")
        writer.write(b"123456789")
        await writer.drain()
        writer.write(b"0\r\n.\r\n")
        assert await reader.read() == b"552 5.3.4 too big\r\n"
    assert server.handed_over == []


async def test_a_small_body_is_left_alone(scripted_smtp: StartScriptedSmtp) -> None:
    """An action after more bytes than the message has never happens."""
    server = await scripted_smtp({"body": AfterBytes(1000, Reset())})
    await converse(server, MESSAGE)
    assert len(server.accepted) == 1


async def test_drip_sends_one_byte_at_a_time(scripted_smtp: StartScriptedSmtp) -> None:
    """The reply comes whole in the end, and counts."""
    server = await scripted_smtp({"mail": Drip(b"250 slow\r\n", 0.0)})
    replies = await converse(server, MESSAGE)
    assert b"250 slow\r\n250 2.1.5" in replies
    assert len(server.accepted) == 1


async def test_flood_goes_on_until_the_client_leaves(scripted_smtp: StartScriptedSmtp) -> None:
    """Megabytes come, and stop with the connection."""
    server = await scripted_smtp({"banner": Flood(b"x" * 1000, first=b"220 ")})
    async with connect(server) as (reader, _):
        assert await reader.readexactly(5) == b"220 x"
        assert await reader.readexactly(3_000_000) == b"x" * 3_000_000
    await server.wait_until_idle(5)


async def test_garbage_is_no_smtp(scripted_smtp: StartScriptedSmtp) -> None:
    """It refuses, whatever a client makes of it."""
    server = await scripted_smtp({"rcpt": Garbage()})
    replies = await converse(server, MESSAGE)
    assert GARBAGE + b"554 5.5.1 no valid recipients\r\n" in replies
    assert server.handed_over == []


async def test_delay_answers_properly_in_the_end(scripted_smtp: StartScriptedSmtp) -> None:
    """Without another action the proper answer follows."""
    server = await scripted_smtp({"mail": Delay(0.0)})
    await converse(server, MESSAGE)
    assert len(server.accepted) == 1


async def test_refuse_lets_nobody_connect(scripted_smtp: StartScriptedSmtp) -> None:
    """From the chosen connection on nothing listens."""
    server = await scripted_smtp([on("connect", Refuse(), connection=1)])
    await converse(server, MESSAGE)
    for port in (server.port, (await scripted_smtp({"connect": Refuse()})).port):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(server.host, port)
    async with refusing_port() as port:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_unanswered_connecting_hangs(scripted_smtp: StartScriptedSmtp) -> None:
    """The TCP handshake never ends."""
    server = await scripted_smtp({"connect": Unanswered()})
    async with unanswered_port() as port:
        for silent in (server.port, port):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.open_connection("127.0.0.1", silent), 0.1)
    assert server.connections == []


@pytest.mark.parametrize(
    "stage, action, message",
    [
        ("finale", Close(), "stages are connect"),
        ("mail", Refuse(), "stage connect"),
        ("mail", AfterBytes(1, Close()), "stage body"),
        ("connect", Delay(1, Refuse()), "inside another"),
        ("body", SayThen(b"", AfterBytes(1, Close())), "inside another"),
    ],
)
def test_scripts_that_cannot_be_played_are_refused(stage: str, action: Action, message: str) -> None:
    """The mistake shows where the script is written."""
    with pytest.raises(ValueError, match=message):
        on(stage, action)
    with pytest.raises(ValueError, match=message):
        rules_of({stage: action})


def test_a_script_may_be_a_mapping_or_rules() -> None:
    """Both come to the same."""
    assert rules_of({"mail": Close()}) == (Rule(stage="mail", action=Close()),) == rules_of([on("mail", Close())])


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_tls_is_recorded_encrypted_and_decrypted(
    scripted_smtp: StartScriptedSmtp, smtp_certificates: CertificateSet, security: str
) -> None:
    """The wire shows what an eavesdropper sees, and the record what was said."""
    server = await scripted_smtp(security=security)

    def deliver() -> None:
        context = smtp_certificates.client_context()
        client = (
            smtplib.SMTP_SSL(server.host, server.port, context=context)
            if security == "tls"
            else smtplib.SMTP(server.host, server.port)
        )
        with client:
            if security == "starttls":
                client.starttls(context=context)
            client.login("ada", "s3cret")
            client.sendmail("a@x.test", ["b@x.test"], b"x\r\n")

    await asyncio.to_thread(deliver)
    await server.wait_until_idle(5)
    (connection,) = server.connections
    assert b"AUTH PLAIN" in connection.received_tls
    assert b"AUTH" not in connection.wire
    assert connection.received_plain == (b"" if security == "tls" else connection.received_plain)
    assert connection.received_plain.endswith(b"STARTTLS\r\n") is (security == "starttls")
    assert connection.tls_version == "TLSv1.3"
    assert server.accepted[0].tls
    assert [command.tls for command in connection.commands if command.stage == "auth"] == [True]
    assert ("ehlo_tls" in connection.stages()) is (security == "starttls")


@pytest.mark.parametrize("certificate", CERTIFICATES)
async def test_only_the_good_certificate_is_believed(
    scripted_smtp: StartScriptedSmtp, smtp_certificates: CertificateSet, certificate: str
) -> None:
    """Each bad one fails the check of a client that connects by address."""
    server = await scripted_smtp(security="tls", certificate=certificate)
    context = smtp_certificates.client_context()
    if certificate in TRUSTED:
        async with connect(server, ssl=context, server_hostname="127.0.0.1") as (reader, _):
            assert (await reader.readline()).startswith(b"220 ")
        return
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(server.host, server.port, ssl=context, server_hostname="127.0.0.1")
    await server.wait_until_idle(5)
    assert server.connections[0].received_tls == b""
    assert server.connections[0].error is not None


async def test_a_server_with_old_tls_only_is_no_partner(
    scripted_smtp: StartScriptedSmtp, smtp_certificates: CertificateSet
) -> None:
    """A client with Python's defaults finds no common version."""
    server = await scripted_smtp(security="tls", only_old_tls=True)
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection(
            server.host, server.port, ssl=smtp_certificates.client_context(), server_hostname="127.0.0.1"
        )


async def test_starttls_can_be_stripped_from_the_offer(scripted_smtp: StartScriptedSmtp) -> None:
    """The EHLO answer is exactly what the script makes it."""
    server = await scripted_smtp({"ehlo": Say(ehlo_reply("SIZE 10", "AUTH PLAIN"))}, security="starttls")
    replies = await converse(server, b"")
    assert b"\r\n250-scripted.test\r\n250-SIZE 10\r\n250 AUTH PLAIN\r\n221" in replies


async def test_stopping_ends_every_conversation(smtp_certificates: CertificateSet) -> None:
    """No task and no connection is left, whatever the script was doing."""
    before = asyncio.all_tasks()
    actions: list[Action] = [Hang(), HalfClose(), Delay(60.0), Drip(b"x" * 99, 60.0), Flood(b"x" * 65536)]
    rules = [on("banner", action, connection=number) for number, action in enumerate(actions)]
    rules.append(on("tls", Hang(), connection=len(actions)))
    server = ScriptedSmtpServer(rules, certificates=smtp_certificates)
    async with contextlib.AsyncExitStack() as clients:
        async with server:
            for _ in range(len(actions) + 1):
                await clients.enter_async_context(connect(server))
            await server.wait_for_connections(len(actions) + 1, 5)
        assert asyncio.all_tasks() == before
        assert all(connection.ended.is_set() for connection in server.connections)
    await server.close()
