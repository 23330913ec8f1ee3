"""What the end of a connection means for each transaction that was on its way.

Before the end mark nothing was handed over; from there on nobody knows (RFC 1047), unless the server said good-bye and
kept to it: then what it had not answered it has not done (RFC 5321 section 3.8).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from genie_connect_smtp.classify import classify_fault, classify_reply
from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.transaction import Phase, Transaction

_GONE: Final = frozenset({Fault.DISCONNECT, Fault.EXTRA_REPLY})
"""What a connection that the server had left meanwhile looks like; silence is none of it."""


def is_stale(transaction: Transaction, served: int) -> bool:
    """Whether the server has left a connection that it had ``served`` on before this transaction.

    Then nothing was handed over, and it may go elsewhere at no cost, however often: several idle connections may all
    have been left. There is an end to it, since each of them had carried a message and carries no other.
    """
    return served > 0 and not transaction.heard


@attrs.frozen(kw_only=True)
class Ending:
    """How the connection ended: without a ``fault`` the server has said that it does nothing more.

    ``left`` says that it had said good-bye and kept to it, ``turned_away`` whom it said that to in place of a RSET.
    ``served`` is how many messages the connection had carried.
    """

    fault: ConnectionFault | None
    left: bool
    turned_away: tuple[Transaction, Reply] | None
    served: int

    def settle(self, on_their_way: Iterable[Transaction]) -> None:
        """Settle those that are still open, in the order in which they were begun."""
        first = True
        for transaction in on_their_way:
            if transaction.open and not transaction.returned:
                first = self._settle(transaction, first=first)

    def _settle(self, transaction: Transaction, *, first: bool) -> bool:
        """Settle one; whether the fault has still to be told to the next."""
        fault, stale = self.fault, is_stale(transaction, self.served)
        if self.turned_away is not None and self.turned_away[0] is transaction and not stale:
            reply = self.turned_away[1]
            transaction.settle_rest(Stage.MAIL, classify_reply(Stage.MAIL, reply), reply)
        elif fault is None or self.left:
            transaction.give_back()
        elif transaction.phase is Phase.WHOLE:
            transaction.settle_rest(Stage.FINAL, classify_fault(fault.fault, Stage.FINAL))
            return False
        elif not first or fault.stage is Stage.FINAL:
            # It came after the one that the fault is about.
            transaction.give_back()
        elif fault.fault in _GONE and stale:
            transaction.give_back()
        else:
            stage = Stage.MAIL if fault.stage is Stage.RSET else fault.stage
            transaction.settle_rest(stage, classify_fault(fault.fault, stage))
            return False
        return first
