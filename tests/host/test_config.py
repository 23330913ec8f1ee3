"""The configuration: every error with its path, all at once; what the environment overrides, and as what type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genie_connect import ConfigurationError, Host, Purpose, Registry
from genie_connect.config import Config, load_config, make_config, overlaid
from tests.support.connector import ScriptedConnector, ScriptedSettings


def problems_of(data: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The problems of a configuration, message by path."""
    with pytest.raises(ConfigurationError) as raised:
        make_config(data, environment=environment)
    assert all(problem.path in str(raised.value) for problem in raised.value.problems)
    return {problem.path: problem.message for problem in raised.value.problems}


def only_connection(config: Config) -> Any:
    """The one there is."""
    (connection,) = config.connections
    return connection


class TestFile:
    """Reading it."""

    def test_everything_that_can_be_said(self, tmp_path: Path) -> None:
        """In one file."""
        path = tmp_path / "genie-connect.toml"
        path.write_text(
            """
            [connectors]
            allow = ["smtp"]
            safe_mode = true
            [suppressions]
            file = "data/suppressions.jsonl"
            [connections.primary]
            connector = "smtp"
            priority = 1
            active = false
            default_from = "Shop <shop@example.com>"
            purposes = ["marketing"]
            allowed_from = ["example.com"]
            rate_per_s = 5
            max_concurrent = 2
            [connections.primary.settings]
            host = "127.0.0.1"
            """
        )
        config = load_config(path, environment={})
        assert config.allow == ("smtp",)
        assert config.safe_mode is True
        assert config.suppressions_file == tmp_path / "data" / "suppressions.jsonl"
        connection = only_connection(config)
        assert (connection.name, connection.connector, connection.priority, connection.active) == (
            "primary",
            "smtp",
            1,
            False,
        )
        assert str(connection.default_from) == "Shop <shop@example.com>"
        assert connection.purposes == {Purpose.MARKETING}
        assert (connection.rate_per_s, connection.max_concurrent) == (5.0, 2)
        assert connection.settings == {"host": "127.0.0.1"}

    def test_a_store_in_a_file_lies_beside_the_configuration(self, tmp_path: Path) -> None:
        """Relative to it, as everything that it names; its key is a secret, and 0 days may be said."""
        path = tmp_path / "genie-connect.toml"
        path.write_text('[store]\nurl = "sqlite:///data/store.db"\nkey = "s3cret-key"\nkeep_events_days = 0\n')
        store = load_config(path, environment={"GENIE_CONNECT__STORE__TENANT": "acme"}).store
        assert store is not None
        assert (store.url, store.tenant) == (f"sqlite:///{tmp_path}/data/store.db", "acme")
        assert (store.keep_events_days, store.keep_sends_days) == (0.0, 90.0)
        assert "s3cret-key" not in repr(store)

    @pytest.mark.parametrize("url", ["postgresql://user@host/name", "sqlite:////var/lib/store.db"])
    def test_a_store_elsewhere_stays_there(self, url: str, tmp_path: Path) -> None:
        """A server, and a file with its whole path."""
        store = make_config({"store": {"url": url}}, path=tmp_path / "genie-connect.toml").store
        assert store is not None
        assert store.url == url

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """With what to do."""
        with pytest.raises(ConfigurationError, match="there is no configuration file") as raised:
            load_config(tmp_path / "none.toml")
        assert "genie-connect.toml" in raised.value.hint

    @pytest.mark.parametrize("content", [b"[connections", b"a = 1\na = 2\n", b"\xff\xfe"])
    def test_a_file_that_is_no_toml(self, tmp_path: Path, content: bytes) -> None:
        """One error, which names the file."""
        path = tmp_path / "genie-connect.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"genie-connect\.toml cannot be read"):
            load_config(path)

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        """As one error too."""
        with pytest.raises(ConfigurationError, match="cannot be read"):
            load_config(tmp_path)


