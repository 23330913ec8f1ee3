"""``connections add|show|remove``: what is in the store, and that no secret of it is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from genie_connect.cli.exit_codes import ExitCode
from genie_connect.store.secrets import new_key
from tests.cli.conftest import SECRET, Cli


@pytest.fixture
def bare(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """No configuration file: the environment names the store and its key."""
    (cli.folder / "genie-connect.toml").unlink()
    monkeypatch.setenv("GENIE_CONNECT__STORE__URL", "sqlite:///mail.db")
    monkeypatch.setenv("GENIE_CONNECT__STORE__KEY", "env:STORE_KEY")
    monkeypatch.setenv("STORE_KEY", new_key())
    return cli


def test_a_send_and_a_broadcast_need_the_store_alone(bare: Cli) -> None:
    """Its URL and key in the environment, the connection in it, and no file."""
    kept = f"folder={(bare.folder / 'kept').as_posix()}"
    from_ = ("--default-from", "Shop <shop@example.com>", "--purposes", "marketing,transactional")
    main = ("main", "--connector", "acme", "--set", kept, "--secret", "api_key=env:ACME_KEY", *from_)
    added = bare("connections", "add", *main)
    assert added.exit_code == 0, added.stderr
    shown = bare("connections", "show", "main")
    assert "kept:           store" in shown.stdout
    assert "api_key:              ***" in shown.stdout
    assert SECRET not in shown.output + added.output
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in Path().glob("mail.db*"))
    assert [each["name"] for each in bare.json("connections", "list")["connections"]] == ["main"]
    assert bare("connections", "test", "main").exit_code == 0
    Path("list.csv").write_text("email\nada@example.com\nben@example.com\n")
    sent = bare("broadcast", "--subject", "News", "--text", "There is news.", "--recipients", "list.csv")
    assert (sent.exit_code, len(bare.kept)) == (0, 2), sent.stderr
    assert bare("connections", "remove", "main").exit_code == 0
    assert bare("connections", "show", "main").exit_code == ExitCode.STATE


def test_the_provider_behind_a_server_brings_its_settings(bare: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept beside the connector's own, secrets encrypted; where its webhooks are taken is shown."""
    monkeypatch.setenv("HOOK_KEY", SECRET)
    relay = ("relay", "--connector", "smtp", "--set", "host=127.0.0.1", "--set", "security=none")
    missing = bare("connections", "add", *relay, "--set", "webhook_provider=mailgun")
    assert (missing.exit_code, "give webhook_secret" in missing.stderr) == (ExitCode.ERROR, True), missing.stderr
    secret = ("--secret", "webhook_secret=env:HOOK_KEY")
    added = bare("connections", "add", *relay, "--set", "webhook_provider=mailgun", *secret)
    assert added.exit_code == 0, added.stderr
    shown = bare("connections", "show", "relay")
    assert "webhook:        /relay, read by mailgun" in shown.stdout
    assert "webhook_secret:       ***" in shown.stdout
    assert SECRET not in shown.output + added.output
    assert bare.json("connections", "show", "relay")["webhook"] == {"path": "/relay", "read_by": "mailgun"}


def test_an_argument_is_no_place_for_a_secret(bare: Cli) -> None:
    """It is refused without being repeated; so is one that nobody can be asked for, and one without a key."""
    add = ("connections", "add", "main", "--connector", "acme")
    for wrong, said in (
        (("--set", f"api_key={SECRET}"), "--set api_key takes no secret"),
        (("--secret", f"api_key={SECRET}"), "--secret api_key takes no secret"),
        (("--secret", "api_key"), "standard input is no terminal to ask on"),
        (("--secret", "port=env:X"), "'port' is no secret of acme; it has api_key"),
        (("--set", "port"), "write NAME=VALUE"),
        (("--set", "port=0"), "port"),
    ):
        refused = bare(*add, *wrong)
        assert (refused.exit_code, said in refused.stderr) == (ExitCode.ERROR, True), refused.stderr
        assert SECRET not in refused.output
    assert bare.json("connections")["connections"] == []


def test_one_that_is_there_is_replaced_only_on_request(bare: Cli) -> None:
    """A reference is kept as it is, and needs no key of the store."""
    add = ("connections", "add", "main", "--connector", "acme", "--set", "api_key=env:ACME_KEY")
    assert bare(*add).exit_code == 0
    assert bare(*add).exit_code == ExitCode.STATE
    data = bare.json(*add, "--priority", "3", "--replace")
    assert (data["priority"], data["settings"]["api_key"]) == (3, "env:ACME_KEY")
    assert bare.json("connections", "show", "main") == data


def test_what_a_connection_in_the_store_can_do_is_shown(bare: Cli) -> None:
    """By its name, as for one of the file; any other name is a connector's."""
    relay = ("relay", "--connector", "smtp", "--set", "host=127.0.0.1", "--set", "security=none")
    assert bare("connections", "add", *relay).exit_code == 0
    shown = bare.json("capabilities", "relay")
    assert (shown["connection"], shown["connector"]) == ("relay", "smtp")
    assert "capabilities of the connection relay, as declared" in bare("capabilities", "relay").stderr
    assert bare.json("capabilities", "smtp")["connection"] is None
    asked = bare("capabilities", "smtp", "--ask")
    assert (asked.exit_code, "no connection 'smtp'" in asked.stderr) == (ExitCode.ERROR, True), asked.stderr
    assert bare("capabilities", "nobody").exit_code != 0
