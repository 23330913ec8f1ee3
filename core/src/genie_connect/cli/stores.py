"""The store that the configuration names, opened for a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from genie_connect.cli.configuration import configuration
from genie_connect.cli.options import Options
from genie_connect.config import SUPPRESSIONS_FILE, Config, StoreSection
from genie_connect.delivery.suppression import FileSuppressions, SuppressionStore
from genie_connect.errors import ConfigurationError

if TYPE_CHECKING:
    from genie_connect.store.database import Database


def section(config: Config) -> StoreSection:
    """The ``[store]`` table. Raises ``ConfigurationError`` where there is none."""
    if config.store is None:
        hint = 'add [store] with url = "sqlite:///genie-connect.db" to the configuration'
        raise ConfigurationError("the configuration names no store", hint=hint)
    return config.store


def database(store: StoreSection) -> Database:
    """The store, not open yet."""
    # SQL is an extra: the other commands do without it.
    try:
        from genie_connect.store.database import Database
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the store needs a package that is not installed ({error.name})",
            hint="pip install 'genie-connect[store]', or 'genie-connect[postgresql]'",
        ) from None
    return Database(store.url, tenant=store.tenant)


@asynccontextmanager
async def suppression_list(options: Options) -> AsyncIterator[tuple[SuppressionStore, str]]:
    """The suppressions that a send would ask, and where they are kept: the store, or else a file."""
    config = configuration(options)
    if config.store is None:
        path = config.suppressions_file or SUPPRESSIONS_FILE
        yield FileSuppressions(path), str(path)
        return
    opened = database(config.store)
    from genie_connect.store.suppressions import SqlSuppressions  # SQL, as above

    async with opened:
        yield SqlSuppressions(opened), opened.title
