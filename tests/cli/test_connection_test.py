"""``test``: the steps as they happen, and exit codes by stage."""

from __future__ import annotations

import pytest

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli

CODES = {
    "resolve": 2,
    "connect": 2,
    "greeting": 21,
    "ehlo": 22,
    "tls": 29,
    "auth": 28,
    "sender": 23,
}


def fail_at(cli: Cli, step: str) -> None:
    """Configure a connection whose test fails at this step."""
    cli.configure(f'[connections.primary]\nconnector = "acme"\n[connections.primary.settings]\nfail_at = "{step}"\n')


def test_shows_every_step_with_its_facts(cli: Cli) -> None:
    """Each step has its state, title, summary and time; facts stand below."""
    result = cli("test", "primary")
    assert result.exit_code == 0
    assert "ok   Resolve  fine  2 ms\n       addresses: 192.0.2.1, 192.0.2.2\n" in result.stdout
    assert result.stdout.endswith("primary works\n")
    assert "Message" not in result.stdout


@pytest.mark.parametrize(("step", "code"), CODES.items())
def test_ends_with_the_code_of_the_stage(cli: Cli, step: str, code: int) -> None:
    """The numbers are swaks', so that monitoring scripts can tell stages apart."""
    fail_at(cli, step)
    assert cli("test", "primary").exit_code == code


def test_shows_cause_evidence_and_fixes_of_a_failure(cli: Cli) -> None:
    """A failure is explained below its step, and concluded at the end."""
    fail_at(cli, "auth")
    shown = cli("test", "primary").stdout
    assert "cause:    The server said no.\n" in shown
    assert "evidence: 535 5.7.8 go away\n" in shown
    assert "fix:      Ask nicely.\n" in shown
    assert "fix:      Ask again.\n" in shown
    assert shown.endswith("primary does not work: auth failed\n")


def test_sends_a_message_only_where_an_address_is_given(cli: Cli) -> None:
    """--to adds the step that sends, and its failure has a code of its own."""
    assert cli.json("test", "primary", "--to", "ada@example.com")["steps"][-1]["id"] == "message"
    fail_at(cli, "message")
    assert cli("test", "primary").exit_code == 0
    assert cli("test", "primary", "--to", "ada@example.com").exit_code == ExitCode.CONTENT


def test_gives_one_json_document(cli: Cli) -> None:
    """The JSON holds the steps, the diagnosis and the exit code; --exit-zero changes only the process's."""
    fail_at(cli, "tls")
    result = cli("test", "primary", "--json", "--exit-zero")
    data = cli.json("test", "primary")
    assert result.exit_code == 0
    assert (data["ok"], data["exit_code"], data["diagnosis"]["code"]) == (False, 29, "acme_tls")
    assert [step["status"] for step in data["steps"]] == ["ok"] * 4 + ["fail"]


def test_says_which_connections_there_are(cli: Cli) -> None:
    """An unknown connection is an error of the configuration."""
    result = cli("test", "nothing")
    assert result.exit_code == ExitCode.CONFIGURATION
    assert "the connections are: plain, primary" in result.stderr


def test_refuses_a_wrong_address_before_connecting(cli: Cli) -> None:
    """The address of --to is checked like any other."""
    result = cli("test", "primary", "--to", "nobody")
    assert result.exit_code == ExitCode.ERROR
    assert "has no @" in result.stderr
