"""``send`` and ``plan``."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import CONFIGURATION, SECRET, Cli

MESSAGE = ("--to", "ada@example.com", "--subject", "Hello", "--text", "Good morning.")


def test_sends_and_shows_what_became_of_each_recipient(cli: Cli) -> None:
    """The table names recipient, outcome and connection; the last line counts."""
    result = cli("send", *MESSAGE)
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("ada@example.com"))
    assert row.split()[1:4] == ["accepted", "primary", "250"]
    assert "1 accepted; Message-ID <" in result.stdout
    assert len(cli.kept) == 1


def test_prints_the_receipt_in_its_documented_shape(cli: Cli) -> None:
    """`send --json` has message_id, outcomes, attempts and plan, and nothing else is on standard output."""
    receipt = cli.json("send", *MESSAGE)
    assert receipt["message_id"].endswith("@example.com>")
    outcome = receipt["outcomes"]["ada@example.com"]
    assert {key: outcome[key] for key in ("state", "connection", "code", "reason")} == {
        "state": "accepted",
        "connection": "primary",
        "code": 250,
        "reason": None,
    }
    (attempt,) = receipt["attempts"]
    assert (attempt["connection"], attempt["stage"], attempt["outcome"]) == ("primary", "final", "accepted")
    assert isinstance(attempt["ms"], int)
    assert (receipt["plan"]["order"], receipt["plan"]["passed_over"]) == (["primary", "plain"], [])


@pytest.mark.parametrize(
    ("recipients", "code"),
    [
        (["ada"], ExitCode.OK),
        (["bounce"], ExitCode.NOT_ACCEPTED),
        (["ada", "later"], ExitCode.NOT_ACCEPTED),
        (["lost"], ExitCode.UNKNOWN),
        (["lost", "bounce", "ada"], ExitCode.UNKNOWN),
        (["eve"], ExitCode.SUPPRESSED),
        (["eve", "ada"], ExitCode.OK),
        (["eve", "later"], ExitCode.NOT_ACCEPTED),
    ],
)
def test_ends_with_the_code_of_what_happened(cli: Cli, recipients: list[str], code: ExitCode) -> None:
    """Doubt weighs more than a refusal, a refusal more than a suppression."""
    assert cli("suppressions", "add", "eve@example.com").exit_code == 0
    to = [argument for name in recipients for argument in ("--to", f"{name}@example.com")]
    assert cli("send", *to, "--text", "x").exit_code == code


def test_never_hands_a_suppressed_recipient_over(cli: Cli) -> None:
    """What one run adds to the list, the next run honours."""
    cli("suppressions", "add", "eve@example.com")
    data = cli.json("send", "--to", "eve@example.com", "--to", "ada@example.com", "--text", "x")
    assert data["outcomes"]["eve@example.com"]["state"] == "suppressed"
    assert [kept["recipients"] for kept in cli.kept] == [["ada@example.com"]]


def test_remembers_a_mailbox_that_does_not_exist(cli: Cli) -> None:
    """A hard bounce is suppressed at the next send, in another process's run."""
    assert cli("send", "--to", "bounce@example.com", "--text", "x").exit_code == ExitCode.NOT_ACCEPTED
    assert cli("send", "--to", "bounce@example.com", "--text", "x").exit_code == ExitCode.SUPPRESSED


