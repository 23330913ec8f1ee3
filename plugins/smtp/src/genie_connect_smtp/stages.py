"""How far a connection, or a mail transaction on it, has come."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The steps of one attempt, in their order."""

    PLAN = "plan"
    """Nothing was begun: its turn did not come."""
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    FINAL = "final"
    """The end mark may be on its way: without an answer nobody knows whether the message was taken (RFC 1047)."""
    RSET = "rset"
    """After the outcome is known; what happens here changes nothing."""


PHASES: dict[Stage, str] = {
    Stage.PLAN: "connect",
    Stage.RESOLVE: "connect",
    Stage.CONNECT: "connect",
    Stage.TLS: "connect",
    Stage.GREETING: "connect",
    Stage.EHLO: "ehlo",
    Stage.STARTTLS: "starttls",
    Stage.AUTH: "auth",
    Stage.MAIL: "mail",
    Stage.RCPT: "rcpt",
    Stage.DATA: "data",
    Stage.BODY: "data",
    Stage.FINAL: "eod",
    Stage.RSET: "data",
}
"""The phase names of the reply rules."""
