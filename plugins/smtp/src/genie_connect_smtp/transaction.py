"""One mail transaction: its envelope, its content, and what is known of each recipient.

The rules of a verdict are here, and only here: they are the same whether commands go out one at a time or many
transactions are on their way at once. Which command goes out when is the business of ``Session``.

What can be known is settled as it becomes known, recipient by recipient: ``results``. When the connection breaks, the
session settles the rest: not handed over, unless the last byte may have left.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any, ClassVar, Final

import attrs

from genie_connect.model.outcome import Scope, State
from genie_connect_smtp.classify import Verdict, classify, classify_reply
from genie_connect_smtp.content import NO_CONTENT, Content
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage


@attrs.frozen(kw_only=True)
class Envelope:
    """Sender, recipients, and the parameters of MAIL that the server offers and the message needs.

    Addresses are ``local@domain`` without angle brackets, checked before they come here.
    """

    sender: str
    recipients: tuple[str, ...]
    size_bytes: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False

    def mail_command(self) -> bytes:
        """The MAIL command line. Raises ``ValueError`` for an address that would end it."""
        size = "" if self.size_bytes is None else f" SIZE={self.size_bytes:d}"
        body = " BODY=8BITMIME" if self.eight_bit else ""
        utf8 = " SMTPUTF8" if self.smtputf8 else ""
        return f"MAIL FROM:<{_checked(self.sender)}>{size}{body}{utf8}\r\n".encode()

    def rcpt_commands(self) -> list[bytes]:
        """The RCPT command lines. Raises ``ValueError`` for an address that would end one."""
        return [f"RCPT TO:<{_checked(recipient)}>\r\n".encode() for recipient in self.recipients]


@attrs.frozen(kw_only=True)
class Result:
    """What became of one recipient, how far things had come, and what the server said."""

    stage: Stage
    verdict: Verdict
    reply: Reply | None = None


_DATA: Final = (Stage.DATA, -1, b"DATA\r\n")
_ENDS_A_COMMAND: Final = re.compile("[\x00-\x1f\x7f<>]")
ACCEPTED: Final = classify(Stage.FINAL, 250)


class Phase(Enum):
    """How much of a transaction has been written."""

    WAITING = auto()
    """nothing"""
    ENVELOPE = auto()
    """some or all of the envelope"""
    INVITED = auto()
    """the envelope, and the server waits for the content"""
    CONTENT = auto()
    """some of the content"""
    WHOLE = auto()
    """everything to the last byte: without an answer nobody knows whether it was taken (RFC 1047)"""
    ANSWERED = auto()
    """everything, and the server has answered"""


class Transaction:
    """The machine of one transaction. ``results`` has one entry for each recipient, ``None`` while unsettled.

    ``taken`` is how many recipients the server has taken so far. ``overflow`` holds the indices of recipients the
    server had no more room for: they belong in another transaction.
    ``returned`` says that nothing was handed over and that trying it on another connection costs nothing, and
    ``farewell`` what the server said when it left that one. ``ignored`` says that what the server still says to
    commands already written changes nothing. ``owner`` is whoever made it, ``text`` explains a result that no reply
    explains.
    """

    sends_content: ClassVar[bool] = True
    farewell: tuple[Stage, Reply] | None = None

    # How all of them begin. Few ever differ in more than one or two of these.
    text: str | None = None
    taken: int = 0
    phase: Phase = Phase.WAITING
    ignored: bool = False
    refused_ahead: bool = False
    chunked: bool = False
    heard: bool = False
    returned: bool = False

    def __init__(self, envelope: Envelope, content: Content = NO_CONTENT, owner: Any = None) -> None:
        self.envelope = envelope
        self.content = content
        self.owner = owner
        self.results: list[Result | None] = [None] * len(envelope.recipients)
        self.overflow: list[int] = []

    def settled(self) -> tuple[Result, ...]:
        """The results there are."""
        return tuple([result for result in self.results if result is not None])

    def mail_refused(self, reply: Reply) -> Verdict:
        """The sender was refused, which settles everybody."""
        verdict = classify_reply(Stage.MAIL, reply)
        self.ignored = True
        self.settle_rest(Stage.MAIL, verdict, reply)
        return verdict

    def rcpt_taken(self, index: int, reply: Reply) -> None:
        """This recipient was taken."""
        self.taken += 1

    def rcpt_refused(self, index: int, reply: Reply) -> bool:
        """This recipient was refused; ``True`` if only for want of room."""
        if self.taken and _no_more_room(reply):
            self.overflow.append(index)
            return True
        self.results[index] = Result(stage=Stage.RCPT, verdict=classify_reply(Stage.RCPT, reply), reply=reply)
        return False

    def data_refused(self, reply: Reply) -> Verdict:
        """The content is not wanted, which settles those who were taken."""
        verdict = classify_reply(Stage.DATA, reply)
        self.settle_rest(Stage.DATA, verdict, reply)
        return verdict

    def answered(self, reply: Reply) -> Verdict:
        """The server has answered the message."""
        verdict = ACCEPTED if reply.code // 100 == 2 else classify_reply(Stage.FINAL, reply)
        if verdict.suppress and self.taken > 1:
            # One answer for several recipients does not say which of them does not exist.
            verdict = attrs.evolve(verdict, suppress=False)
        self.phase = Phase.ANSWERED
        self.settle_rest(Stage.FINAL, verdict, reply)
        return verdict

    def in_doubt(self, verdict: Verdict, reply: Reply | None = None) -> None:
        """Nothing that was believed of this transaction can be believed any more."""
        self.overflow = []
        self.returned = False
        self.results = [Result(stage=Stage.FINAL, verdict=verdict, reply=reply)] * len(self.results)

    def give_back(self) -> None:
        """Nothing was handed over, and it may go elsewhere."""
        self.results = [None] * len(self.results)
        self.overflow = []
        self.taken = 0
        self.returned = True

    def forget(self) -> None:
        """Be as if nothing had been said: nothing was handed over, and this goes out again."""
        self.results = [None] * len(self.results)
        self.overflow = []
        self.taken = 0
        self.phase = Phase.WAITING
        self.ignored = False
        self.refused_ahead = False
        self.chunked = False
        self.heard = False

    @property
    def open(self) -> bool:
        """Whether somebody has no result yet who is not left for another transaction."""
        return self.results.count(None) > len(self.overflow)

    def settle_rest(self, stage: Stage, verdict: Verdict, reply: Reply | None = None) -> None:
        """Give this result to everybody who has none and does not wait for another transaction."""
        result = Result(stage=stage, verdict=verdict, reply=reply)
        elsewhere = self.overflow
        self.results = [
            result if known is None and index not in elsewhere else known for index, known in enumerate(self.results)
        ]


class SenderProbe(Transaction):
    """Asks whether sender and recipients would be taken, and sends nothing."""

    sends_content = False

    def rcpt_taken(self, index: int, reply: Reply) -> None:
        """This recipient would be taken."""
        super().rcpt_taken(index, reply)
        self.results[index] = Result(stage=Stage.RCPT, verdict=classify(Stage.RCPT, reply.code), reply=reply)


def about_connection(verdict: Verdict) -> bool:
    """Whether the next message on this connection would meet the same at once, and on another one might not.

    Too much is too much on any connection, and no reason to leave this one unless the server does (421).
    """
    return verdict.state is not State.ACCEPTED and verdict.scope is Scope.CONNECTION and verdict.kind != "throttled"


def commands(transaction: Transaction) -> list[tuple[Stage, int, bytes]]:
    """The envelope command by command: its stage, the recipient it is about, its line."""
    envelope = transaction.envelope
    lines = [(Stage.MAIL, -1, envelope.mail_command())]
    lines += [(Stage.RCPT, index, line) for index, line in enumerate(envelope.rcpt_commands())]
    if transaction.sends_content:
        lines.append(_DATA)
    return lines


def _no_more_room(reply: Reply) -> bool:
    """Whether the server has as many recipients as it takes in one transaction.

    RFC 5321 section 4.5.3.1.10: 452, and 552 where an older server says it by RFC 821.
    """
    return reply.enhanced.endswith(".5.3") or (reply.code in (452, 552) and not reply.enhanced)


def _checked(address: str) -> str:
    # Addresses are checked where they enter; this is for the day when that has a bug (RFC 5321 section 2.3.8).
    if _ENDS_A_COMMAND.search(address):
        raise ValueError("a command holds a character that would end it")
    return address
