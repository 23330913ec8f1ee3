"""Proves the fixtures with the standard library's client: what a server does here is the server's doing."""

import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import make_msgid
from pathlib import Path

import pytest

from tests.integration.servers import SERVERS, Delivery, RealServer
from tests.integration.servers.base import ServerFailedError

SENDER = "shop@sender.test"


@pytest.fixture
def client(real_server: RealServer) -> Iterator[smtplib.SMTP]:
    """A connection to the server, after EHLO."""
    with smtplib.SMTP(real_server.host, real_server.port, timeout=30) as connection:
        connection.ehlo("client.test")
        yield connection


def message(*body_lines: bytes) -> tuple[bytes, bytes]:
    """A complete message and its Message-ID."""
    message_id = make_msgid(domain="sender.test").encode()
    head = [
        b"From: Shop <shop@sender.test>",
        b"To: Ada <ada@example.com>",
        b"Subject: Your order",
        b"Date: Mon, 06 Jan 2025 10:00:00 +0000",
        b"Message-ID: " + message_id,
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: 8bit",
        b"",
    ]
    return b"\r\n".join([*head, *body_lines, b""]), message_id


def test_accepted_message_comes_back_byte_exact(real_server: RealServer, client: smtplib.SMTP) -> None:
    """Dots, 8-bit text, a line of 998 bytes, trailing blanks and empty lines all survive the server."""
    data, message_id = message(
        b".", b"..two", b". one", "Grüße, 你好".encode(), b"x" * 998, b"trailing blanks  ", b"", b"\tend", b"", b""
    )
    client.sendmail(SENDER, ["ada@example.com"], data, mail_options=["BODY=8BITMIME"])
    delivery = real_server.wait_for(["ada@example.com"], message_id)["ada@example.com"]
    assert delivery.mail_from == SENDER
    assert delivery.content == data
    assert delivery.trace.startswith(b"Received: ")


def test_large_message_comes_back_byte_exact(real_server: RealServer, client: smtplib.SMTP) -> None:
    """A message the size of a 5 MB attachment in base64 is under the limit and comes back whole."""
    data, message_id = message(*[b"QUJDREVGR0g" * 6 + b"=="] * 101_000)
    client.sendmail(SENDER, ["ada@example.com"], data)
    assert real_server.wait_for(["ada@example.com"], message_id)["ada@example.com"].content == data


def test_twenty_recipients_each_get_it(real_server: RealServer, client: smtplib.SMTP) -> None:
    """All recipients of one transaction get the same bytes, whether the server splits it or not."""
    data, message_id = message(b"Hello")
    recipients = [f"user{number}@example.com" for number in range(20)]
    assert client.sendmail(SENDER, recipients, data) == {}
    arrived = real_server.wait_for(recipients, message_id)
    assert {delivery.content for delivery in arrived.values()} == {data}
    assert sorted(name for one in real_server.deliveries(message_id) for name in one.rcpt_to) == sorted(recipients)


def test_twelve_messages_on_one_connection_all_arrive(real_server: RealServer, client: smtplib.SMTP) -> None:
    """No server leaves the later messages of a long connection in its queue."""
    sent = [message(f"Number {number}".encode()) for number in range(12)]
    for data, _ in sent:
        client.sendmail(SENDER, ["ada@example.com"], data)
    for data, message_id in sent:
        assert real_server.wait_for(["ada@example.com"], message_id)["ada@example.com"].content == data


def test_refused_and_temporary_recipients_are_answered_one_by_one(
    real_server: RealServer, client: smtplib.SMTP
) -> None:
    """Only the good recipient of a mixed transaction gets the message."""
    data, message_id = message(b"Hello")
    failed = client.sendmail(SENDER, ["refused@example.com", "ada@example.com", "temporary@example.com"], data)
    assert failed["refused@example.com"][0] == 550
    assert failed["refused@example.com"][1].startswith(b"5.1.1")
    assert failed["temporary@example.com"][0] in (450, 451)
    assert set(failed) == {"refused@example.com", "temporary@example.com"}
    real_server.wait_for(["ada@example.com"], message_id)
    assert [one.rcpt_to for one in real_server.deliveries(message_id)] == [("ada@example.com",)]


def test_bad_sender_is_refused_at_the_stage_the_hint_names(real_server: RealServer, client: smtplib.SMTP) -> None:
    """The refusal of a sender comes at MAIL or, where the server delays it, at RCPT."""
    replies = {"MAIL": client.mail("badsender@sender.test")[0], "RCPT": client.rcpt("ada@example.com")[0]}
    assert replies[real_server.refuses_sender_at] in (550, 553)
    assert (replies["MAIL"] == 250) is (real_server.refuses_sender_at == "RCPT")


