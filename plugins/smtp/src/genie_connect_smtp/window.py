"""Whether another message may begin on a connection, given what is on its way: the rung of the ladder, applied."""

from __future__ import annotations

from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import Ladder, Rung
from genie_connect_smtp.transaction import Transaction


class Window:
    """How much of a batch of so many ``copies`` is on its way at once.

    ``in_flight`` counts the messages that were sent with BDAT and are not answered.
    """

    __slots__ = ("_bytes", "_extensions", "_ladder", "_rung_known", "copies", "in_flight")

    def __init__(self, extensions: Extensions, ladder: Ladder) -> None:
        self.copies = 1
        self.in_flight = 0
        self._bytes = 0
        self._extensions = extensions
        self._ladder = ladder
        # The rung for one of so many copies, as long as the ladder has this top.
        self._rung_known: tuple[Rung, int, Rung] | None = None

    def begun(self, transaction: Transaction) -> None:
        """A message has been sent with BDAT."""
        self.in_flight += 1
        self._bytes += transaction.content.size_bytes

    def ended(self, transaction: Transaction) -> None:
        """It has been answered."""
        self.in_flight -= 1
        self._bytes -= transaction.content.size_bytes

    def may_have_room(self) -> bool:
        """Whether any message might begin behind what is due. Asked first, so that nothing is composed too soon."""
        if self.in_flight:
            return self._ladder.chunking_works and self.in_flight < self._ladder.window
        return self.rung() >= Rung.NEXT

    def has_room_for(self, transaction: Transaction, rung: Rung) -> bool:
        """Whether this message may begin behind what is due."""
        if rung is not Rung.CHUNKING:
            return rung is Rung.NEXT and not self.in_flight
        ladder = self._ladder
        return (
            0 < self.in_flight < ladder.window
            and ladder.chunking_works
            and self._bytes + transaction.content.size_bytes <= ladder.window_bytes
        )

    def rung_for(self, transaction: Transaction) -> Rung:
        """How this message goes."""
        rung = self.rung()
        if rung is not Rung.CHUNKING:
            return rung
        # Which of several recipients are taken has to be known before the content goes.
        alone = len(transaction.results) == 1 and transaction.content.data is not None and transaction.sends_content
        return rung if alone else Rung.NEXT

    def rung(self) -> Rung:
        """How messages of this batch go where nothing about them stands against it."""
        known, top = self._rung_known, self._ladder.top
        if known is None or known[0] is not top or known[1] != self.copies:
            rung = self._ladder.rung(self._extensions, copies=self.copies)
            self._rung_known = known = top, self.copies, rung
        return known[2]