def test_makes_the_message_that_the_options_describe(cli: Cli) -> None:
    """Every option ends in its field."""
    (cli.folder / "report.csv").write_bytes(b"a,b\r\n1,2\r\n")
    (cli.folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (cli.folder / "body.html").write_text('<img src="cid:logo">Grüße', encoding="utf-8")
    result = cli(
        *("send", "--connection", "primary", "--from", "Ops <ops@example.com>", "--to", "Ada <ada@example.com>"),
        *("--cc", "bob@example.com", "--bcc", "carol@example.com", "--reply-to", "desk@example.com"),
        *("--envelope-from", "bounces@example.com", "--subject", "Grüße", "--text", "@@home", "--html", "@body.html"),
        *("--attach", "report.csv", "--inline", "logo=logo.png", "--header", "X-Order: 17", "--tag", "orders"),
        *("--metadata", "order=17", "--purpose", "marketing", "--idempotency-key", "order-17"),
    )
    assert result.exit_code == 0, result.stderr
    (kept,) = cli.kept
    message = kept["message"]
    assert message["from"] == "Ops <ops@example.com>"
    assert (message["to"], message["cc"], message["bcc"]) == (
        ["Ada <ada@example.com>"],
        ["bob@example.com"],
        ["carol@example.com"],
    )
    assert (message["reply_to"], message["envelope_from"]) == (["desk@example.com"], "bounces@example.com")
    assert (message["subject"], message["text"]) == ("Grüße", "@home")
    assert message["html"] == '<img src="cid:logo">Grüße'
    assert [(each["filename"], each["content_id"]) for each in message["attachments"]] == [
        ("report.csv", None),
        ("logo.png", "logo"),
    ]
    assert (message["headers"], message["tags"], message["metadata"]) == (
        {"X-Order": "17"},
        ["orders"],
        {"order": "17"},
    )
    assert message["purpose"] == "marketing"
    assert kept["idempotency_key"].startswith("order-17-")


def test_reads_the_text_from_standard_input(cli: Cli) -> None:
    """`--text -` takes what is piped in."""
    cli("send", "--to", "ada@example.com", "--text", "-", input="Grüße\n")
    assert cli.kept[0]["message"]["text"] == "Grüße\n"


def test_reads_standard_input_once(cli: Cli) -> None:
    """Two options cannot both have it."""
    result = cli("send", "--to", "ada@example.com", "--text", "-", "--html", "-", input="x")
    assert result.exit_code == ExitCode.ERROR
    assert "--text and --html cannot both read standard input" in result.stderr


def test_says_which_text_is_not_utf_8(cli: Cli) -> None:
    """Bytes that are no text are refused with what to do."""
    (cli.folder / "latin.txt").write_bytes(b"Gr\xfc\xdfe")
    result = cli("send", "--to", "ada@example.com", "--text", "@latin.txt")
    assert result.exit_code == ExitCode.ERROR
    assert result.stderr == (
        "error: --text: the text cannot be read\ncause: byte 2 is not UTF-8\nhint:  convert it to UTF-8\n"
    )


def test_takes_a_message_from_json(cli: Cli) -> None:
    """The model's own JSON form is taken from a file and from standard input."""
    message = {
        "to": ["ada@example.com"],
        "subject": "Hello",
        "text": "Good morning.",
        "attachments": [{"filename": "a.bin", "content": base64.b64encode(b"\x00\xff").decode()}],
    }
    (cli.folder / "message.json").write_text(json.dumps(message))
    assert cli("send", "--message", "message.json").exit_code == 0
    assert cli("send", "--message", "-", input=json.dumps(message)).exit_code == 0
    first, second = cli.kept
    assert first["message"] == second["message"]
    assert base64.b64decode(first["message"]["attachments"][0]["content"]) == b"\x00\xff"


def test_lets_options_change_a_message_from_a_file(cli: Cli) -> None:
    """A recipient named for a trial gets it alone, and lists grow."""
    message = {
        "to": ["a@example.com"],
        "cc": ["b@example.com"],
        "subject": "Old",
        "text": "x",
        "tags": ["one"],
        "headers": {"x-a": "1", "X-B": "2"},
    }
    (cli.folder / "message.json").write_text(json.dumps(message))
    cli(
        *("send", "--message", "message.json", "--to", "me@example.com", "--subject", "New", "--tag", "two"),
        *("--header", "X-A: 9"),
    )
    (kept,) = cli.kept
    assert kept["recipients"] == ["me@example.com"]
    assert (kept["message"]["subject"], kept["message"]["tags"]) == ("New", ["one", "two"])
    assert kept["message"]["headers"] == {"X-B": "2", "X-A": "9"}


def test_names_the_fields_of_a_file_and_the_options_beside_them(cli: Cli) -> None:
    """A problem is named by where the value came from."""
    (cli.folder / "message.json").write_text('{"to": ["nobody"], "text": 7, "colour": "red"}')
    result = cli("send", "--message", "message.json", "--subject", "two\nlines")
    assert result.exit_code == ExitCode.ERROR
    lines = result.stderr.splitlines()
    assert lines[0] == "error: invalid message in message.json"
    problems = {line[7:].partition(":")[0] for line in lines if line.startswith(("cause:", "       "))}
    assert {"colour", "to[0]", "text", "--subject"} <= problems


def test_lists_every_problem_by_its_option(cli: Cli) -> None:
    """All that is wrong is said at once, in the words of the command line."""
    result = cli(
        *("send", "--to", "ada@example.com", "--to", "nobody", "--subject", "a\r\nBcc: x@example.com"),
        *("--header", "Bcc: x@example.com", "--header", "nonsense", "--header", "X-A: b\nc", "--metadata", "novalue"),
        *("--attach", "missing.pdf", "--inline", "logo", "--text", "x"),
    )
    assert result.exit_code == ExitCode.ERROR
    assert result.stdout == ""
    assert result.stderr.startswith("error: invalid message\ncause: ")
    for expected in (
        "--to (2): 'nobody' is not an email address: it has no @",
        "--subject: holds the control character U+000D",
        "--header Bcc: is made by Genie Connect and cannot be set",
        "--header nonsense: is not 'NAME: VALUE'",
        "--header X-A: holds the control character U+000A",
        "--metadata novalue: is not KEY=VALUE",
        "--attach missing.pdf: cannot be read: No such file or directory",
        "--inline logo: is not CID=PATH",
        "--to (2): write it as name@example.com",
    ):
        assert expected in result.stderr
    assert cli.kept == []


def test_says_that_nobody_is_to_have_it(cli: Cli) -> None:
    """A message without recipients is not sent."""
    result = cli("send", "--text", "x")
    assert result.exit_code == ExitCode.ERROR
    assert "--to: there is nobody to send to" in result.stderr


def test_says_that_there_is_nothing_to_send(cli: Cli) -> None:
    """A message without content is refused by the name of the option that would give it."""
    assert "--text: there is nothing to send" in cli("send", "--to", "ada@example.com").stderr


def test_refuses_json_that_is_none(cli: Cli) -> None:
    """A file that is no JSON, or no object, is said to be so."""
    assert "is not JSON" in cli("send", "--message", "-", input="{").stderr
    assert "a message is a JSON object" in cli("send", "--message", "-", input="[]").stderr


def test_never_reads_a_file_that_json_names(cli: Cli) -> None:
    """JSON holds content, never a path."""
    (cli.folder / "secret.txt").write_text("hunter2")
    message = {"to": ["a@example.com"], "attachments": [{"filename": "a", "content": "secret.txt"}]}
    result = cli("send", "--message", "-", input=json.dumps(message))
    assert result.exit_code == ExitCode.ERROR
    assert "attachments[0].content: is not base64" in result.stderr
    assert cli.kept == []


def test_shows_the_plan_and_sends_nothing_in_a_dry_run(cli: Cli) -> None:
    """--dry-run explains, names the suppressed, and ends with 0 where it could be sent."""
    cli("suppressions", "add", "eve@example.com")
    result = cli("send", *MESSAGE, "--to", "eve@example.com", "--html", "<p>x</p>", "--dry-run")
    assert result.exit_code == 0
    assert "send through primary\n" in result.stdout
    assert "passed over plain: it does not support HTML bodies (send.html): it is switched off\n" in result.stdout
    assert "not to eve@example.com: Suppressed since" in result.stdout
    assert result.stderr == "dry run: nothing was sent\n"
    assert cli.kept == []
    assert cli("send", "--to", "eve@example.com", "--text", "x", "--dry-run").exit_code == ExitCode.SUPPRESSED


def test_gives_the_dry_run_as_json(cli: Cli) -> None:
    """The plan has the same shape as in a receipt."""
    data = cli.json("send", *MESSAGE, "--dry-run")
    assert data["dry_run"] is True
    assert (data["plan"]["order"], data["suppressed"]) == (["primary", "plain"], [])


def test_explains_a_plan_without_recipients(cli: Cli) -> None:
    """`plan` takes the same options, and needs nobody to send to."""
    result = cli("plan", "--text", "x", "--tag", "orders")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "send through primary, then plain if it cannot",
        "primary: kept by the host (send.tags)",
        "plain: kept by the host (send.tags)",
    ]
    assert cli.json("plan", "--html", "x")["passed_over"][0]["connection"] == "plain"


