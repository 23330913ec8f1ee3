"""One mail transaction as a state machine: replies in, actions out. No sockets, no clock.

::

    MAIL ──2xx──> RCPT ... ──one or more 2xx──> DATA ──354──> body ──> end mark ──2xx──> accepted
      │             │ none accepted              │                        │
      └─────────────┴────────────────────────────┴──> RSET                └──4xx, 5xx──> refused

The driver asks ``next_action`` until it gets ``None``, then reads one reply and hands it to ``reply``. Each command
that was written stands in a queue with the recipient it is about, and a reply belongs to the head of that queue; so
the machine does not care how many commands are on their way at once. ``max_in_flight`` is 1: one at a time.

What can be known is settled as it becomes known, recipient by recipient: ``results``. When the connection breaks,
``lost`` settles the rest: not handed over, unless the end mark may have left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final, TypeAlias

import attrs

from genie_connect.model.outcome import Scope, State
from genie_connect_smtp.classify import Verdict, classify, classify_fault, classify_reply
from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.stuffing import END_MARK


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
        """The MAIL command line."""
        parameters = [
            f"SIZE={self.size_bytes}" if self.size_bytes is not None else "",
            "BODY=8BITMIME" if self.eight_bit else "",
            "SMTPUTF8" if self.smtputf8 else "",
        ]
        return _line(" ".join([f"MAIL FROM:<{self.sender}>", *filter(None, parameters)]))


@attrs.frozen
class Write:
    """Write these bytes; a reply is due."""

    data: bytes


@attrs.frozen
class SendBody:
    """Write the content, dots stuffed, all of it but the end mark; then call ``body_sent``."""


@attrs.frozen
class WriteEndMark:
    """Write the end mark. From here on a lost connection leaves the outcome unknown."""

    data: bytes = END_MARK


@attrs.frozen
class Finished:
    """Nothing more to do. ``reusable`` says whether the server is ready for another transaction."""

    reusable: bool


Action: TypeAlias = Write | SendBody | WriteEndMark | Finished


@attrs.frozen(kw_only=True)
class Result:
    """What became of one recipient, how far things had come, and what the server said."""

    stage: Stage
    verdict: Verdict
    reply: Reply | None = None


@attrs.frozen
class _Due:
    """A reply that is due: to the command of which stage, about which recipient."""

    stage: Stage
    index: int = -1


class Transaction:
    """The machine. ``results`` has one entry for each recipient, ``None`` while unsettled.

    ``overflow`` holds the indices of recipients the server had no more room for: they belong in another transaction.
    """

    max_in_flight: Final = 1

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.results: list[Result | None] = [None] * len(envelope.recipients)
        self.overflow: list[int] = []
        self.replies: list[Reply] = []
        self.stage = Stage.MAIL
        self._commands: deque[tuple[_Due, bytes]] = deque([(_Due(Stage.MAIL), envelope.mail_command())])
        self._due: deque[_Due] = deque()
        self._taken: list[int] = []
        self._finished: Finished | None = None

    @property
    def finished(self) -> bool:
        """Whether everything is settled."""
        return self._finished is not None

    @property
    def reusable(self) -> bool:
        """Whether another transaction may follow on the same connection."""
        return self._finished is not None and self._finished.reusable

    def next_action(self) -> Action | None:
        """What to do now; ``None`` where a reply has to be read first."""
        if self._finished is not None:
            return self._finished
        if self.stage is Stage.BODY:
            return SendBody()
        if self.stage is Stage.FINAL and not self._due:
            self._due.append(_Due(Stage.FINAL))
            return WriteEndMark()
        if self._commands and len(self._due) < self.max_in_flight:
            due, line = self._commands.popleft()
            self._due.append(due)
            self.stage = due.stage
            return Write(line)
        return None

    def settled(self) -> tuple[Result, ...]:
        """The results there are."""
        return tuple(result for result in self.results if result is not None)

    def body_sent(self) -> None:
        """All content but the end mark has been written."""
        self.stage = Stage.FINAL

    def reply(self, reply: Reply) -> None:
        """Take the next reply."""
        self.replies.append(reply)
        if self.stage is Stage.BODY:
            self._reply_during_body(reply)
            return
        due = self._due.popleft()
        if due.stage is Stage.RSET:
            self._end(reusable=reply.digit == 2 and reply.code != 221)
            return
        if reply.code in (221, 421) and due.stage is not Stage.FINAL:
            # The server is leaving; that says nothing about the recipient it was asked about.
            self._settle_rest(due.stage, classify_reply(due.stage, reply), reply)
            self._end(reusable=False)
            return
        self._ON_REPLY.get((due.stage, reply.digit), Transaction._out_of_step)(self, due, reply)

    def lost(self, fault: ConnectionFault) -> None:
        """The connection can no longer be used."""
        if self._finished is None:
            self._settle_rest(self.stage, classify_fault(fault.fault, self.stage))
            self._end(reusable=False)

    def abandoned(self, verdict: Verdict) -> None:
        """The content could not be read to its end, so the end mark must not be written."""
        if self.stage is Stage.FINAL:
            verdict = classify_fault(Fault.DISCONNECT, self.stage)
        self._settle_rest(self.stage, verdict)
        self._end(reusable=False)

    def _mail_taken(self, due: _Due, reply: Reply) -> None:
        self._commands.extend(
            (_Due(Stage.RCPT, index), _line(f"RCPT TO:<{recipient}>"))
            for index, recipient in enumerate(self.envelope.recipients)
        )

    def _mail_refused(self, due: _Due, reply: Reply) -> None:
        verdict = classify_reply(due.stage, reply)
        self._settle_rest(due.stage, verdict, reply)
        self._reset(verdict)

    def _rcpt_taken(self, due: _Due, reply: Reply) -> None:
        self._taken.append(due.index)
        self._after_rcpt()

    def _rcpt_refused(self, due: _Due, reply: Reply) -> None:
        if self._taken and _no_more_room(reply):
            self.overflow.append(due.index)
            self.overflow.extend(waiting.index for waiting, _ in self._commands)
            self._commands.clear()
        else:
            self.results[due.index] = Result(stage=due.stage, verdict=classify_reply(due.stage, reply), reply=reply)
        self._after_rcpt()

    def _after_rcpt(self) -> None:
        if self._commands or self._due:
            return
        if self._taken:
            self._commands.append((_Due(Stage.DATA), b"DATA\r\n"))
        else:
            self._reset(None)

    def _data_taken(self, due: _Due, reply: Reply) -> None:
        # RFC 5321 section 4.1.1.4: 354 alone invites the content.
        if reply.code != 354:
            self._out_of_step(due, reply)
            return
        self.stage = Stage.BODY

    def _data_refused(self, due: _Due, reply: Reply) -> None:
        verdict = classify_reply(due.stage, reply)
        self._settle_rest(due.stage, verdict, reply)
        self._reset(verdict)

    def _answered(self, due: _Due, reply: Reply) -> None:
        verdict = classify_reply(due.stage, reply)
        if verdict.suppress and len(self._taken) > 1:
            # One answer for several recipients does not say which of them does not exist.
            verdict = attrs.evolve(verdict, suppress=False)
        self._settle_rest(due.stage, verdict, reply)
        # After the end of the data the server has nothing left to reset (RFC 5321 section 4.1.1.4).
        self._end(reusable=verdict.state is State.ACCEPTED or verdict.scope is not Scope.CONNECTION)

    def _in_doubt(self, due: _Due, reply: Reply) -> None:
        self._settle_rest(due.stage, classify_reply(due.stage, reply), reply)
        self._end(reusable=False)

    def _reply_during_body(self, reply: Reply) -> None:
        # A refusal may come early; whatever else is said now answers something that was not asked.
        if reply.digit in (4, 5):
            verdict = classify_reply(Stage.BODY, reply)
        else:
            verdict = classify_fault(Fault.EXTRA_REPLY, Stage.BODY)
        self._settle_rest(Stage.BODY, verdict, reply)
        self._end(reusable=False)

    def _out_of_step(self, due: _Due, reply: Reply) -> None:
        self._settle_rest(due.stage, classify_fault(Fault.EXTRA_REPLY, due.stage), reply)
        self._end(reusable=False)

    def _reset(self, verdict: Verdict | None) -> None:
        if verdict is not None and verdict.scope is Scope.CONNECTION:
            self._end(reusable=False)
        else:
            self._commands.clear()
            self._commands.append((_Due(Stage.RSET), b"RSET\r\n"))

    def _settle_rest(self, stage: Stage, verdict: Verdict, reply: Reply | None = None) -> None:
        overflow = set(self.overflow)
        for index, result in enumerate(self.results):
            if result is None and index not in overflow:
                self.results[index] = Result(stage=stage, verdict=verdict, reply=reply)

    def _end(self, *, reusable: bool) -> None:
        self._finished = Finished(reusable)

    # Who takes a reply; whatever stands not here is out of step.
    _ON_REPLY: ClassVar[Mapping[tuple[Stage, int], Callable[[Transaction, _Due, Reply], None]]] = MappingProxyType(
        {
            (Stage.MAIL, 2): _mail_taken,
            (Stage.MAIL, 4): _mail_refused,
            (Stage.MAIL, 5): _mail_refused,
            (Stage.RCPT, 2): _rcpt_taken,
            (Stage.RCPT, 4): _rcpt_refused,
            (Stage.RCPT, 5): _rcpt_refused,
            (Stage.DATA, 3): _data_taken,
            (Stage.DATA, 4): _data_refused,
            (Stage.DATA, 5): _data_refused,
            (Stage.FINAL, 2): _answered,
            (Stage.FINAL, 3): _in_doubt,
            (Stage.FINAL, 4): _answered,
            (Stage.FINAL, 5): _answered,
        }
    )


class SenderProbe(Transaction):
    """Asks whether sender and recipients would be taken, and sends nothing: RSET stands where DATA would."""

    def _after_rcpt(self) -> None:
        if self._commands or self._due:
            return
        for index in self._taken:
            reply = self.replies[-1]
            self.results[index] = Result(stage=Stage.RCPT, verdict=classify(Stage.RCPT, reply.code), reply=reply)
        self._reset(None)


def _no_more_room(reply: Reply) -> bool:
    """Whether the server has as many recipients as it takes in one transaction.

    RFC 5321 section 4.5.3.1.10: 452, and 552 where an older server says it by RFC 821.
    """
    return reply.enhanced.endswith(".5.3") or (reply.code in (452, 552) and not reply.enhanced)


def _line(command: str) -> bytes:
    line = command.encode()
    # Addresses are checked where they enter; this is for the day when that has a bug (RFC 5321 section 2.3.8).
    if any(byte < 0x20 or byte == 0x7F for byte in line) or command.count("<") != 1 or command.count(">") != 1:
        raise ValueError("a command holds a character that would end it")
    return line + b"\r\n"
