"""What a database says when something is wrong, as one sentence with the remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from genie_connect.errors import StoreUnavailable


class Titled(Protocol):
    """What has a name to be shown."""

    @property
    def title(self) -> str:
        """The URL without its password."""
        ...


KNOWN: Final[tuple[tuple[str, str, str], ...]] = (
    ("disk is full", "the disk is full", "make room; nothing was written in part"),
    ("disk i/o error", "the disk cannot be read or written", "look at the disk; the file was left as it was"),
    ("no space left", "the server's disk is full", "make room on the database server"),
    ("diskfull", "the server's disk is full", "make room on the database server"),
    ("readonly database", "it is read-only", "let this user write the file and its folder"),
    ("read-only", "it is read-only", "connect to the primary server, or let this user write"),
    ("readonlysqltransaction", "it is read-only", "connect to the primary server, or let this user write"),
    ("unable to open database", "the file cannot be opened", "look at the path and its permissions"),
    ("not a database", "the file is no SQLite database", "name another file, or move this one away"),
    ("malformed", "the file is damaged", "restore it from a back-up"),
    ("locked", "another process holds it locked", "end what writes to it, such as a database browser"),
    ("password authentication failed", "the user or password is wrong", "correct the URL"),
    ("invalidpassword", "the user or password is wrong", "correct the URL"),
    ("does not exist", "the database, user or table does not exist", "make it, then run: genie-connect db upgrade"),
    ("no such table", "its tables are missing", "run: genie-connect db upgrade"),
    ("undefinedtable", "its tables are missing", "run: genie-connect db upgrade"),
    ("deadlock", "two of its writers waited for each other", "do it again; nothing of it was written"),
    ("toomanyconnections", "the server takes no more connections", "raise max_connections, or use fewer workers"),
)
"""What its text holds, in lower case; the cause; the fix. From SQLite's result codes and PostgreSQL's error codes."""


_DEADLOCK: Final = "40P01"
"""``deadlock_detected``; https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def is_deadlock(error: DBAPIError) -> bool:
    """Whether PostgreSQL ended a transaction because it and another one waited for each other."""
    return getattr(error.orig, "sqlstate", None) == _DEADLOCK


@asynccontextmanager
async def told(store: Titled) -> AsyncIterator[None]:
    """Raise ``StoreUnavailable`` for what the database or its driver raises about being there at all."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError, sqlite3.OperationalError) as error:
        raise _unavailable(store, error) from None
    except (DBAPIError, sqlite3.Error) as error:
        # What is written to SQLite in bulk goes past SQLAlchemy, and so do its errors.
        if getattr(error, "connection_invalidated", False) or _known(error) is not None:
            raise _unavailable(store, error) from None
        raise


def _known(error: Exception) -> tuple[str, str] | None:
    # By the class that asyncpg has for its code as well: a server tells it in the language of its own.
    told_by = getattr(error, "orig", None) or error
    text = f"{type(told_by).__name__} {type(told_by.__cause__).__name__} {told_by}".lower()
    return next(((cause, fix) for part, cause, fix in KNOWN if part in text), None)


def _unavailable(store: Titled, error: Exception) -> StoreUnavailable:
    # The driver's text may hold values of the row: only what is known of it is told.
    cause, fix = _known(error) or ("it does not answer", "look whether the server runs and can be reached")
    return StoreUnavailable(f"the store {store.title} cannot be used: {cause}", hint=fix)
