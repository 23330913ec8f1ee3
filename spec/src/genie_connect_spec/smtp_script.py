r"""The vocabulary of the scripted SMTP server: what it may do instead of answering properly, and when.

An action is a value; its fields are positional, because a script reads like a sentence:

    on("rcpt", Say(b"450 4.2.0 come back later\r\n"), index=1)
    on("final", Delay(0.2, Reset()), connection=0)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs

from genie_connect_spec.smtp_record import ConnectionRecord

STAGES: Final = (
    "connect",
    "banner",
    "ehlo",
    "helo",
    "starttls",
    "tls",
    "ehlo_tls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "bdat",
    "body",
    "final",
    "rset",
    "noop",
    "vrfy",
    "help",
    "quit",
    "unknown",
)

GARBAGE: Final = b"\x00\xff\xfe SSH-2.0-nothing \x1b[31m\x80\r\n\x01\x02\r\n"

_REPLY_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])[^\r\n]*)?\r\n")


@attrs.frozen
class Answer:
    """Answer properly, with raw bytes before and after it in the same segment."""

    before: bytes = b""
    after: bytes = b""


@attrs.frozen
class Say:
    """Send exactly these bytes instead of the answer.

    The server then goes on as if it had meant the first reply in them: 2xx accepts, 354 reads a body, 220 to STARTTLS
    begins a handshake, and bytes that are no reply refuse.
    """

    data: bytes


@attrs.frozen
class SayThen:
    """Send exactly these bytes, then do something else."""

    data: bytes
    then: Action


@attrs.frozen
class Delay:
    """Wait, then act; without an action, answer properly."""

    seconds: float
    then: Action = Answer()


@attrs.frozen
class Drip:
    """Send one byte at a time."""

    data: bytes
    interval_s: float


@attrs.frozen
class Flood:
    """Send `first`, then `unit` again and again until the client is gone."""

    unit: bytes
    first: bytes = b""


@attrs.frozen
class Garbage:
    """Send bytes that are not SMTP: controls, no UTF-8, another protocol's greeting."""

    data: bytes = GARBAGE


@attrs.frozen
class Reply421:
    """Say 421, and close or, as some servers do, stay."""

    close: bool = True


@attrs.frozen
class Close:
    """Close the connection with FIN; inside TLS with close_notify unless told otherwise."""

    close_notify: bool = True


@attrs.frozen
class Reset:
    """Close the connection with RST; what the client has not read yet is lost to it."""


@attrs.frozen
class HalfClose:
    """Send FIN and go on reading until the client leaves."""


@attrs.frozen
class Hang:
    """Say nothing more, but read, until the client leaves or the server is stopped."""


@attrs.frozen
class StopReading:
    """Say nothing more and read nothing more: the client's window closes.

    The server then notices only a client that resets, since a polite close waits behind the bytes that nobody reads.
    """


@attrs.frozen
class AfterBytes:
    """At stage "body": act once this many bytes of the message have come."""

    count: int
    then: Action


@attrs.frozen
class Decide:
    """Do what this function says once it comes to that, as a server does that counts what it lets through.

    It is given the record of the connection.
    """

    decide: Callable[[ConnectionRecord], Action]


@attrs.frozen
class Refuse:
    """At stage "connect": nothing listens, connecting is refused; from this connection on and for good."""


@attrs.frozen
class Unanswered:
    """At stage "connect": the handshake of TCP itself gets no answer (Linux); from this connection on and for good."""


Action: TypeAlias = (
    Answer
    | Say
    | SayThen
    | Delay
    | Drip
    | Flood
    | Garbage
    | Reply421
    | Close
    | Reset
    | HalfClose
    | Hang
    | StopReading
    | AfterBytes
    | Decide
    | Refuse
    | Unanswered
)


_ONLY_AT: Mapping[type, str] = MappingProxyType({AfterBytes: "body", Refuse: "connect", Unanswered: "connect"})


def _known_stage(instance: object, attribute: object, value: str) -> None:
    if value not in STAGES:
        raise ValueError(f"stage: {value!r} is unknown; the stages are {', '.join(STAGES)}")


def _parts(action: Action) -> Iterator[Action]:
    yield action
    if isinstance(action, SayThen | Delay | AfterBytes):
        yield from _parts(action.then)


def _in_its_place(rule: Rule, attribute: object, action: Action) -> None:
    for depth, part in enumerate(_parts(action)):
        stage = _ONLY_AT.get(type(part))
        if stage is not None and (depth > 0 or rule.stage != stage):
            raise ValueError(f"action: {type(part).__name__} is for the stage {stage} and not inside another action")


@attrs.frozen(kw_only=True)
class Rule:
    """An action and where it applies; a selector that is None applies everywhere.

    `connection` counts connections and `message` counts MAIL commands of one connection, both from 0. `index` is the
    number of the RCPT in its transaction, or of the step in an AUTH exchange. `address` is a recipient (or sender).
    """

    stage: str = attrs.field(validator=_known_stage)
    action: Action = attrs.field(validator=_in_its_place)
    connection: int | None = None
    message: int | None = None
    index: int | None = None
    address: str | None = None

    def applies(self, stage: str, *, connection: int, message: int, index: int, address: str | None) -> bool:
        """Say whether the rule applies at this point."""
        return (
            self.stage == stage
            and self.connection in (None, connection)
            and self.message in (None, message)
            and self.index in (None, index)
            and self.address in (None, address)
        )


Script: TypeAlias = Mapping[str, Action] | Sequence[Rule]


def on(
    stage: str,
    action: Action,
    *,
    connection: int | None = None,
    message: int | None = None,
    index: int | None = None,
    address: str | None = None,
) -> Rule:
    """Make a rule; raises ValueError for a stage that does not exist or an action that cannot happen there."""
    return Rule(stage=stage, action=action, connection=connection, message=message, index=index, address=address)


def rules_of(script: Script) -> tuple[Rule, ...]:
    """Return a script as rules; the first rule that applies wins."""
    if isinstance(script, Mapping):
        return tuple(Rule(stage=stage, action=action) for stage, action in script.items())
    return tuple(script)


def ehlo_reply(*keywords: str, hostname: str = "scripted.test") -> bytes:
    """Return an EHLO answer with exactly these keywords."""
    lines = [hostname, *keywords]
    return b"".join(
        f"250{' ' if number == len(lines) else '-'}{line}\r\n".encode() for number, line in enumerate(lines, start=1)
    )


def first_code(data: bytes) -> int:
    """Return the code of the first complete reply in `data` as a strict client reads it.

    0 stands for no reply: not complete, not well-formed, or lines with codes that differ (RFC 5321 section 4.2.1).
    """
    position, code = 0, b""
    while match := _REPLY_LINE.match(data, position):
        if code not in (b"", match[1]):
            return 0
        if match[2] != b"-":
            return int(match[1])
        position, code = match.end(), match[1]
    return 0
