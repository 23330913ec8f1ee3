"""``connectors``, ``capabilities``, ``schema``, ``connections``."""

from __future__ import annotations

import json

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import SECRET, Cli


def test_lists_what_is_installed_and_what_failed(cli: Cli) -> None:
    """A package that cannot be loaded is shown with stage, reason and hint, beside those that work."""
    result = cli("connectors")
    assert result.exit_code == 0
    assert "Acme Mail" in result.stdout
    assert "acme-mail 1.2" in result.stdout
    broken = next(line for line in result.stdout.splitlines() if line.startswith("broken"))
    assert "broken-mail 0.3" in broken
    assert "import" in broken
    assert "RuntimeError: the engine is missing" in broken
    assert "reinstall broken-mail" in broken


def test_lists_connectors_as_json(cli: Cli) -> None:
    """The JSON has the same in machine-readable form, and nothing else is on standard output."""
    data = cli.json("connectors")
    acme = next(each for each in data["connectors"] if each["id"] == "acme")
    assert acme.pop("capabilities")["send.transactional"] == "yes"
    assert acme.pop("settings_schema")["type"] == "object"
    assert acme == {
        "id": "acme",
        "title": "Acme Mail",
        "kind": "api",
        "summary": "A connector for tests.",
        "package": "acme-mail",
        "version": "1.2",
        "docs_url": "",
        "api": "1.0",
        "quality": "none",
    }
    failed = next(each for each in data["failed"] if each["id"] == "broken")
    assert (failed["stage"], failed["package"]) == ("import", "broken-mail")


def test_shows_the_traceback_of_a_failure_when_asked(cli: Cli) -> None:
    """-v adds where a package failed, on standard error."""
    result = cli("connectors", "-v")
    assert "broken_mail.py" in result.stderr
    assert "broken_mail.py" not in result.stdout


def test_honours_the_allow_list_of_the_configuration(cli: Cli) -> None:
    """What the configuration does not allow is not imported, and said to be so."""
    cli.configure('[connectors]\nallow = ["acme"]\n')
    data = cli.json("connectors")
    assert [each["id"] for each in data["connectors"]] == ["acme"]
    assert {each["stage"] for each in data["failed"]} == {"allow"}


def test_prints_the_headline_capabilities_as_a_markdown_table(cli: Cli) -> None:
    """Piped, the short table is Markdown with the six rows operators look for."""
    result = cli("capabilities", "acme")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["| Capability | Support |", "|---|---|", "| Transactional sends | Yes |"]
    assert len(lines) == 8


def test_prints_every_capability_with_its_limits(cli: Cli) -> None:
    """--full shows names and limits."""
    result = cli("capabilities", "acme", "--full")
    assert "max_message_bytes 100000" in result.stdout
    assert "send.reply_to" in result.stdout


def test_shows_what_a_connection_can_do_with_its_settings(cli: Cli) -> None:
    """A connection's table is the connector's with that connection's settings, and says that it is declared."""
    data = cli.json("capabilities", "plain")
    assert (data["connector"], data["connection"], data["effective"]) == ("acme", "plain", False)
    html = next(each for each in data["capabilities"] if each["name"] == "send.html")
    assert (html["level"], html["note"]) == ("no", "it is switched off")
    assert "--ask asks its server" in cli("capabilities", "plain").stderr


def test_shows_capabilities_without_a_configuration(cli: Cli) -> None:
    """A connector can be looked at before anything is configured."""
    (cli.folder / "genie-connect.toml").unlink()
    assert cli.json("capabilities", "acme")["connection"] is None


def test_prints_the_schema_of_a_connector(cli: Cli) -> None:
    """The schema is JSON Schema 2020-12 with secrets write-only."""
    data = json.loads(cli("schema", "acme").stdout)
    assert data["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert data["properties"]["api_key"]["writeOnly"] is True
    assert "| `api_key` | secret | none |" in cli("schema", "acme", "--table").stdout


def test_names_the_nearest_connector(cli: Cli) -> None:
    """A misspelt id ends with 1 and the id that was meant."""
    result = cli("schema", "acne")
    assert result.exit_code == ExitCode.ERROR
    assert "did you mean 'acme'?" in result.stderr


def test_lists_connections_in_the_order_of_trying(cli: Cli) -> None:
    """The order is the planner's, and no setting is printed."""
    data = cli.json("connections")["connections"]
    assert [(each["name"], each["priority"]) for each in data] == [("primary", 1), ("plain", 10)]
    assert data[0]["default_from"] == "Shop <shop@example.com>"
    result = cli("connections")
    assert result.stdout.index("primary") < result.stdout.index("plain")
    assert SECRET not in result.output
