"""How the command line starts, and what it says of itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from genie_connect import config
from genie_connect.cli import options
from genie_connect.cli.app import COMMANDS
from genie_connect.cli.exit_codes import MEANINGS, STAGES, ExitCode
from tests.cli.conftest import Cli

HEAVY = ["rich", "httpx2", "cryptography", "cattrs", "importlib_metadata", "aiosmtplib", "pluggy", "genie_connect.host"]


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_answers_without_importing_what_only_commands_need(option: str) -> None:
    """`--version` and `--help` are quick because the heavy libraries stay unimported."""
    code = (
        "import json, sys\n"
        "from genie_connect.cli.app import app\n"
        f"code = app.main([{option!r}], standalone_mode=False)\n"
        f"print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules],"
        "[name for name in sys.modules if name.startswith('genie_connect.cli.commands.')]]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == [0, [], []]


def test_names_the_file_that_the_core_looks_for() -> None:
    """The command line repeats the default so as not to import the core for it; the two must agree."""
    assert options.DEFAULT_FILE == config.DEFAULT_FILE


def test_says_how_to_install_the_extra_where_click_is_missing() -> None:
    """Without click the entry point gives one line, not a traceback."""
    code = "import sys; sys.modules['click'] = None; from genie_connect.cli.__main__ import main; main()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == 'genie-connect: the command line needs its extra: pip install "genie-connect[cli]"\n'
    assert ran.stdout == ""


def test_says_how_to_install_the_extra_where_rich_is_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-installed extra is named too."""
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    result = cli("connectors")
    assert result.exit_code == 1
    assert 'pip install "genie-connect[cli]"' in result.stderr


def test_lists_every_exit_code_in_its_help(cli: Cli) -> None:
    """The table in the help is the table in the code, and has each code once."""
    result = cli("--help")
    assert result.exit_code == 0
    for code, meaning in MEANINGS:
        assert f"{code.value:>3}  {meaning}" in result.stdout
    assert sorted(code for code, _ in MEANINGS) == sorted(ExitCode)


def test_keeps_the_codes_of_send_apart_from_those_of_test() -> None:
    """A script that gets a number knows which command's table to read it in."""
    send = {ExitCode.NOT_ACCEPTED, ExitCode.UNKNOWN, ExitCode.SUPPRESSED, ExitCode.NO_CONNECTION}
    assert not send & set(STAGES.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    """Each command of the table is there and has a help text."""
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: genie-connect {command}")


def test_suggests_the_command_that_was_meant(cli: Cli) -> None:
    """A misspelt command is a usage error with the nearest one."""
    result = cli("conectors")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: no such command 'conectors'; did you mean 'connectors'?\nhint:  see genie-connect --help\n"
    )


def test_ends_with_1_for_wrong_usage(cli: Cli) -> None:
    """Click's own 2 would mean that a server cannot be reached."""
    result = cli("send", "--nonsense")
    assert result.exit_code == 1
    assert "No such option" in result.stderr
    assert "hint:  see genie-connect send --help" in result.stderr
    assert result.stdout == ""


def test_takes_the_common_options_before_and_after_the_command(cli: Cli) -> None:
    """`--json` and `--config` mean the same in both places."""
    (cli.folder / "genie-connect.toml").rename(cli.folder / "other.toml")
    before = cli("--json", "--config", "other.toml", "connections")
    after = cli("connections", "--json", "--config", "other.toml")
    assert before.exit_code == after.exit_code == 0
    assert before.stdout == after.stdout


def test_takes_the_configuration_file_from_the_environment(cli: Cli) -> None:
    """GENIE_CONNECT_CONFIG names the file where no option does."""
    (cli.folder / "genie-connect.toml").rename(cli.folder / "other.toml")
    ran = cli.process("connections", "--json", env={"GENIE_CONNECT_CONFIG": "other.toml"})
    assert ran.returncode == 0
    assert [each["name"] for each in json.loads(ran.stdout)["connections"]] == ["primary", "plain"]


def test_tells_how_to_begin_where_there_is_no_configuration(cli: Cli) -> None:
    """The error of the first run says what to do."""
    (cli.folder / "genie-connect.toml").unlink()
    result = cli("connections")
    assert result.exit_code == ExitCode.CONFIGURATION
    assert result.stderr.splitlines()[0] == "error: there is no configuration file genie-connect.toml"
    assert "genie-connect inbox prints one" in result.stderr


def test_hides_the_text_of_an_unforeseen_error_unless_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw may quote a secret, so only its kind is shown."""

    def explode(*_: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr("genie_connect.cli.commands.connectors.registry", explode)
    result = cli("connectors")
    assert result.exit_code == 1
    assert "unexpectedly: KeyError in explode" in result.stderr
    assert "hunter2" not in result.output
    assert "hunter2" in cli("connectors", "-vv").stderr


def test_prints_errors_as_json_too(cli: Cli) -> None:
    """With --json the error is an object on standard output, and still readable on standard error."""
    result = cli("schema", "nothing", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "connector_unavailable"
    assert result.stderr.startswith("error: there is no usable connector 'nothing'")