def test_says_why_no_connection_can_carry_it(cli: Cli) -> None:
    """A message that nothing can carry ends with a code of its own, and the reason for each connection."""
    message = (*MESSAGE, "--html", "x", "--connection", "plain")
    result = cli("send", *message)
    assert result.exit_code == cli("plan", *message).exit_code == ExitCode.NO_CONNECTION
    assert cli("send", *message, "--dry-run").exit_code == ExitCode.NO_CONNECTION
    assert result.stderr.startswith("error: no connection can carry this message\ncause: primary: only plain was asked")
    assert "plain: it does not support HTML bodies (send.html)" in result.stderr
    error = cli.json("send", *message)["error"]
    assert error["plan"]["order"] == []


def test_reports_a_missing_secret_without_its_value(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that leads nowhere is named; what other secrets hold is not."""
    monkeypatch.delenv("ACME_KEY")
    result = cli("send", *MESSAGE, "--connection", "primary")
    assert result.exit_code == ExitCode.NOT_ACCEPTED
    assert "env:ACME_KEY" in result.stdout


def test_shows_no_secret_anywhere(cli: Cli) -> None:
    """Neither a reference's value nor a literal is in any output, however talkative."""
    text = CONFIGURATION.format(folder=cli.folder / "kept").replace("env:ACME_KEY", SECRET)
    for configuration in (None, text):
        if configuration:
            cli.configure(configuration)
        for command in (
            ["send", *MESSAGE, "-vv"],
            ["send", *MESSAGE, "--json"],
            ["config", "show", "--origin"],
            ["config", "show", "--json"],
            ["config", "check", "-vv"],
            ["connections", "--json"],
            ["test", "primary", "-vv"],
            ["capabilities", "primary", "--full"],
        ):
            assert SECRET not in cli(*command).output


def test_writes_data_and_talk_to_their_own_streams(cli: Cli) -> None:
    """What is piped on is data alone; notes and hints go to standard error."""
    ran = cli.process("send", "--to", "bounce@example.com", "--text", "x", "--json")
    assert ran.returncode == ExitCode.NOT_ACCEPTED
    assert json.loads(ran.stdout)["outcomes"]["bounce@example.com"]["code"] == 550
    assert ran.stderr == ""


def test_writes_no_control_sequences_where_there_is_no_terminal(cli: Cli) -> None:
    """Piped output is plain text, one line for each row however wide."""
    for arguments in (["connectors"], ["send", *MESSAGE], ["test", "primary"], ["send", "--nonsense"]):
        ran = cli.process(*arguments)
        assert "\x1b" not in ran.stdout + ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("quiet", ["NO_COLOR", "--no-color", None])
def test_honours_no_color_on_a_terminal(cli: Cli, quiet: str | None) -> None:
    """On a terminal states are coloured, unless NO_COLOR or --no-color says otherwise."""
    shown = run_on_terminal(cli, quiet)
    assert "accepted" in shown
    assert ("\x1b[32m" in shown) is (quiet is None)


def run_on_terminal(cli: Cli, quiet: str | None) -> str:
    """What `send` writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "genie_connect.cli",
            "send",
            *MESSAGE,
            *(["--no-color"] if quiet == "--no-color" else []),
        ],
        cwd=cli.folder,
        env=cli.environment({"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if quiet == "NO_COLOR" else {})),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # Linux reports the end of a terminal as an error
    finally:
        os.close(ours)
    assert process.wait(timeout=30) == 0
    return shown.decode()


EML = """\
From: "Doe, Jane" <jane@example.com>
To: Ada <ada@example.com>, bob@example.com
Cc: =?utf-8?q?Zo=C3=AB?= <zoe@example.com>
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from
 afar
Date: Mon, 23 Nov 2026 10:00:00 +0000
Message-ID: <old@example.com>
Received: from somewhere by elsewhere; Mon, 23 Nov 2026 10:00:00 +0000
X-Order: 17
List-Unsubscribe: <mailto:out@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--inner
Content-Type: multipart/related; boundary=related

--related
Content-Type: text/html; charset=utf-8

<p><img src="cid:logo@x"></p>
--related
Content-Type: image/png
Content-ID: <logo@x>
Content-Transfer-Encoding: base64
Content-Disposition: inline; filename=logo.png

iVBORw0KGgo=
--related--
--inner
Content-Type: text/calendar; method=REQUEST

BEGIN:VCALENDAR
--inner--
--outer
Content-Type: application/pdf; name=report.pdf
Content-Disposition: attachment; filename=report.pdf
Content-Transfer-Encoding: base64

JVBERi0AAf8=
--outer
Content-Type: message/rfc822

Subject: inside

text
--outer--
""".replace("\n", "\r\n").encode()


def test_takes_a_message_from_an_eml_file(cli: Cli, tmp_path: Path) -> None:
    """Text, HTML, files, inline images and free header fields are carried faithfully."""
    (tmp_path / "message.eml").write_bytes(EML)
    result = cli("send", "--eml", "message.eml", "--connection", "primary")
    assert result.exit_code == 0, result.stderr
    (kept,) = cli.kept
    message = kept["message"]
    assert message["from"] == '"Doe, Jane" <jane@example.com>'
    assert message["to"] == ["Ada <ada@example.com>", "bob@example.com"]
    assert message["cc"] == ["Zoë <zoe@example.com>"]
    assert (message["subject"], message["text"].strip()) == ("Grüße from afar", "Grüße")
    assert message["html"].strip() == '<p><img src="cid:logo@x"></p>'
    assert message["headers"] == {"X-Order": "17", "List-Unsubscribe": "<mailto:out@example.com>"}
    files = [(each["filename"], each["content_type"], each["content_id"]) for each in message["attachments"]]
    assert files == [
        ("logo.png", "image/png", "logo@x"),
        ("part-1.ics", "text/calendar", None),
        ("report.pdf", "application/pdf", None),
        ("part-2.eml", "application/octet-stream", None),
    ]
    assert base64.b64decode(message["attachments"][2]["content"]) == b"%PDF-\x00\x01\xff"
    assert base64.b64decode(message["attachments"][3]["content"]).startswith(b"Subject: inside\r\n")


def test_says_what_of_an_eml_file_is_not_carried(cli: Cli) -> None:
    """Nothing of the original is left out in silence."""
    notes = cli("send", "--eml", "-", "--connection", "primary", input=EML).stderr
    for expected in (
        "note: not carried: Message-ID (a new one is made)",
        "note: not carried: Date (the time of sending is written)",
        "note: not carried: Received",
        "note: the alternative text/calendar is sent as an attachment",
        "note: message/rfc822 is sent as application/octet-stream, not message/rfc822",
    ):
        assert expected in notes


def test_carries_its_own_messages_through_eml(cli: Cli) -> None:
    """What arrived, given back as .eml, is the same message."""
    (cli.folder / "a.bin").write_bytes(bytes(range(256)))
    (cli.folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    cli(
        *("send", "--connection", "primary", "--to", "Ada <ada@example.com>", "--cc", "bob@example.com"),
        *("--reply-to", "desk@example.com", "--subject", "Grüße ✓", "--text", "line\n.dot\n", "--header", "X-A: ü"),
        *("--html", '<img src="cid:logo">', "--inline", "logo=logo.png", "--attach", "a.bin"),
    )
    assert cli("send", "--connection", "primary", "--eml", "-", input=cli.kept[0]["eml"]).exit_code == 0
    first, second = (kept["message"] for kept in cli.kept)
    assert second["from"] == "Shop <shop@example.com>"
    for field in ("to", "cc", "reply_to", "subject", "headers"):
        assert first[field] == second[field], field
    for field in ("text", "html"):
        assert first[field].rstrip("\n") == second[field].rstrip("\n")
    files = [
        {each["filename"]: (each["content"], each["content_id"]) for each in message["attachments"]}
        for message in (first, second)
    ]
    assert files[0] == files[1]
    sent = message_from_bytes(cli.kept[1]["eml"], policy=policy.SMTP)
    assert sent["Message-ID"] != message_from_bytes(cli.kept[0]["eml"], policy=policy.SMTP)["Message-ID"]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"To: not an address", "is not an email address: it has no @"),
        (b"To: =?utf-8?q?a=0D=0ABcc=3A_x?= <a@example.com>", "the header field To cannot be read"),
        (b"To: a@example.com\r\nX-A: =?utf-8?q?a=0D=0Ab?=", None),
    ],
)
def test_lets_no_eml_file_bring_a_header_in(cli: Cli, header: bytes, problem: str | None) -> None:
    """What an encoded-word hides is refused or made harmless, never written as a header of its own."""
    result = cli("send", "--eml", "-", input=header + b"\r\nSubject: x\r\n\r\ntext\r\n")
    if problem:
        assert result.exit_code == ExitCode.ERROR
        assert problem in result.stderr
        assert cli.kept == []
    else:
        assert b"\r\nb" not in cli.kept[0]["eml"].partition(b"\r\n\r\n")[0]


def test_refuses_what_is_no_email_message(cli: Cli) -> None:
    """A picture is no .eml file."""
    result = cli("send", "--eml", "-", input=b"\x89PNG\r\n\x1a\n")
    assert result.exit_code == ExitCode.ERROR
    assert result.stderr.startswith("error: --eml: this is no email message\ncause: it has no header fields")


def test_takes_eml_or_json_but_not_both(cli: Cli) -> None:
    """Two sources are a mistake."""
    assert "cannot be used together" in cli("send", "--eml", "a", "--message", "b").stderr


def test_says_which_file_cannot_be_read(cli: Cli) -> None:
    """The option, the file and the reason."""
    result = cli("send", "--eml", "missing.eml")
    assert result.stderr == (
        "error: --eml: missing.eml cannot be read\ncause: No such file or directory\nhint:  check path and rights\n"
    )
