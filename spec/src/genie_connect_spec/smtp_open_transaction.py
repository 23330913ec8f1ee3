"""A server like Exim 4.96, whose transaction outlives a BDAT that it refused.

RFC 3030 section 2 has the transaction end there. Where it does not, a client that pipelines several messages may see
one of them accepted under the envelope of another: the recipient of the first was refused, so was its content, and the
transaction is still open when the recipient and the content of the next arrive, whose own sender was refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

from genie_connect.inbox import Session
from genie_connect.inbox.turn import State, Turn


class OpenTransactionSession(Session):
    """A session in which only RSET, EHLO and an answered message end a transaction."""

    def _chunk_refused(self, turn: Turn, code: int) -> None:
        sender = self._transaction.envelope_from
        self._chunk_answered(turn, code)
        if code // 100 != 2 and sender and self.state is State.IDLE:
            self._transaction.envelope_from = sender
            self.state = State.ENVELOPE

    _EFFECTS: ClassVar[Mapping[str, Callable[[Session, Turn, int], None]]] = MappingProxyType(
        {**Session._EFFECTS, "bdat": _chunk_refused}  # type: ignore[dict-item]  # noqa: SLF001  # what is replaced is one effect
    )