def test_size_is_announced_and_a_declared_size_answered_as_the_hint_says(
    real_server: RealServer, client: smtplib.SMTP
) -> None:
    """A declared size over the limit is refused before any content is sent, by the servers that look at it."""
    assert int(client.esmtp_features["size"]) == real_server.size_limit_bytes
    code, _ = client.mail(SENDER, ["SIZE=12000000"])
    assert code == (real_server.oversize_code if real_server.refuses_declared_size else 250)


def test_oversize_content_is_refused_after_the_dot(real_server: RealServer, client: smtplib.SMTP) -> None:
    """Twelve megabytes without a declared size are read to the end and then refused."""
    data, message_id = message(*[b"x" * 70] * 170_000)
    client.mail(SENDER)
    client.rcpt("ada@example.com")
    code, _ = client.data(data)
    assert code == real_server.oversize_code
    assert real_server.deliveries(message_id) == []


def test_announces_what_the_fixture_says(real_server: RealServer, client: smtplib.SMTP) -> None:
    """The hints about extensions hold, so that tests may choose by them."""
    announced = {keyword.upper() for keyword in client.esmtp_features}
    assert real_server.supports <= announced
    assert ("SMTPUTF8" in announced) is ("SMTPUTF8" in real_server.supports)


def test_utf8_addresses_pass_where_supported(real_server: RealServer, client: smtplib.SMTP) -> None:
    """An internationalised recipient comes out as it went in."""
    if "SMTPUTF8" not in real_server.supports:
        assert not client.has_extn("smtputf8")
        return
    data, message_id = message("Grüße".encode())
    client.sendmail(SENDER, ["jörg@example.com"], data, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    assert real_server.wait_for(["jörg@example.com"], message_id)["jörg@example.com"].content == data


def test_nothing_is_left_when_the_server_stops(server_class: type[RealServer], tmp_path: Path) -> None:
    """Leaving the block ends every process of the server and frees its port."""
    with server_class(tmp_path / "server") as server:
        assert server.process is not None
        group = server.process.pid
        assert _processes_of(group)
        with smtplib.SMTP(server.host, server.port, timeout=30) as connection:
            data, message_id = message(b"Hello")
            connection.sendmail(SENDER, ["ada@example.com"], data)
        server.wait_for(["ada@example.com"], message_id)
    assert _processes_of(group) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=5)


def _processes_of(session: int) -> list[str]:
    """The living processes of a session, read from /proc: proc(5), stat."""
    names = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().rpartition(") ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, session_id = fields.split()[:4]
        if int(session_id) == session and state not in "ZX":
            names.append(name)
    return names


def test_nothing_is_left_when_the_tests_are_killed(server_class: type[RealServer], tmp_path: Path) -> None:
    """A test run that is killed outright takes the server with it."""
    script = (
        "import os, pathlib, signal, sys\n"
        "from tests.integration.servers import SERVERS\n"
        "with SERVERS[sys.argv[1]](pathlib.Path(sys.argv[2])) as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    checkout = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script, server_class.name, str(tmp_path / "server")],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    deadline = time.monotonic() + 20
    while left := _processes_of(int(killed.stdout)):
        assert time.monotonic() < deadline, left


def test_failed_start_says_what_the_server_said(
    server_class: type[RealServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends at once is reported with its output."""
    monkeypatch.setattr(server_class, "configure", lambda server: ["/bin/sh", "-c", "echo no such licence; exit 3"])
    with (
        pytest.raises(ServerFailedError, match=r"(?s)ended with status 3.*no such licence"),
        server_class(tmp_path / "server"),
    ):
        pass


def test_absent_server_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is installed every server says which command installs it."""
    monkeypatch.setenv("GENIE_CONNECT_SERVERS", os.fspath(tmp_path))
    for name, server in SERVERS.items():
        assert f"install-servers {name}" in (server.why_not() or "")


def test_content_is_what_follows_the_trace_fields() -> None:
    """Folded trace fields on top are taken off, and only those."""
    delivery = Delivery(
        mail_from="",
        rcpt_to=(),
        mail_parameters=(),
        data=b"Received: a\r\n\tb\r\nReturn-Path: <>\r\nSubject: x\r\nReceived: c\r\n\r\nbody",
    )
    assert delivery.content == b"Subject: x\r\nReceived: c\r\n\r\nbody"
    assert delivery.trace == b"Received: a\r\n\tb\r\nReturn-Path: <>\r\n"
