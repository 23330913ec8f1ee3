"""``config show`` and ``config check``."""

from __future__ import annotations

import tomllib

import pytest

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli


def test_shows_the_configuration_in_force_as_toml(cli: Cli) -> None:
    """What is printed is TOML with defaults filled in, references kept."""
    data = tomllib.loads(cli("config", "show").stdout)
    assert data["connections"]["primary"]["priority"] == 1
    assert data["connections"]["plain"]["priority"] == 10
    assert data["connections"]["primary"]["settings"]["api_key"] == "env:ACME_KEY"
    assert data["connections"]["primary"]["settings"]["port"] == 25


def test_says_where_each_value_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default, file or environment, in TOML comments and in JSON."""
    monkeypatch.setenv("GENIE_CONNECT__CONNECTIONS__PRIMARY__SETTINGS__PORT", "587")
    lines = cli("config", "show", "--origin").stdout.splitlines()
    assert "port = 587  # environment" in lines
    assert "port = 25  # default" in lines
    assert "priority = 1  # file" in lines
    values = {each["path"]: each for each in cli.json("config", "show")["values"]}
    assert values["connections.primary.settings.port"] == {
        "path": "connections.primary.settings.port",
        "value": 587,
        "origin": "environment",
    }
    assert values["suppressions.file"]["value"] == "suppressions.jsonl"


def test_masks_a_literal_secret(cli: Cli) -> None:
    """A secret that stands in the file is shown as ***; and so is everything of a connector that cannot be asked."""
    cli.configure(
        '[connections.a]\nconnector = "acme"\n[connections.a.settings]\napi_key = "hunter2"\n'
        '[connections.b]\nconnector = "gone"\n[connections.b.settings]\ntoken = "hunter2"\n'
    )
    data = tomllib.loads(cli("config", "show").stdout)
    assert data["connections"]["a"]["settings"]["api_key"] == "***"
    assert data["connections"]["b"]["settings"] == {"token": "***"}


def test_finds_a_configuration_right(cli: Cli) -> None:
    """`check` names the connections and ends with 0."""
    result = cli("config", "check")
    assert result.exit_code == 0
    assert result.stdout == "genie-connect.toml is right: 2 connections (primary, plain)\n"
    assert cli.json("config", "check")["connections"] == ["primary", "plain"]


def test_lists_every_problem_with_its_place(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, connectors and secrets that cannot be used are all named at once."""
    monkeypatch.delenv("ACME_KEY")
    cli.configure(
        '[connections.a]\nconnector = "acme"\n[connections.a.settings]\nport = 99999\nprot = 1\n'
        '[connections.b]\nconnector = "broken"\n'
        '[connections.c]\nconnector = "acme"\n[connections.c.settings]\napi_key = "env:ACME_KEY"\n'
    )
    result = cli("config", "check")
    assert result.exit_code == ExitCode.CONFIGURATION
    assert result.stderr.splitlines()[0] == "error: genie-connect.toml has 4 problems"
    for expected in (
        "connections.a.settings.port: is 99999",
        "connections.a.settings.prot: is not a setting of this connector",
        "connections.b.connector: connector 'broken' is not available",
        "connections.c.settings.api_key: env:ACME_KEY cannot be read: the variable is not set",
        "connections.a.settings.prot: did you mean port?",
    ):
        assert expected in result.stderr
    paths = [problem["field"] for problem in cli.json("config", "check")["error"]["problems"]]
    assert "connections.a.settings.port" in paths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[connections", "cannot be read"),
        ("[conections.a]\n", "conections: is not a section"),
        ('[connections.a]\nconnector = "acme"\npriority = "high"\n', "connections.a.priority: must be a whole number"),
    ],
)
def test_explains_a_wrong_file(cli: Cli, text: str, expected: str) -> None:
    """A file that is no TOML, or has something unknown in it, is refused with the place."""
    cli.configure(text)
    for command in (["config", "check"], ["connections"], ["send", "--to", "a@example.com", "--text", "x"]):
        result = cli(*command)
        assert result.exit_code == ExitCode.CONFIGURATION
        assert expected in result.stderr
        assert result.stderr.startswith("error: the configuration file genie-connect.toml ")
