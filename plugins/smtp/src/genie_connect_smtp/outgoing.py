"""What may be written next on one connection: the half of ``Session`` that speaks.

It knows what has been written and not answered (``_due``), and from the replies what the other half has noted: whether
the content of the current transaction is wanted, whether the server is going, whether the count of replies is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import Ladder, Rung
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.step_check import FIRST, LEADING, QUIT, RSET, SYNC, TRAILING, StepCheck
from genie_connect_smtp.stuffing import END_MARK, stuffed
from genie_connect_smtp.transaction import Phase, Transaction, commands
from genie_connect_smtp.window import Window

MAX_RESETS_IN_A_ROW: Final = 90
"""Postfix takes a hundred RSETs without an accepted message between them for junk."""

Due: TypeAlias = tuple[Transaction | None, Stage, int]
"""A command that is not answered: its transaction, its stage, and which recipient or which RSET."""


def nothing() -> Transaction | None:
    """Where no more transactions come from."""
    return None


class Outgoing:
    """The transactions that wait and those that have begun. ``supply`` is asked for the next one when there is room.

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
        "_due",
        "_good_bye",
        "_grouped",
        "_reset_ahead",
        "_resets",
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
        # The transaction whose envelope or content is being written, the rest of its commands, whether it began behind
        # an end mark that was not answered yet, and whether its commands went out together.
        self._current: Transaction | None = None
        self._commands: list[tuple[Stage, int, bytes]] = []
        self._ahead = False
        self._grouped = False
        # No transaction begins any more; and the reason is that the server said good-bye.
        self._closing = False
        self._good_bye = False
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

    def retire(self) -> None:
        """Begin nothing more on this connection."""
        self._closing = True

    def output(self) -> list[bytes]:
        """What is to be written now; from here on it counts as written."""
        out: list[bytes] = []
        while not (self.over or self._good_bye or self.streaming) and self._step(out):
            pass
        return out

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
