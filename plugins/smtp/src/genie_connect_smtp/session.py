"""The mail transactions of one connection, in their order: replies in, bytes out. No sockets, no clock.

Each command that was written stands in one queue, ``_due``, with the transaction and the recipient it is about, and a
reply belongs to the head of that queue; so the machine does not care how many commands are on their way at once. How
far it runs ahead is the rung of the ladder (see ``ladder``)::

    ONE_BY_ONE   each command waits until nothing is due
    ENVELOPE     MAIL RCPT.. DATA begin when nothing is due; the content goes when DATA is answered
    NEXT         MAIL RCPT.. DATA begin behind the end mark of the message before
    CHUNKING     MAIL RCPT BDAT content RSET begin while the window has room

The driver writes what ``output`` gives, hands each reply to ``receive``, and takes what has ended from ``take_done``.
Where ``streaming`` is set, it writes that transaction's content and calls ``body_written``. ``lost`` says that the
connection is gone. Once ``over``, the connection has to be dropped.

With BDAT several things are different, since a whole message has left before anything is known of it:

- RSET stands between any two messages. Without it a message whose own MAIL was refused goes out under the envelope of
  the one before, if that is still open (Exim 4.96).
- That RSET's reply is also how a reply too many is noticed (see ``step_check``).
- A message counts as answered once the RSET behind it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from genie_connect_smtp.aftermath import Ending, is_stale
from genie_connect_smtp.classify import Verdict, classify_fault, classify_reply
from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import Ladder, Rung
from genie_connect_smtp.outgoing import Outgoing
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.step_check import FIRST, LEADING, SYNC, TRAILING
from genie_connect_smtp.transaction import Phase, Transaction, about_connection

_log = logging.getLogger(__name__)

_GOOD_BYE: Final = frozenset({221, 421})


class Session(Outgoing):
    """The machine: what ``Outgoing`` writes, and what the replies to that mean."""

    __slots__ = (
        "_done",
        "_last_stage",
        "_stays",
        "_turned_away",
    )

    def __init__(self, extensions: Extensions, ladder: Ladder, *, max_transactions: int = 10_000) -> None:
        super().__init__(extensions, ladder, max_transactions=max_transactions)
        self._done: list[Transaction] = []
        self._last_stage = Stage.MAIL
        # Whether the server has gone on although it had said good-bye, and whom it said that to in place of a RSET.
        self._stays = False
        self._turned_away: tuple[Transaction, Reply] | None = None

    @property
    def stage(self) -> Stage:
        """How far the transaction has come that comes first."""
        if self.streaming is not None:
            return Stage.BODY
        if self._current is not None and self._current.phase is Phase.CONTENT:
            return Stage.BODY
        return self._due[0][1] if self._due else self._last_stage

    @property
    def patience(self) -> Stage:
        """Whose time limit holds for the reply that is due."""
        if self._good_bye:
            return Stage.RSET
        if self._due and self._due[0][1] is Stage.RSET and self._due[0][2] != SYNC:
            settled = not any(transaction.open for transaction in self._active) and not self._waiting
            return Stage.RSET if settled else Stage.MAIL
        return self.stage

    def take_done(self) -> list[Transaction]:
        """The transactions that have ended since the last call, in order."""
        done, self._done = self._done, []
        return done

    def receive(self, reply: Reply) -> None:
        """Take the next reply."""
        if self.over:
            return
        if not self._due:
            self._unasked(reply)
            return
        transaction, stage, index = self._due.pop(0)
        self._last_stage = stage
        # RFC 5321 section 3.8 has it close, so that nothing behind the 421 is done; but some go on.
        self._stays = self._good_bye
        if stage is Stage.RSET:
            self._reset_answered(transaction, index, reply)
        elif transaction is None:
            raise AssertionError(f"nobody waits for the reply to {stage}")
        elif reply.code in _GOOD_BYE and stage is not Stage.FINAL:
            self._server_leaves(transaction, stage, reply)
        else:
            self._ON_REPLY.get((stage, reply.code // 100), Session._out_of_step)(self, transaction, index, reply)
            transaction.heard = True
        if self._closing and not self._due and (self._good_bye or not self._check.suspect):
            self._end(None)

    def unfinished_reply(self) -> None:
        """Part of a reply has come; if none is due, it was not asked for."""
        if not self._due and not self.over:
            self._unasked(None)

    def body_written(self) -> None:
        """All content of the streamed transaction but the end mark has been written."""
        self.streaming = None

    def abandoned(self, verdict: Verdict) -> None:
        """The content could not be read to its end, so the end mark must not be written."""
        if self.streaming is not None:
            self.streaming.settle_rest(Stage.BODY, verdict)
        self._end(None)

    def lost(self, fault: ConnectionFault, *, by_us: bool = False) -> None:
        """The connection can no longer be used; ``by_us`` says that the server has no part in it."""
        if self.over:
            return
        if fault.fault is Fault.DISCONNECT and not by_us and self.window.in_flight > 1 and not self._good_bye:
            self.ladder.step_down(Rung.NEXT, "a connection broke with several messages on their way")
        self._end(fault)

    # What was answered.

    def _mail_taken(self, transaction: Transaction, index: int, reply: Reply) -> None:
        pass

    def _mail_refused(self, transaction: Transaction, index: int, reply: Reply) -> None:
        if transaction.ignored:
            return
        if reply.code == 503 and transaction is self._current and self._ahead:
            # Some servers refuse whatever comes behind the end mark (Haraka since GHSA-rp4q-8m6x-c43c).
            transaction.ignored = transaction.refused_ahead = True
            return
        if reply.code == 451 and reply.enhanced == "4.4.2" and is_stale(transaction, self.served):
            # Whatever is on its way is given back.
            self._end(None)
            return
        self.setback = True
        verdict = transaction.mail_refused(reply)
        if self._commands:
            self._finish(transaction)
        if about_connection(verdict):
            self._leave(transaction)

    def _rcpt_taken(self, transaction: Transaction, index: int, reply: Reply) -> None:
        if not transaction.ignored:
            transaction.rcpt_taken(index, reply)
        self._after_rcpt(transaction)

    def _rcpt_refused(self, transaction: Transaction, index: int, reply: Reply) -> None:
        self.setback = True
        if not transaction.ignored and transaction.rcpt_refused(index, reply):
            transaction.overflow += (index for stage, index, _ in self._commands if stage is Stage.RCPT)
            self._commands = [command for command in self._commands if command[0] is Stage.DATA]
        self._after_rcpt(transaction)

    def _after_rcpt(self, transaction: Transaction) -> None:
        if transaction is not self._current:
            return
        in_vain = bool(self._commands) and self._commands[0][0] is Stage.DATA and not transaction.taken
        asked_all = not transaction.sends_content and not self._commands and not self._due
        if in_vain or asked_all:
            self._finish(transaction)

    def _data_invited(self, transaction: Transaction, index: int, reply: Reply) -> None:
        # RFC 5321 section 4.1.1.4: 354 alone invites the content, and only after MAIL was taken.
        if reply.code != 354 or transaction.ignored:
            self._out_of_step(transaction, index, reply)
        else:
            transaction.phase = Phase.INVITED

    def _data_refused(self, transaction: Transaction, index: int, reply: Reply) -> None:
        if transaction.refused_ahead:
            self.ladder.step_down(Rung.ENVELOPE, "the server takes no command behind the end of a message")
            self._active.remove(transaction)
            self._current = None
            transaction.forget()
            self._waiting.insert(0, transaction)
            return
        self.setback = True
        verdict = None
        if transaction.taken:
            verdict = transaction.data_refused(reply)
        self._finish(transaction)
        if verdict is not None and about_connection(verdict):
            self._leave(transaction)

    def _answered(self, transaction: Transaction, index: int, reply: Reply) -> None:
        if transaction.chunked:
            self._chunk_answered(transaction, reply)
            return
        if not transaction.taken:
            # There was no content and nobody to send it to; all have their results from RCPT.
            self._finish(transaction)
            return
        verdict = self._conclude(transaction, reply)
        self._finish(transaction)
        self._after(transaction, verdict, reply)

    def _chunk_answered(self, transaction: Transaction, reply: Reply) -> None:
        welcome = transaction.taken and not transaction.ignored
        if reply.code // 100 == 2 and not welcome:
            _log.error("the server accepted a message whose envelope it had refused; which envelope it took is unknown")
            transaction.in_doubt(classify_fault(Fault.EXTRA_REPLY, Stage.FINAL), reply)
            self._end(ConnectionFault(Stage.FINAL, Fault.EXTRA_REPLY))
        elif not welcome:
            transaction.phase = Phase.ANSWERED
        elif reply.code in (500, 502):
            self.ladder.step_down(Rung.NEXT, "the server offers CHUNKING and does not know BDAT")
            transaction.give_back()
            # It may have taken the content for commands.
            self._end(ConnectionFault(Stage.FINAL, Fault.EXTRA_REPLY))
        else:
            self._after(transaction, self._conclude(transaction, reply), reply)

    def _conclude(self, transaction: Transaction, reply: Reply) -> Verdict:
        verdict = transaction.answered(reply)
        if reply.code // 100 == 2:
            self._resets = self.window.in_flight
        else:
            self.setback = True
        return verdict

    def _after(self, transaction: Transaction, verdict: Verdict, reply: Reply) -> None:
        if reply.code == 421 or about_connection(verdict):
            self._good_bye = reply.code == 421
            self._leave(transaction)

    def _in_doubt(self, transaction: Transaction, index: int, reply: Reply) -> None:
        transaction.settle_rest(Stage.FINAL, classify_reply(Stage.FINAL, reply), reply)
        self._end(ConnectionFault(Stage.FINAL, Fault.EXTRA_REPLY))

    def _reset_answered(self, transaction: Transaction | None, index: int, reply: Reply) -> None:
        if index == SYNC:
            self._in_step(reply)
        elif reply.code in _GOOD_BYE:
            self._reset_in_vain(transaction, index, reply)
        elif index == TRAILING and transaction is not None:
            if self._check.fits(reply):
                self.ladder.chunking_works = True
            else:
                self._doubt_the_count()
            self._finish(transaction)
        elif reply.code // 100 == 2:
            if index == FIRST:
                self._check.begin(reply)
                self.resumed = False
                # Behind this RSET comes MAIL, now or when the next transaction begins.
                self._reset_ahead = True
        elif index == FIRST and transaction is not None:
            self._doubt_the_count()
        else:
            self._end(None)

    def _reset_in_vain(self, transaction: Transaction | None, index: int, reply: Reply) -> None:
        """The server is going, and says so to a RSET."""
        if transaction is not None and index == LEADING:
            self._server_leaves(transaction, Stage.MAIL, reply)
            return
        if transaction is not None and index == TRAILING:
            self._finish(transaction)
        elif transaction is not None:
            # It has the whole message already; if it stays, its answer to that counts.
            self._turned_away = transaction, reply
        self._good_bye = True
        self._leave(None)

    def _doubt_the_count(self) -> None:
        if not self._check.suspect:
            self.ladder.step_down(Rung.NEXT, "a reply to RSET is unlike the first, so one too many would go unnoticed")
            self._check.suspect = self._closing = True

    def _in_step(self, reply: Reply) -> None:
        if reply.code == 221:
            self._done += self._check.release()
        self._end(None)

    def _server_leaves(self, transaction: Transaction, stage: Stage, reply: Reply) -> None:
        """It is going; that says nothing about the recipient it was asked about."""
        if is_stale(transaction, self.served):
            transaction.give_back()
            transaction.farewell = stage, reply
        else:
            transaction.settle_rest(stage, classify_reply(stage, reply), reply)
        transaction.ignored = True
        self._good_bye = True
        self._leave(transaction)

    def _leave(self, transaction: Transaction | None) -> None:
        """Begin nothing more. A server that says 421 and stays may still answer what it has in whole."""
        self._closing = True
        behind = any(other is not transaction and other.phase is Phase.WHOLE and other.open for other in self._active)
        if not behind and not self._asked_for_step:
            self._end(None)

    def _unasked(self, reply: Reply | None) -> None:
        if self.streaming is not None and reply is not None:
            self._reply_during_body(self.streaming, reply)
        elif self._active:
            self._end(ConnectionFault(self.stage, Fault.EXTRA_REPLY))
        else:
            # What follows the answer to a message can change it no more.
            self._end(None)

    def _reply_during_body(self, transaction: Transaction, reply: Reply) -> None:
        # A refusal may come early; whatever else is said now answers something that was not asked.
        if reply.code // 100 in (4, 5):
            verdict = classify_reply(Stage.BODY, reply)
        else:
            verdict = classify_fault(Fault.EXTRA_REPLY, Stage.BODY)
        transaction.settle_rest(Stage.BODY, verdict, reply)
        self._end(None)

    def _out_of_step(self, transaction: Transaction, index: int, reply: Reply) -> None:
        stage = self._last_stage
        if transaction.refused_ahead:
            transaction.give_back()
        elif self._grouped and transaction.phase is Phase.ENVELOPE and not transaction.ignored:
            # The replies before it in the same group may have been another command's as well.
            transaction.results = [None] * len(transaction.results)
            transaction.overflow = []
        if transaction.phase is not Phase.WHOLE and not transaction.returned:
            transaction.settle_rest(stage, classify_fault(Fault.EXTRA_REPLY, stage), reply)
        self._end(ConnectionFault(stage, Fault.EXTRA_REPLY))

    # How things end.

    def _finish(self, transaction: Transaction) -> None:
        # Replies come in the order of the commands, so it is the first.
        self._active.pop(0)
        if transaction.chunked:
            self.window.ended(transaction)
        if transaction is self._current:
            self._current = None
            self._commands = []
        self.served += 1
        (self._check.held if self._check.suspect else self._done).append(transaction)

    def _end(self, fault: ConnectionFault | None) -> None:
        """Settle everything. Without a fault the server has said that it does nothing more."""
        if self.over:
            return
        self.over = True
        if self._check.suspect:
            self._disbelieve(fault or ConnectionFault(Stage.FINAL, Fault.EXTRA_REPLY))
        left = self._good_bye and not self._stays
        ending = Ending(fault=fault, left=left, turned_away=self._turned_away, served=self.served)
        ending.settle(self._active)
        for transaction in self._waiting:
            transaction.give_back()
        self._done += (*self._active, *self._waiting)
        for things in (self._check.held, self._active, self._waiting, self._due, self._commands):
            things.clear()
        self._current = self.streaming = None

    def _disbelieve(self, fault: ConnectionFault) -> None:
        """Whose reply was whose is not known for anything that was on its way when the count went wrong."""
        self._done += self._check.held
        for transaction in (*self._check.held, *self._active):
            transaction.in_doubt(classify_fault(fault.fault, Stage.FINAL))

    # Who takes a reply; whatever stands not here is out of step.
    _ON_REPLY: ClassVar[Mapping[tuple[Stage, int], Callable[[Session, Transaction, int, Reply], None]]] = (
        MappingProxyType(
            {
                (Stage.MAIL, 2): _mail_taken,
                (Stage.MAIL, 4): _mail_refused,
                (Stage.MAIL, 5): _mail_refused,
                (Stage.RCPT, 2): _rcpt_taken,
                (Stage.RCPT, 4): _rcpt_refused,
                (Stage.RCPT, 5): _rcpt_refused,
                (Stage.DATA, 3): _data_invited,
                (Stage.DATA, 4): _data_refused,
                (Stage.DATA, 5): _data_refused,
                (Stage.FINAL, 2): _answered,
                (Stage.FINAL, 3): _in_doubt,
                (Stage.FINAL, 4): _answered,
                (Stage.FINAL, 5): _answered,
            }
        )
    )