class TestProblems:
    """What is wrong, and where."""

    def test_all_at_once(self) -> None:
        """Six mistakes are six problems."""
        found = problems_of(
            {
                "conections": {},
                "connections": {
                    "a": {"priority": "high", "default_from": "nobody", "settings": 5},
                    "b": {"connector": "smtp", "purposes": ["spam"], "prioritty": 1},
                    "c": "smtp",
                    "d": {"connector": "smtp", "rate_per_s": 0, "max_concurrent": 0},
                },
                "connectors": {"allow": "smtp", "safe_mode": "yes"},
                "suppressions": {"file": 5, "path": "x"},
            }
        )
        assert set(found) == {
            "conections",
            "connections.a.connector",
            "connections.a.priority",
            "connections.a.default_from",
            "connections.a.settings",
            "connections.b.purposes",
            "connections.b.prioritty",
            "connections.c",
            "connections.d.rate_per_s",
            "connections.d.max_concurrent",
            "connectors.allow",
            "connectors.safe_mode",
            "suppressions.file",
            "suppressions.path",
        }
        assert found["connections.a.connector"] == "is missing"

    @pytest.mark.parametrize(
        ("data", "path"),
        [
            ({"connections": []}, "connections"),
            ({"connections": "smtp"}, "connections"),
            ({"connectors": []}, "connectors"),
            ({"suppressions": "file"}, "suppressions"),
            ({"connections": {"a": {"connector": "smtp", "rate_per_s": float("nan")}}}, "connections.a.rate_per_s"),
            ({"connections": {"a": {"connector": "smtp", "rate_per_s": float("inf")}}}, "connections.a.rate_per_s"),
            ({"connections": {"a": {"connector": "smtp", "priority": 1.5}}}, "connections.a.priority"),
            ({"connections": {"a": {"connector": "smtp", "priority": True}}}, "connections.a.priority"),
            ({"connections": {"a": {"connector": "smtp", "active": "false"}}}, "connections.a.active"),
            ({"connections": {"a": {"connector": "smtp", "allowed_from": [5]}}}, "connections.a.allowed_from[0]"),
        ],
    )
    def test_each_names_its_place(self, data: Mapping[str, Any], path: str) -> None:
        """Whatever stands there."""
        assert set(problems_of(data)) == {path}


