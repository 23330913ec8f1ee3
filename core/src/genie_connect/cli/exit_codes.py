"""What the exit codes mean: the one table that ``--help`` and the documentation show."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The number a command ends with. Those of ``test`` are swaks' numbers for the same stages."""

    OK = 0
    ERROR = 1
    CONNECT = 2
    NOT_ACCEPTED = 3
    UNKNOWN = 4
    SUPPRESSED = 5
    CONFIGURATION = 6
    NO_CONNECTION = 7
    STORE = 8
    STATE = 9
    GREETING = 21
    EHLO = 22
    SENDER = 23
    RECIPIENT = 24
    DATA = 25
    CONTENT = 26
    AUTH = 28
    TLS = 29
    INTERRUPTED = 130


MEANINGS: tuple[tuple[ExitCode, str], ...] = (
    (ExitCode.OK, "done; send, broadcast: accepted for all who are not suppressed, or safe in the store as was asked"),
    (ExitCode.ERROR, "wrong usage, a message or list that is not valid, or any other error"),
    (ExitCode.CONNECT, "test: the server cannot be found or reached"),
    (
        ExitCode.NOT_ACCEPTED,
        "send, broadcast: some were deferred or rejected, or rows broken, or it was paused or stopped",
    ),
    (ExitCode.UNKNOWN, "send, broadcast: for some recipients it is not known whether the message was taken"),
    (ExitCode.SUPPRESSED, "send, broadcast: all recipients are suppressed; suppressions check: the address is"),
    (ExitCode.CONFIGURATION, "the configuration cannot be used"),
    (ExitCode.NO_CONNECTION, "send, plan, broadcast: no connection can carry the message"),
    (ExitCode.STORE, "the store or its engine cannot be used: out of reach, another version, another key"),
    (ExitCode.STATE, "it does not fit what is there: no such number, another state, known already, key used before"),
    (ExitCode.GREETING, "test: the server's greeting"),
    (ExitCode.EHLO, "test: EHLO"),
    (ExitCode.SENDER, "test: the sender was refused"),
    (ExitCode.RECIPIENT, "test: the recipient was refused"),
    (ExitCode.DATA, "test: the test message was refused before its content"),
    (ExitCode.CONTENT, "test: the test message was refused, or its fate is not known"),
    (ExitCode.AUTH, "test: signing in"),
    (ExitCode.TLS, "test: TLS or the certificate"),
    (ExitCode.INTERRUPTED, "interrupted; broadcast: paused by Ctrl-C, or left to workers by another signal"),
)

STAGES: dict[str, ExitCode] = {
    "settings": ExitCode.CONFIGURATION,
    "resolve": ExitCode.CONNECT,
    "connect": ExitCode.CONNECT,
    "greeting": ExitCode.GREETING,
    "ehlo": ExitCode.EHLO,
    "ehlo_tls": ExitCode.EHLO,
    "tls": ExitCode.TLS,
    "starttls": ExitCode.TLS,
    "auth": ExitCode.AUTH,
    "account": ExitCode.AUTH,
    "sender": ExitCode.SENDER,
    "mail": ExitCode.SENDER,
    "recipient": ExitCode.RECIPIENT,
    "rcpt": ExitCode.RECIPIENT,
    "data": ExitCode.DATA,
    "body": ExitCode.CONTENT,
    "final": ExitCode.CONTENT,
    "message": ExitCode.CONTENT,
}
"""The code for a test that fails at a step of this id; any other step is an ``ERROR``."""


def of_stage(step: str) -> ExitCode:
    """The code of a test that failed at this step."""
    return STAGES.get(step, ExitCode.ERROR)


def listed() -> str:
    """The table as text, a code a line."""
    return "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS)
