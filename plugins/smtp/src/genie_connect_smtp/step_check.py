"""How a reply too many is noticed where whole messages leave before anything is known of them.

RSET stands between any two messages that are sent with BDAT, and its reply must look like the first one on this
connection. If it does not, the count of replies is in doubt, and with it whose reply was whose: QUIT is sent, whose
221 is like no other reply, and where it stands shows whether the count was right. Until then what has ended is held.
"""

from __future__ import annotations

from typing import Final

from genie_connect_smtp.replies import Reply
from genie_connect_smtp.transaction import Transaction

# Which RSET is due, in the place where others have the recipient.
LEADING: Final = 0
"""Before an envelope whose predecessor was left open."""
FIRST: Final = 1
"""Before the first of several messages in a row."""
TRAILING: Final = 2
"""Behind a message, and before the next."""
SYNC: Final = 3
"""The QUIT that asks where the server stands."""

RSET: Final = b"RSET\r\n"
QUIT: Final = b"QUIT\r\n"


class StepCheck:
    """What the replies to RSET looked like. ``suspect`` once one was unlike the first; ``held`` is what ended since."""

    __slots__ = ("_first", "held", "suspect")

    def __init__(self) -> None:
        self.suspect = False
        self.held: list[Transaction] = []
        self._first: Reply | None = None

    def begin(self, reply: Reply) -> None:
        """The reply to the RSET before the first message."""
        self._first = reply

    def fits(self, reply: Reply) -> bool:
        """Whether this may be the reply to the RSET behind a message. Nothing fits less once the count is in doubt."""
        if reply.code // 100 != 2:
            return False
        first = self._first
        return reply is first or first is None or self.suspect or _words(reply) == _words(first)

    def release(self) -> list[Transaction]:
        """What was held: every reply was where it belonged."""
        held, self.held, self.suspect = self.held, [], False
        return held


def _words(reply: Reply) -> tuple[object, ...]:
    """What stays the same in the replies to one command: no ids, times or counters."""
    words = (word for word in reply.text.lower().split() if word.isalpha() or not any(map(str.isdigit, word)))
    return reply.code, reply.enhanced, *words
