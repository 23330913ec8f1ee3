"""Finding and reading the configuration for a command."""

from __future__ import annotations

import os

from genie_connect.cli.options import CONFIG_VARIABLE, Options
from genie_connect.config import ENVIRONMENT_PREFIX, Config, load_config, make_config
from genie_connect.errors import ConfigurationError
from genie_connect.host import Host
from genie_connect.registry import Registry

STORE_URL = f"{ENVIRONMENT_PREFIX}STORE__URL"


def configuration(options: Options) -> Config:
    """The configuration. Raises ``ConfigurationError`` where there is none.

    Where no file was named, and there is none, the environment is enough if it names a store.
    """
    path = options.config_path
    if not path.exists():
        if options.config is None and _names_store():
            return make_config({}, environment=os.environ)
        hint = f"genie-connect inbox prints one to begin with; name another file with --config or {CONFIG_VARIABLE}"
        raise ConfigurationError(f"there is no configuration file {path}", hint=hint)
    return load_config(path)


def configuration_if_any(options: Options) -> Config:
    """The configuration, or an empty one where there is no file, none was named, and the environment names no store."""
    if options.config is None and not options.config_path.exists() and not _names_store():
        return Config()
    return configuration(options)


def open_host(options: Options) -> Host:
    """A host to be entered, as the configuration has it. It works on nothing but what the command asks for."""
    return Host.open(configuration(options), work=False)


def registry(config: Config) -> Registry:
    """The installed connectors that the configuration allows."""
    return Registry.discover(allow=config.allow, safe_mode=config.safe_mode)


def _names_store() -> bool:
    return any(name.upper() == STORE_URL for name in os.environ)
