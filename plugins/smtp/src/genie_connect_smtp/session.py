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
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import ClassVar, Final, TypeAlias

from genie_connect_smtp.aftermath import Ending, give_back_stale, is_stale
from genie_connect_smtp.classify import Verdict, classify_fault, classify_reply
from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import Ladder, Rung
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.step_check import FIRST, LEADING, QUIT, RSET, SYNC, TRAILING, StepCheck
from genie_connect_smtp.stuffing import END_MARK, stuffed
from genie_connect_smtp.transaction import Phase, Transaction, about_connection, commands
from genie_connect_smtp.window import Window

_log = logging.getLogger(__name__)

MAX_RESETS_IN_A_ROW: Final = 90
"""Postfix takes a hundred RSETs without an accepted message between them for junk."""
_GOOD_BYE: Final = frozenset({221, 421})

Due: TypeAlias = tuple[Transaction | None, Stage, int]


def nothing() -> Transaction | None:
    """Where no more transactions come from."""
    return None


class Session:
    """The machine. ``supply`` is asked for the next transaction when there is room for one.

    ``window.copies`` is the size of the batch that is being sent. ``max_transactions`` is how many this connection may
    carry. ``resumed`` says that the connection has been idle, so that the server may have left meanwhile.
    """

    __slots__ = (
        "_active",
        "_ahead",
        "_check",
        "_closing",
        "_commands",
        "_current",
        "_dirty",
        "_done",
        "_due",
        "_good_bye",
        "_grouped",
        "_last_stage",
        "_reset_ahead",
        "_resets",
        "_stays",
        "_turned_away",
        "_waiting",
        "domains",
        "extensions",
        "ladder",
        "max_transactions",
        "over",
        "resumed",
        "served",
        "setback",
        "streaming",
        "supply",
        "window",
    )

    def __init__(self, extensions: Extensions, ladder: Ladder, *, max_transactions: int = 10_000) -> None:
        self.extensions = extensions
        self.ladder = ladder
        self.max_transactions = max_transactions
        self.supply: Callable[[], Transaction | None] = nothing
        self.window = Window(extensions, ladder)
        self.resumed = False
        self.over = False
        # Something was refused since this was last set to false.
        self.setback = False
        self.served = 0
        self.streaming: Transaction | None = None
        # The recipient domains this connection has had; kept only where the server limits them.
        self.domains: Collection[str] = ()
        self._waiting: list[Transaction] = []
        self._active: list[Transaction] = []
        # Lists, since they are short, and an idle connection should not weigh much.
        self._due: list[Due] = []
        self._done: list[Transaction] = []
        # The transaction whose envelope or content is being written, the rest of its commands, whether it began behind
        # an end mark that was not answered yet, and whether its commands went out together.
        self._current: Transaction | None = None
        self._commands: list[tuple[Stage, int, bytes]] = []
        self._ahead = False
        self._grouped = False
        self._last_stage = Stage.MAIL
        # No transaction begins any more; and the reason is that the server said good-bye.
        self._closing = False
        self._good_bye = False
        self._stays = False
        self._turned_away: tuple[Transaction, Reply] | None = None
        # The server may have a transaction open.
        self._dirty = False
        self._reset_ahead = False
        self._resets = 0
        self._check = StepCheck()

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way and nothing waits."""
        return not (self._due or self._active or self._waiting or self._check.held)

    @property
    def between(self) -> bool:
        """Whether nothing has been said yet to the transaction that comes first, if there is one."""
        return not (self.over or (self._active and self._active[0].heard))

    @property
    def expecting(self) -> bool:
        """Whether a reply is due."""
        return bool(self._due)

    @property
    def full(self) -> bool:
        """Whether this connection is to take no further transaction."""
        begun = self.served + len(self._active) + len(self._waiting)
        return self._closing or begun >= self.max_transactions or self._resets >= MAX_RESETS_IN_A_ROW

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

    def retire(self) -> None:
        """Begin nothing more on this connection."""
        self._closing = True

    def take_done(self) -> list[Transaction]:
        """The transactions that have ended since the last call, in order."""
        done, self._done = self._done, []
        return done

    def output(self) -> list[bytes]:
        """What is to be written now; from here on it counts as written."""
        out: list[bytes] = []
        while not (self.over or self._good_bye or self.streaming) and self._step(out):
            pass
        return out

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

    # What to write.

    def _step(self, out: list[bytes]) -> bool:
        if self._check.suspect:
            return self._ask_for_step(out)
        if self._current is not None:
            return self._go_on(self._current, out)
        transaction = self._next()
        if transaction is None:
            return False
        rung = self.window.rung_for(transaction)
        if self._due and not self.window.has_room_for(transaction, rung):
            return False
        if rung is Rung.CHUNKING:
            return self._begin_chunked(transaction, out)
        self._begin(transaction, rung, out)
        return True

    def _next(self) -> Transaction | None:
        if self._waiting:
            return self._waiting[0]
        if self.full or (self._due and not self.window.may_have_room()):
            return None
        transaction = self.supply()
        if transaction is not None:
            self._waiting.append(transaction)
        return transaction

    def _begin(self, transaction: Transaction, rung: Rung, out: list[bytes]) -> None:
        lines = commands(transaction)
        self._start(transaction)
        if self._dirty:
            lines.insert(0, (Stage.RSET, LEADING, RSET))
            self._resets += 1
        self._dirty = True
        self._reset_ahead = False
        self._ahead = bool(self._due)
        self._grouped = rung is not Rung.ONE_BY_ONE
        self._current = transaction
        transaction.phase = Phase.ENVELOPE
        if not self._grouped:
            self._commands = lines
            return
        for stage, index, line in lines:
            out.append(line)
            self._due.append((transaction, stage, index))

    def _begin_chunked(self, transaction: Transaction, out: list[bytes]) -> bool:
        envelope, data = transaction.envelope, transaction.content.data or b""
        mail, (rcpt,) = envelope.mail_command(), envelope.rcpt_commands()
        if self.resumed or not self._reset_ahead:
            out.append(RSET)
            if self.resumed:
                # Nothing goes out blindly to a server that may have left long ago.
                self._due.append((None, Stage.RSET, FIRST))
                return False
            self._due.append((transaction, Stage.RSET, FIRST))
        self._start(transaction)
        out += (mail, rcpt, b"BDAT %d LAST\r\n" % len(data), data, RSET)
        self._due += (
            (transaction, Stage.MAIL, -1),
            (transaction, Stage.RCPT, 0),
            (transaction, Stage.FINAL, -1),
            (transaction, Stage.RSET, TRAILING),
        )
        transaction.phase = Phase.WHOLE
        transaction.chunked = True
        self.window.begun(transaction)
        self._reset_ahead = True
        self._dirty = False
        self._resets += 1
        return True

    def _start(self, transaction: Transaction) -> None:
        self._active.append(self._waiting.pop(0))
        if self.extensions.max_recipient_domains is not None:
            new = (address.rpartition("@")[2].lower() for address in transaction.envelope.recipients)
            self.domains = {*self.domains, *new}

    def _go_on(self, transaction: Transaction, out: list[bytes]) -> bool:
        if transaction.phase is Phase.INVITED:
            return self._send_content(transaction, out)
        if transaction.phase is Phase.CONTENT:
            self._send_end_mark(transaction, out)
            return True
        if self._commands and not self._due:
            stage, index, line = self._commands.pop(0)
            out.append(line)
            self._due.append((transaction, stage, index))
        return False

    def _send_content(self, transaction: Transaction, out: list[bytes]) -> bool:
        if transaction.taken:
            data = transaction.content.data
            if data is None:
                transaction.phase = Phase.CONTENT
                self.streaming = transaction
                return False
            out.append(stuffed(data))
        # A server that wants content for nobody gets none (RFC 2920 section 3.1).
        self._send_end_mark(transaction, out)
        return True

    def _send_end_mark(self, transaction: Transaction, out: list[bytes]) -> None:
        out.append(END_MARK)
        self._due.append((transaction, Stage.FINAL, -1))
        transaction.phase = Phase.WHOLE
        # After the end of the data the server has nothing left to reset (RFC 5321 section 4.1.1.4).
        self._dirty = not transaction.taken
        self._current = None

    @property
    def _asked_for_step(self) -> bool:
        return bool(self._due) and self._due[-1][2] == SYNC

    def _ask_for_step(self, out: list[bytes]) -> bool:
        if not self._asked_for_step:
            out.append(QUIT)
            self._due.append((None, Stage.RSET, SYNC))
        return False

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
            give_back_stale(transaction)
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
            give_back_stale(transaction)
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
