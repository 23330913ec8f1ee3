"""``suppressions``: the list that every send asks."""

from __future__ import annotations

import json

import pytest

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli


def test_keeps_the_list_next_to_the_configuration(cli: Cli) -> None:
    """Without a file in the configuration it is suppressions.jsonl beside it, and that is said."""
    result = cli("suppressions", "add", "eve@example.com", "mallory@example.com")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "suppressed eve@example.com (manual, scope all, command line)",
        "suppressed mallory@example.com (manual, scope all, command line)",
    ]
    assert result.stderr == "kept in suppressions.jsonl\n"
    lines = (cli.folder / "suppressions.jsonl").read_text().splitlines()
    assert [json.loads(line)["address"] for line in lines] == ["eve@example.com", "mallory@example.com"]


def test_keeps_the_list_where_the_configuration_says(cli: Cli) -> None:
    """A named file is used instead, relative to the configuration."""
    cli.configure('[suppressions]\nfile = "lists/stop.jsonl"\n')
    cli("suppressions", "add", "eve@example.com")
    assert (cli.folder / "lists" / "stop.jsonl").exists()
    assert not (cli.folder / "suppressions.jsonl").exists()
    assert cli.json("suppressions", "list")["file"] == "lists/stop.jsonl"


def test_checks_adds_and_removes(cli: Cli) -> None:
    """`check` ends with 5 while an address is suppressed, in any spelling of it."""
    assert cli("suppressions", "check", "eve@example.com").exit_code == 0
    cli("suppressions", "add", "Eve@Example.com")
    assert cli("suppressions", "check", "EVE@example.com").exit_code == ExitCode.SUPPRESSED
    assert cli.json("suppressions", "check", "eve@example.com")["suppressed"] is True
    assert cli("suppressions", "remove", "eve@example.com").stdout == "eve@example.com is no longer suppressed\n"
    assert cli("suppressions", "remove", "eve@example.com").stdout == "eve@example.com was not suppressed\n"
    assert cli("suppressions", "check", "eve@example.com").exit_code == 0


def test_lists_with_scope_reason_and_source(cli: Cli) -> None:
    """An unsubscribe stops marketing only, and an expiry is shown."""
    cli("suppressions", "add", "eve@example.com", "--reason", "unsubscribe", "--source", "form", "--days", "30")
    (entry,) = cli.json("suppressions", "list")["suppressions"]
    assert (entry["scope"], entry["reason"], entry["source"]) == ("marketing", "unsubscribe", "form")
    assert entry["expires"] > entry["added"]
    assert cli("suppressions", "check", "eve@example.com").exit_code == 0
    assert cli("suppressions", "check", "eve@example.com", "--purpose", "marketing").exit_code == ExitCode.SUPPRESSED
    row = cli("suppressions", "list").stdout.splitlines()[-1]
    assert row.split()[:3] == ["eve@example.com", "marketing", "unsubscribe"]


def test_says_that_nobody_is_suppressed(cli: Cli) -> None:
    """An empty list prints no data."""
    result = cli("suppressions", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nobody is suppressed" in result.stderr


@pytest.mark.parametrize("command", ["add", "remove", "check"])
def test_refuses_what_is_no_address(cli: Cli, command: str) -> None:
    """A wrong address is named, and nothing is changed."""
    good = [] if command == "check" else ["eve@example.com"]
    result = cli("suppressions", command, *good, "nobody")
    assert result.exit_code == ExitCode.ERROR
    assert "nobody: 'nobody' is not an email address: it has no @" in result.stderr
    assert not (cli.folder / "suppressions.jsonl").exists()


def test_leaves_a_damaged_list_as_it_is(cli: Cli) -> None:
    """A file that cannot be read stops a send; it is not overwritten, and nobody is written to."""
    (cli.folder / "suppressions.jsonl").write_text("not json\n")
    for command in (["suppressions", "add", "a@example.com"], ["send", "--to", "a@example.com", "--text", "x"]):
        result = cli(*command)
        assert result.exit_code == ExitCode.CONFIGURATION
        assert "suppressions.jsonl, line 1" in result.stderr
    assert (cli.folder / "suppressions.jsonl").read_text() == "not json\n"
    assert cli.kept == []
