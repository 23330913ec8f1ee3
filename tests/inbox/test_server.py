"""The inbox as clients meet it, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from genie_connect.inbox import CertificateFiles, InboxServer, Received, Security, local_certificate

CONTENT = b"Subject: hi\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A certificate for the servers of this module."""
    return local_certificate(Path(tmp_path_factory.mktemp("certificate")))


@contextlib.asynccontextmanager
async def stream(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_smtplib_delivers_in_every_security_mode(security: Security, certificate: CertificateFiles) -> None:
    """A client logs in and its message arrives byte for byte, with what is known of the session."""
    server = InboxServer(
        security=security,
        ssl_context=None if security == "none" else certificate.server_context(),
        credentials={"ada": "s3cret"},
        allow_plaintext_auth=security == "none",
    )

    def deliver() -> None:
        context = certificate.client_context()
        client = (
            smtplib.SMTP_SSL("127.0.0.1", server.port, context=context)
            if security == "tls"
            else smtplib.SMTP("127.0.0.1", server.port)
        )
        with client:
            if security == "starttls":
                client.starttls(context=context)
            client.login("ada", "s3cret")
            assert client.sendmail("a@x.test", ["b@x.test", "c@x.test"], CONTENT) == {}

    async with server:
        await asyncio.to_thread(deliver)
        (message,) = await server.wait_for(1, timeout_s=5)
    assert message.data == CONTENT
    assert message.recipients == ("b@x.test", "c@x.test")
    assert (message.auth_user, message.tls) == ("ada", security != "none")


async def test_a_wrong_password_is_refused(certificate: CertificateFiles) -> None:
    """And so is mail without any."""
    async with InboxServer(
        security="tls", ssl_context=certificate.server_context(), credentials={"ada": "s3cret"}
    ) as server:

        def deliver() -> None:
            with smtplib.SMTP_SSL("127.0.0.1", server.port, context=certificate.client_context()) as client:
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    client.login("ada", "wrong")
                with pytest.raises(smtplib.SMTPSenderRefused) as refusal:
                    client.sendmail("a@x.test", ["b@x.test"], CONTENT)
                assert refusal.value.smtp_code == 530

        await asyncio.to_thread(deliver)
        assert server.messages == []


async def test_starttls_is_required_where_it_is_chosen(certificate: CertificateFiles) -> None:
    """No mail crosses in clear."""
    async with InboxServer(security="starttls", ssl_context=certificate.server_context()) as server:

        def deliver() -> None:
            with (
                smtplib.SMTP("127.0.0.1", server.port) as client,
                pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"),
            ):
                client.sendmail("a@x.test", ["b@x.test"], CONTENT)

        await asyncio.to_thread(deliver)


async def test_commands_sent_with_the_last_bytes_of_the_handshake_are_answered(
    certificate: CertificateFiles,
) -> None:
    """A client that does not wait after its Finished is served inside TLS."""
    async with InboxServer(security="starttls", ssl_context=certificate.server_context()) as server:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        writer.write(b"EHLO c\r\n")
        await reader.readuntil(b"250 STARTTLS\r\n")
        writer.write(b"STARTTLS\r\n")
        assert (await reader.readline()).startswith(b"220")
        sock = writer.get_extra_info("socket").dup()
        writer.transport.pause_reading()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = certificate.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with sock:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        await loop.sock_sendall(sock, outgoing.read())
                    incoming.write(await loop.sock_recv(sock, 65536))
            tls.write(b"EHLO c\r\nNOOP\r\n")
            await loop.sock_sendall(sock, outgoing.read())
            seen = b""
            while b"250 2.0.0 ok\r\n" not in seen:
                try:
                    seen += tls.read()
                except ssl.SSLWantReadError:
                    incoming.write(await loop.sock_recv(sock, 65536))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert b"STARTTLS" not in seen


async def test_pipelined_messages_are_all_received() -> None:
    """A thousand messages on one connection, with the next envelope behind each body."""
    envelope = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"
    async with InboxServer() as server, stream(server.port) as (reader, writer):
        writer.write(b"EHLO c\r\n" + b"".join(envelope + b"%d\r\n.\r\n" % n for n in range(1000)) + b"QUIT\r\n")
        replies = await reader.read()
        messages = await server.wait_for(1000, timeout_s=10)
    assert [int(message.data) for message in messages] == list(range(1000))
    assert replies.count(b"250 2.0.0 message accepted\r\n") == 1000
    assert replies.endswith(b"closing connection\r\n")


async def test_replies_to_one_segment_come_in_one_segment() -> None:
    """A pipelining client is answered with one write."""
    async with InboxServer() as server, stream(server.port) as (reader, writer):
        await reader.readline()
        writer.write(b"HELO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nNOOP\r\n")
        assert (await reader.read(4096)).count(b"\r\n") == 4


async def test_each_message_is_shown_and_only_the_newest_are_kept() -> None:
    """The callback sees all of them, memory does not grow."""
    shown: list[Received] = []
    async with InboxServer(max_kept_messages=2, on_message=shown.append) as server, stream(server.port) as (_, writer):
        writer.write(b"EHLO c\r\n")
        for number in range(5):
            writer.write(b"MAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nBDAT 1 LAST\r\n%d" % number)
        kept = await server.wait_for(5, timeout_s=5)
    assert [message.data for message in shown] == [b"0", b"1", b"2", b"3", b"4"]
    assert [message.data for message in kept] == [b"3", b"4"]


async def test_a_failing_display_does_not_change_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """The message is accepted and the error logged."""

    def fail(message: Received) -> None:
        raise RuntimeError("no terminal")

    async with InboxServer(on_message=fail) as server, stream(server.port) as (reader, writer):
        writer.write(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nBDAT 1 LAST\r\nxQUIT\r\n")
        assert b"message accepted" in await reader.read()
        assert server.received_count == 1
    assert "no terminal" in caplog.text


async def test_waiting_ends_with_the_count_in_the_error() -> None:
    """The error says how many came."""
    async with InboxServer() as server:
        with pytest.raises(TimeoutError, match="0 of 1"):
            await server.wait_for(1, timeout_s=0.01)


async def test_an_idle_client_is_told_and_dropped() -> None:
    """421 4.4.2 ends a connection on which nothing comes."""
    async with InboxServer(idle_timeout_s=0.01) as server, stream(server.port) as (reader, _):
        assert (await reader.read()).endswith(b"421 4.4.2 idle for too long\r\n")


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_it_runs_on_uvloop_too(security: Security, certificate: CertificateFiles) -> None:
    """The demo and hosts that want speed use that loop."""
    uvloop = pytest.importorskip("uvloop")

    def deliver(port: int) -> None:
        context = certificate.client_context()
        client = smtplib.SMTP_SSL if security == "tls" else smtplib.SMTP
        options = {"context": context} if security == "tls" else {}
        with client("127.0.0.1", port, **options) as session:
            if security == "starttls":
                session.starttls(context=context)
            session.sendmail("a@x.test", ["b@x.test"], CONTENT)

    async def serve() -> list[Received]:
        context = None if security == "none" else certificate.server_context()
        async with InboxServer(security=security, ssl_context=context) as server:
            await asyncio.to_thread(deliver, server.port)
            return await server.wait_for(1, timeout_s=5)

    assert [message.data for message in uvloop.run(serve())] == [CONTENT]


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_stopping_leaves_nothing_behind(security: Security, certificate: CertificateFiles) -> None:
    """Clients in every state, some in the middle of a handshake, are dropped with the server."""
    context = None if security == "none" else certificate.server_context()
    before = asyncio.all_tasks()
    server = InboxServer(security=security, ssl_context=context)
    async with server, contextlib.AsyncExitStack() as clients:
        for _ in range(3):
            reader, writer = await clients.enter_async_context(stream(server.port))
            if security != "tls":
                await reader.readline()
            if security == "starttls":
                writer.write(b"EHLO c\r\nSTARTTLS\r\n")
                await reader.readuntil(b"220 2.0.0")
        await server.close()
        assert asyncio.all_tasks() == before
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
    await server.close()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"security": "ssl"}, "security"),
        ({"security": "tls"}, "ssl_context"),
        ({"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}, "ssl_context"),
        ({"credentials": {"ada": "s3cret"}}, "credentials"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    """The error names the setting."""
    with pytest.raises(ValueError, match=message):
        InboxServer(**options)


def test_certificates_are_kept_and_their_key_is_private(tmp_path: Path) -> None:
    """A second call returns the same files, unless one of them is missing."""
    first = local_certificate(tmp_path / "new")
    key = first.key_file.read_bytes()
    assert first.key_file.stat().st_mode & 0o777 == 0o600
    assert local_certificate(tmp_path / "new").key_file.read_bytes() == key
    first.key_file.unlink()
    assert local_certificate(tmp_path / "new").key_file.read_bytes() != key
