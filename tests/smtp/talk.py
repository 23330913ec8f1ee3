"""A session without a network: what it says, what it is told, what it makes of both."""

from __future__ import annotations

from collections import deque

from genie_connect_smtp.content import Content
from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import MANY, Ladder
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.session import Session
from genie_connect_smtp.transaction import Envelope, Transaction

MODES = ("off", "envelope", "next", "chunking")
PEOPLE = ("a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example")
SMALL = Content.of([b"Subject: x\r\n\r\nhello\r\n"], 21)


def letter(number: int = 0, *, recipients: int = 1, content: Content = SMALL) -> Transaction:
    """A transaction with a sender that tells it from others."""
    return Transaction(Envelope(sender=f"{number}@s.example", recipients=PEOPLE[:recipients]), content)


class Talk:
    """One session with its transactions; ``said`` is all it wrote, a word or line for each piece."""

    def __init__(
        self,
        pipelining: str,
        *transactions: Transaction,
        window: int = 16,
        window_bytes: int = 1 << 18,
        keywords: str = "pipelining chunking",
        most: int = 10_000,
    ) -> None:
        self.ladder = Ladder(pipelining, window=window, window_bytes=window_bytes)
        extensions = Extensions.of(dict.fromkeys(keywords.split(), ""), ())
        self.session = Session(extensions, self.ladder, max_transactions=most)
        self.session.window.copies = MANY
        self.session.supply = lambda: self.queue.popleft() if self.queue else None
        self.queue = deque(transactions)
        self.said: list[str] = []
        self.done: list[Transaction] = []

    def go(self) -> list[str]:
        """Let it write; what it wrote just now."""
        said: list[str] = []
        while out := self.session.output():
            said += [_word(piece) for piece in out]
        self.said += said
        self.done += self.session.take_done()
        return said

    def hear(self, *lines: str) -> list[str]:
        """Tell it these replies, as one segment, and let it write; what it wrote then."""
        self.hear_quietly(*lines)
        return self.go()

    def hear_quietly(self, *lines: str) -> None:
        """Tell it these replies."""
        for line in lines:
            self.session.receive(Reply.of(int(line[:3]), (line[4:],)))

    def lose(self, fault: Fault = Fault.DISCONNECT) -> None:
        """The connection breaks."""
        self.session.lost(ConnectionFault(self.session.stage, fault))
        self.done += self.session.take_done()


def _word(piece: bytes) -> str:
    if piece == b".\r\n":
        return "."
    text = piece.decode()
    return "body" if text.startswith("Subject") else text.strip()


def states(*transactions: Transaction) -> list[str]:
    """What became of each recipient: a state, ``returned``, or ``-`` where nothing is known."""
    return [
        "returned" if transaction.returned else result.verdict.state.value if result else "-"
        for transaction in transactions
        for result in transaction.results
    ]
