"""Every kind of fault at every stage of an SMTP conversation, as named cells for parametrised tests.

@pytest.mark.parametrize("cell", fault_grid(), ids=str)
async def test_faults(cell):
    async with cell.server() as server:
        ...  # send a message of at least cell.message_bytes
    assert outcome in cell.expected
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_script import (
    Action,
    AfterBytes,
    Answer,
    Close,
    Drip,
    Flood,
    Garbage,
    Hang,
    Refuse,
    Reply421,
    Reset,
    Rule,
    Say,
    SayThen,
    StopReading,
    Unanswered,
    on,
)
from genie_connect_spec.smtp_server import ScriptedSmtpServer, Security

OutcomeState: TypeAlias = Literal["accepted", "deferred", "rejected", "unknown"]

# Larger than what the kernel takes from a client on this machine, so that the end mark is still with the client when
# the server stops reading.
BODY_FAULT_MESSAGE_BYTES: Final = 12 * 1024 * 1024
_BODY_FAULT_AFTER_BYTES: Final = 4096
_BODY_RECEIVE_BUFFER_BYTES: Final = 16 * 1024

# The code of the proper reply at each stage.
_PROPER_CODES: Mapping[str, int] = MappingProxyType(
    {
        "banner": 220,
        "ehlo": 250,
        "starttls": 220,
        "ehlo_tls": 250,
        "auth": 235,
        "mail": 250,
        "rcpt": 250,
        "data": 354,
        "body": 250,
        "final": 250,
        "quit": 221,
    }
)

_SECURITIES: Final[tuple[Security, ...]] = ("none", "starttls", "tls")
_STARTTLS_ONLY: Final = frozenset({"starttls", "ehlo_tls"})


@attrs.frozen(kw_only=True)
class Fault:
    """One kind of fault; `make` builds it from the proper code and the drip interval.

    `slow` says that only a deadline of the client's ends it; `breaks_protocol` that the client sees bytes no proper
    server sends.
    """

    make: Callable[[int, float], Action]
    slow: bool = False
    breaks_protocol: bool = False


def _malformed(code: int) -> bytes:
    return f"{str(code)[0]}_{str(code)[1:]} 2.0.0 fine\r\n".encode()


def _mixed(code: int) -> bytes:
    return f"550-no, or perhaps\r\n{code} 2.0.0 yes\r\n".encode()


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "reset": Fault(make=lambda code, drip_s: Reset()),
        "close": Fault(make=lambda code, drip_s: Close()),
        "hang": Fault(make=lambda code, drip_s: Hang(), slow=True),
        # The text is long enough that no deadline of a test sees its end.
        "drip": Fault(
            make=lambda code, drip_s: Drip(f"{code} 2.0.0 {'slowly ' * 140}\r\n".encode(), drip_s), slow=True
        ),
        "garbage": Fault(make=lambda code, drip_s: Garbage(), breaks_protocol=True),
        "421_close": Fault(make=lambda code, drip_s: Reply421(close=True)),
        "421_stay": Fault(make=lambda code, drip_s: Reply421(close=False)),
        "malformed_code": Fault(make=lambda code, drip_s: Say(_malformed(code)), breaks_protocol=True),
        "mixed_codes": Fault(make=lambda code, drip_s: Say(_mixed(code)), breaks_protocol=True),
        "extra_reply": Fault(make=lambda code, drip_s: Answer(after=b"250 2.0.0 unasked\r\n"), breaks_protocol=True),
        "endless_reply": Fault(
            make=lambda code, drip_s: Flood(f"{code}-and so on\r\n".encode() * 64), breaks_protocol=True
        ),
        "overlong_line": Fault(
            make=lambda code, drip_s: Flood(b"x" * 4096, first=f"{code} ".encode()), breaks_protocol=True
        ),
    }
)

# What cannot be told apart from a proper handshake that fails is left out of the stage "tls".
_TLS_FAULTS: Final = ("reset", "close", "hang", "drip", "garbage", "421_close", "421_stay")

# Before the banner there is nothing to reply to, so only the connection itself can fail.
_CONNECT_FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "refuse": Fault(make=lambda code, drip_s: Refuse()),
        "unanswered": Fault(make=lambda code, drip_s: Unanswered(), slow=True),
        "reset": FAULTS["reset"],
        "close": FAULTS["close"],
        "hang": FAULTS["hang"],
    }
)

GRID_STAGES: Final = (
    "connect",
    "banner",
    "ehlo",
    "starttls",
    "tls",
    "ehlo_tls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "body",
    "final",
    "quit",
)


@attrs.frozen(kw_only=True)
class FaultCell:
    """One fault at one stage in one security mode, and what is then true.

    `handed_over` is the message from the server's side: "no", it never had it or said no; "yes", it said yes; "maybe",
    it had every byte and the client has no answer. `expected` holds the outcomes that are right for a recipient.
    `another_connection` says whether the message may then be tried through another connection. A message smaller than
    `message_bytes` may be out of the client's hands before the fault happens. The script never asks for AUTH; a client
    without credentials does not meet the cells with `needs_auth`.
    """

    fault: str
    stage: str
    security: Security
    script: tuple[Rule, ...]
    handed_over: Literal["no", "maybe", "yes"]
    expected: frozenset[OutcomeState]
    slow: bool
    message_bytes: int = 0

    @property
    def id(self) -> str:
        """The name of the cell, for test ids."""
        return f"{self.stage}-{self.fault}-{self.security}"

    @property
    def needs_auth(self) -> bool:
        """True if only a client that authenticates meets the fault."""
        return self.stage == "auth"

    @property
    def another_connection(self) -> bool:
        """True if trying elsewhere cannot send the message twice."""
        return self.handed_over == "no"

    def __str__(self) -> str:
        return self.id

    def server(self, certificates: CertificateSet | None = None) -> ScriptedSmtpServer:
        """Return a server, not yet started, that plays the cell."""
        return ScriptedSmtpServer(
            self.script,
            security=self.security,
            certificates=certificates,
            max_message_bytes=max(25 * 1024 * 1024, 2 * self.message_bytes),
            receive_buffer_bytes=_BODY_RECEIVE_BUFFER_BYTES if self.stage == "body" else None,
        )


def fault_grid(
    *,
    stages: Iterable[str] = GRID_STAGES,
    securities: Iterable[Security] = _SECURITIES,
    drip_interval_s: float = 0.2,
) -> tuple[FaultCell, ...]:
    """Return every cell that can happen, in the order of a conversation.

    `drip_interval_s` times the length of a dripped reply, about 1000 bytes, must exceed the client's deadline.
    """
    wanted = tuple(securities)
    return tuple(
        _cell(name, fault, stage, security, drip_interval_s)
        for stage in stages
        for security in wanted
        if _happens(stage, security)
        for name, fault in _faults_at(stage).items()
    )


def _happens(stage: str, security: Security) -> bool:
    if stage in _STARTTLS_ONLY:
        return security == "starttls"
    return stage != "tls" or security != "none"


def _faults_at(stage: str) -> Mapping[str, Fault]:
    if stage == "connect":
        return _CONNECT_FAULTS
    if stage == "tls":
        return {name: FAULTS[name] for name in _TLS_FAULTS}
    return FAULTS


def _cell(name: str, fault: Fault, stage: str, security: Security, drip_interval_s: float) -> FaultCell:
    action = fault.make(_PROPER_CODES.get(stage, 220), drip_interval_s)
    handed_over, expected = _truth(name, fault, stage)
    return FaultCell(
        fault=name,
        stage=stage,
        security=security,
        script=(on(stage, _placed(action, stage)),),
        handed_over=handed_over,
        expected=expected,
        slow=fault.slow or stage == "body",
        message_bytes=BODY_FAULT_MESSAGE_BYTES if stage == "body" else 0,
    )


def _placed(action: Action, stage: str) -> Action:
    """Put an action where it belongs; in a body the server then reads no further, so the end mark never arrives."""
    if stage == "tls" and isinstance(action, Reply421) and not action.close:
        return SayThen(b"421 4.3.2 not now\r\n", Hang())
    if stage != "body":
        return action
    match action:
        case Hang():
            action = StopReading()
        case Answer(_, after):
            action = SayThen(b"552 5.3.4 too much\r\n" + after, StopReading())
        case Reply421(False):
            action = SayThen(b"421 4.3.2 not now\r\n", StopReading())
        case Say(data) | Garbage(data):
            action = SayThen(data, StopReading())
        case _:
            pass
    return AfterBytes(_BODY_FAULT_AFTER_BYTES, action)


def _truth(name: str, fault: Fault, stage: str) -> tuple[Literal["no", "maybe", "yes"], frozenset[OutcomeState]]:
    if stage == "quit":
        # The message was accepted before; whatever happens to QUIT changes nothing.
        return "yes", frozenset({"accepted"})
    if stage == "final":
        if name in ("421_close", "421_stay"):
            return "no", frozenset({"deferred"})
        if name == "extra_reply":
            # The first complete reply is the answer; only the connection is not to be trusted any more.
            return "yes", frozenset({"accepted"})
        return "maybe", frozenset({"unknown"})
    if fault.breaks_protocol or stage in ("starttls", "tls"):
        # Nothing was handed over; whether trying again could help is for the client to judge.
        return "no", frozenset({"deferred", "rejected"})
    return "no", frozenset({"deferred"})