class TestEnvironment:
    """What the environment sets."""

    def overridden(self, **variables: str) -> Any:
        """The connection of a small configuration under these variables."""
        data = {"connections": {"primary": {"connector": "scripted", "priority": 5, "settings": {"region": "eu"}}}}
        return only_connection(make_config(data, environment={f"GENIE_CONNECT__{k}": v for k, v in variables.items()}))

    def test_it_wins_over_the_file(self) -> None:
        """Each value takes the type that its setting has."""
        made = self.overridden(
            CONNECTIONS__PRIMARY__PRIORITY="1",
            CONNECTIONS__PRIMARY__ACTIVE="no",
            CONNECTIONS__PRIMARY__RATE_PER_S="2.5",
            CONNECTIONS__PRIMARY__PURPOSES="marketing, transactional",
            CONNECTIONS__PRIMARY__DEFAULT_FROM="Shop <shop@example.com>",
        )
        assert (made.priority, made.active, made.rate_per_s) == (1, False, 2.5)
        assert made.purposes == set(Purpose)
        assert str(made.default_from) == "Shop <shop@example.com>"

    async def test_settings_of_a_connector_take_their_types_too(self) -> None:
        """Number, truth, list and secret: known once the connector is."""
        registry = Registry()
        connector = ScriptedConnector()
        made = registry.register(connector.id, connector)
        config = self.overridden(
            CONNECTIONS__PRIMARY__SETTINGS__LIMIT="7",
            CONNECTIONS__PRIMARY__SETTINGS__QUICK="TRUE",
            CONNECTIONS__PRIMARY__SETTINGS__NAMES="a, b,,c",
            CONNECTIONS__PRIMARY__SETTINGS__TOKEN="123",
        )
        async with Host(Config(connections=(config,)), registry=registry) as host:
            settings = host.connection(config.name).settings
        assert isinstance(settings, ScriptedSettings)
        assert (settings.limit, settings.quick, settings.names, settings.region) == (7, True, ("a", "b", "c"), "eu")
        assert settings.token is not None
        assert settings.token.reveal() == "123"
        assert "123" not in repr(settings)
        assert made.info.id == "scripted"

    @pytest.mark.parametrize(
        "variable", ["genie_connect__connections__primary__priority", "Genie_Connect__CONNECTIONS__Primary__Priority"]
    )
    def test_any_case(self, variable: str) -> None:
        """Windows knows only one."""
        data = {"connections": {"Primary": {"connector": "smtp"}}}
        config = make_config(data, environment={variable: "3"})
        assert only_connection(config).name == "Primary"
        assert only_connection(config).priority == 3

    def test_hyphens_in_names(self) -> None:
        """A variable cannot have them."""
        data = {"connections": {"my-smtp": {"connector": "smtp"}}}
        environment = {"GENIE_CONNECT__CONNECTIONS__MY_SMTP__PRIORITY": "3"}
        assert only_connection(make_config(data, environment=environment)).priority == 3

    def test_a_connection_from_the_environment_alone(self) -> None:
        """As in a container."""
        made = only_connection(
            make_config(
                {},
                environment={
                    "GENIE_CONNECT__CONNECTIONS__MAIL__CONNECTOR": "smtp",
                    "GENIE_CONNECT__CONNECTIONS__MAIL__SETTINGS__HOST": "127.0.0.1",
                },
            )
        )
        assert (made.name, made.connector) == ("mail", "smtp")

    @pytest.mark.parametrize(
        ("variable", "value", "path"),
        [
            ("CONNECTIONS__PRIMARY__PRIORITY", "high", "connections.primary.priority"),
            ("CONNECTIONS__PRIMARY__ACTIVE", "maybe", "connections.primary.active"),
            ("CONNECTIONS__PRIMARY__RATE_PER_S", "nan", "connections.primary.rate_per_s"),
            ("CONNECTIONS__PRIMARY__COLOUR", "red", "connections.primary.colour"),
            ("CONNECTIONS__PRIMARY", "smtp", "connections.primary"),
            ("CONNECTIONS", "smtp", "connections"),
            ("COLOUR", "red", "colour"),
        ],
    )
    def test_a_wrong_value_names_its_place(self, variable: str, value: str, path: str) -> None:
        """As if it stood in the file."""
        data = {"connections": {"primary": {"connector": "smtp"}}}
        assert set(problems_of(data, {f"GENIE_CONNECT__{variable}": value})) == {path}

    def test_a_variable_that_goes_through_a_value(self) -> None:
        """It is named."""
        with pytest.raises(ConfigurationError, match="GENIE_CONNECT__CONNECTIONS__A__PRIORITY__X"):
            make_config(
                {"connections": {"a": {"connector": "smtp", "priority": 1}}},
                environment={"GENIE_CONNECT__CONNECTIONS__A__PRIORITY__X": "1"},
            )

    def test_other_variables_are_none_of_our_business(self) -> None:
        """Nor is the data changed that was given."""
        data: dict[str, Any] = {"connections": {"a": {"connector": "smtp"}}}
        environment = {"GENIE_CONNECT_SAFE_MODE": "1", "PATH": "/bin", "GENIE_CONNECT__CONNECTIONS__A__PRIORITY": "1"}
        assert overlaid(data, environment) == {"connections": {"a": {"connector": "smtp", "priority": "1"}}}
        assert data == {"connections": {"a": {"connector": "smtp"}}}

    def test_a_secret_in_the_environment_is_in_no_error(self) -> None:
        """Whatever else is wrong."""
        with pytest.raises(ConfigurationError) as raised:
            make_config(
                {"connections": {"a": {"connector": "smtp", "priority": "x"}}},
                environment={"GENIE_CONNECT__CONNECTIONS__A__SETTINGS__PASSWORD": "hunter2"},
            )
        assert "hunter2" not in str(raised.value)


class TestOpening:
    """What only the connectors know."""

    async def test_the_problems_of_all_connections_come_together(self) -> None:
        """Wrong settings, an unknown connector, one that is broken."""
        registry = Registry()
        for name in ("good", "odd"):
            registry.register(name, ScriptedConnector(name))
        data = {
            "connections": {
                "a": {"connector": "good", "settings": {"limit": 0, "colour": "red"}},
                "b": {"connector": "goood"},
                "c": {"connector": "odd", "settings": {"region": ""}},
                "d": {"connector": "good"},
            }
        }
        with pytest.raises(ConfigurationError) as raised:
            await Host.open(data, registry=registry).__aenter__()
        assert {problem.path for problem in raised.value.problems} == {
            "connections.a.settings.limit",
            "connections.a.settings.colour",
            "connections.b.connector",
            "connections.c.settings.region",
        }
        assert "did you mean 'good'?" in str(raised.value)

    async def test_a_connector_with_a_fault_of_its_own_is_one_of_the_problems(self) -> None:
        """Not a traceback."""

        class Wrong(ScriptedConnector):
            def __init__(self) -> None:
                super().__init__("wrong")
                self.table = None  # type: ignore[assignment]  # what is wrong

        registry = Registry()
        registry.register("wrong", Wrong())
        with pytest.raises(ConfigurationError, match=r"connections\.a\.connector: .*broke the contract"):
            await Host.open({"connections": {"a": {"connector": "wrong"}}}, registry=registry).__aenter__()
