"""Errors of the store and of what is in it, as the command line tells them."""

from __future__ import annotations

import pickle

import pytest

from genie_connect.cli.errors import report
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.errors import (
    BroadcastStateError,
    EngineUnavailable,
    GenieConnectError,
    IdempotencyConflict,
    NoSuchBroadcast,
    NothingUnknown,
    StoreKey,
    StoreUnavailable,
    StoreVersion,
)

ERRORS: list[tuple[GenieConnectError, ExitCode, list[str]]] = [
    (
        StoreUnavailable("the store sqlite:///a.db cannot be used: the disk is full", hint="make room"),
        ExitCode.STORE,
        ["error: the store sqlite:///a.db cannot be used", "cause: the disk is full", "hint:  make room"],
    ),
    (
        StoreVersion("the store has schema 9", found="9", wanted="1", hint="install a newer version"),
        ExitCode.STORE,
        ["error: the store has schema 9", "hint:  install a newer version"],
    ),
    (StoreKey("it cannot be decrypted", hint="give the key"), ExitCode.STORE, ["error: it cannot be decrypted"]),
    (EngineUnavailable("the engine nats cannot be reached"), ExitCode.STORE, ["error: the engine nats cannot"]),
    (
        BroadcastStateError(3, state="done", asked="be paused", hint="everybody has had their turn"),
        ExitCode.STATE,
        ["error: broadcast 3 cannot be paused", "cause: it is done", "hint:  everybody has had their turn"],
    ),
    (
        NoSuchBroadcast(7),
        ExitCode.STATE,
        ["error: there is no broadcast 7", "hint:  see: genie-connect broadcasts list"],
    ),
    (
        NothingUnknown(1, 2, "it is known to be accepted"),
        ExitCode.STATE,
        ["error: copy 1/2 cannot be resolved", "cause: it is known to be accepted"],
    ),
    (IdempotencyConflict("order-17"), ExitCode.STATE, ["error: the idempotency key 'order-17' was used for a send"]),
]


@pytest.mark.parametrize(("error", "code", "lines"), ERRORS, ids=lambda value: type(value).__name__)
def test_says_what_why_and_what_to_do(error: GenieConnectError, code: ExitCode, lines: list[str]) -> None:
    """Each has its exit code and its lines, and the same in JSON."""
    shown = report(pickle.loads(pickle.dumps(error)))
    assert shown.code == code
    assert all(line.startswith(wanted) for line, wanted in zip(shown.lines(), lines, strict=False))
    assert len(shown.lines()) >= len(lines)
    assert shown.data()["error"]["code"] == error.code
