"""``inbox``, as a process of its own, with real mail."""

from __future__ import annotations

import json
import re
import signal
import smtplib
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli

PASSWORD = "open-sesame-please"
MAIL = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nhello\x1b[31m\r\n..dot\r\n"


class Running:
    """An inbox that listens, and the configuration it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        lines = []
        # The table ends with an empty line; reading on would wait for ever.
        while not (lines and lines[-1] == "\n" and any(line.startswith("port") for line in lines)):
            line = process.stderr.readline()
            assert line, "".join(lines)
            lines.append(line)
        self.printed = "".join(lines)
        self.toml = self.printed[self.printed.index("[connections.inbox]") :]
        self.settings: dict[str, Any] = tomllib.loads(self.toml)["connections"]["inbox"]["settings"]

    def line(self) -> str:
        """The next line of standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def finish(self) -> tuple[int, str, str]:
        """Exit code and the rest of the output, once it has ended."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def running(cli: Cli, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Running]:
    """An inbox on a free port until the end of the block."""
    process = cli.start("inbox", "--port", "0", *arguments, env=env)
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def deliver(inbox: Running) -> None:
    """Send the mail with the standard library's client."""
    hand_over(smtplib.SMTP(inbox.settings["host"], inbox.settings["port"], timeout=10))


def deliver_over_tls(inbox: Running) -> None:
    """The same with TLS from the first byte, trusting the printed authority alone."""
    context = ssl.create_default_context(cafile=inbox.settings["ca_file"])
    hand_over(smtplib.SMTP_SSL("127.0.0.1", inbox.settings["port"], timeout=10, context=context))


def hand_over(client: smtplib.SMTP) -> None:
    """Send the mail and hang up; an inbox that has its number of messages may be gone before QUIT."""
    try:
        client.sendmail("shop@example.com", ["ada@example.com"], MAIL)
    finally:
        client.close()


def test_prints_a_line_for_each_message(cli: Cli) -> None:
    """Who to whom, the subject, the size; and what a terminal would obey is taken out of the text."""
    with running(cli, "--show", "--count", "1") as inbox:
        deliver(inbox)
        code, out, err = inbox.finish()
    assert code == 0
    line, *text = out.splitlines()
    assert re.fullmatch(r'\d\d:\d\d:\d\d  shop@example.com -> ada@example.com  "Grüße"  \d+ bytes', line)
    assert [each.strip() for each in text] == ["hello\N{REPLACEMENT CHARACTER}[31m", "..dot"]
    assert err == "1 message received\n"


def test_prints_json_lines(cli: Cli) -> None:
    """With --json each message is one object on a line, as it arrives."""
    with running(cli, "--json", "--show", "--count", "2") as inbox:
        for _ in range(2):
            deliver(inbox)
            data = json.loads(inbox.line())
            assert (data["envelope_from"], data["recipients"]) == ("shop@example.com", ["ada@example.com"])
            assert (data["subject"], data["tls"], data["file"]) == ("Grüße", False, None)
        assert inbox.finish()[0] == 0


def test_saves_each_message_byte_for_byte(cli: Cli) -> None:
    """--save writes what came, dots unstuffed, and never over another file."""
    with running(cli, "--save", "mail", "--count", "2") as inbox:
        deliver(inbox)
        deliver(inbox)
        assert inbox.finish()[0] == 0
    files = list((cli.folder / "mail").iterdir())
    assert [file.read_bytes() for file in files] == [MAIL, MAIL]


def test_prints_a_configuration_that_works_as_it_stands(cli: Cli) -> None:
    """The table goes into the file, and a test and a send go through: TLS, certificate and password included."""
    pytest.importorskip("genie_connect_smtp")
    secret = {"GENIE_CONNECT_INBOX_PASSWORD": PASSWORD}
    arguments = ("--security", "starttls", "--username", "ada", "--certificates", "tls", "--count", "1")
    with running(cli, *arguments, env=secret) as inbox:
        assert inbox.settings["password"] == "env:GENIE_CONNECT_INBOX_PASSWORD"
        cli.configure(inbox.toml)
        tested = cli.process("test", "inbox", env=secret)
        assert tested.returncode == 0, tested.stdout + tested.stderr
        sent = cli.process("send", "--to", "bob@example.com", "--subject", "Hi", "--text", "x", env=secret)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        code, out, err = inbox.finish()
    assert code == 0
    assert "TLS  signed in as ada" in out
    for output in (inbox.printed, out, err, tested.stdout, tested.stderr, sent.stdout, sent.stderr):
        assert PASSWORD not in output


@pytest.mark.long
def test_diagnoses_a_real_server_by_stage(cli: Cli) -> None:
    """Wrong password, wrong certificate and nobody there end with the codes of their stages."""
    pytest.importorskip("genie_connect_smtp")
    arguments = ("--security", "starttls", "--username", "ada", "--certificates", "tls")
    with running(cli, *arguments, env={"GENIE_CONNECT_INBOX_PASSWORD": PASSWORD}) as inbox:
        cli.configure(inbox.toml)
        wrong = cli.process("test", "inbox", env={"GENIE_CONNECT_INBOX_PASSWORD": "wrong"})
        assert wrong.returncode == ExitCode.AUTH
        cli.configure("\n".join(line for line in inbox.toml.splitlines() if not line.startswith("ca_file")))
        untrusted = cli.process("test", "inbox", "--json", env={"GENIE_CONNECT_INBOX_PASSWORD": PASSWORD})
        assert untrusted.returncode == ExitCode.TLS
        assert json.loads(untrusted.stdout)["diagnosis"]["fixes"]
    gone = cli.process("test", "inbox", env={"GENIE_CONNECT_INBOX_PASSWORD": PASSWORD})
    assert gone.returncode == ExitCode.CONNECT


def test_speaks_tls_from_the_first_byte(cli: Cli) -> None:
    """--security tls makes a certificate that the printed CA file vouches for."""
    with running(cli, "--security", "tls", "--certificates", "tls", "--count", "1") as inbox:
        deliver_over_tls(inbox)
        code, out, _ = inbox.finish()
    assert code == 0
    assert out.rstrip().endswith("TLS")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ends_cleanly_when_interrupted(cli: Cli) -> None:
    """Ctrl-C ends with 130, a count, and no traceback."""
    with running(cli) as inbox:
        deliver(inbox)
        assert "Grüße" in inbox.line()
        inbox.process.send_signal(signal.SIGINT)
        code, out, err = inbox.finish()
    assert (code, out) == (ExitCode.INTERRUPTED, "")
    assert "1 message received" in err
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err


def test_takes_no_password_as_an_argument(cli: Cli) -> None:
    """A literal is refused, and not repeated."""
    result = cli("inbox", "--username", "ada", "--security", "tls", "--password", "hunter2")
    assert result.exit_code == ExitCode.ERROR
    assert result.stderr.startswith("error: --password takes no password\ncause: ")
    assert "hunter2" not in result.output


def test_reads_the_password_from_a_file(cli: Cli) -> None:
    """file:PATH is read by the server, and the printed configuration refers to the same file."""
    (cli.folder / "password").write_text(f"{PASSWORD}\n")
    arguments = ("--security", "tls", "--certificates", "tls", "--username", "ada", "--password", "file:password")
    with running(cli, *arguments) as inbox:
        assert inbox.settings["password"] == "file:password"
        context = ssl.create_default_context(cafile=inbox.settings["ca_file"])
        with smtplib.SMTP_SSL("127.0.0.1", inbox.settings["port"], timeout=10, context=context) as client:
            assert client.login("ada", PASSWORD)[0] == 235


def test_asks_for_no_password_where_nobody_can_answer(cli: Cli) -> None:
    """Without a terminal the missing password is an error, not a wait."""
    result = cli.process("inbox", "--username", "ada", "--security", "tls", "--certificates", "tls")
    assert result.returncode == ExitCode.ERROR
    assert result.stderr.startswith("error: there is no password\n")


def test_refuses_a_password_in_clear(cli: Cli) -> None:
    """Without TLS there is no user name."""
    result = cli("inbox", "--username", "ada")
    assert result.exit_code == ExitCode.ERROR
    assert "use --security starttls or tls" in result.stderr


def test_says_that_the_port_is_taken(cli: Cli) -> None:
    """The error names the port and the way out."""
    with running(cli) as inbox:
        result = cli.process("inbox", "--port", str(inbox.settings["port"]))
    assert result.returncode == ExitCode.ERROR
    assert result.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {inbox.settings['port']}\ncause: ")
    assert "--port 0" in result.stderr
